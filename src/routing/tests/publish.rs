//! In which order a revision comes into force, and what is told of it.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::*;
use crate::config::Pools;
use crate::routing::publish::Published;

type Passing = (
    mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    mpsc::UnboundedReceiver<Published>,
);

/// A publisher at work, whose fence the test lets pass.
fn run(publisher: &Publisher, configs: watch::Receiver<Arc<Config>>) -> Passing {
    let (fences, waiting) = mpsc::unbounded_channel();
    let (reports, reported) = mpsc::unbounded_channel();
    let fence = move || {
        let (pass, passed) = oneshot::channel();
        let _ = fences.send(pass);
        async move {
            let _ = passed.await;
        }
    };
    let report = move |published| {
        let _ = reports.send(published);
    };
    tokio::spawn(publisher.clone().run(configs, Arc::clone, fence, report));
    (waiting, reported)
}

fn web(members: &[(u16, &str)]) -> Value {
    pool("web", members)
}

fn admitting(publisher: &Publisher) -> Vec<bool> {
    let id = |id: &str| publisher.registry.backends(&name("web"), &name(id));
    ["a", "b", "c"]
        .iter()
        .map(|it| id(it).iter().any(|backend| backend.admits()))
        .collect()
}

#[tokio::test]
async fn what_a_revision_took_out_is_closed_before_the_fence_and_reported_after_it() {
    let publisher = publisher();
    let first = config(&[web(&[(1, "ready"), (1, "ready"), (1, "ready")])]);
    let (desired, configs) = watch::channel(first.clone());
    let (mut fences, mut reports) = run(&publisher, configs);
    fences.recv().await.unwrap().send(()).unwrap();
    let digest = publisher.cell.load().digest;
    assert_eq!(
        reports.recv().await,
        Some(Published::Activated {
            revision: Revision(1),
            digest
        })
    );
    assert_eq!(admitting(&publisher), [true; 3]);

    // Requests under way keep what was removed known.
    let old = publisher.cell.load();
    let under_way: Vec<_> = old
        .pool("web")
        .unwrap()
        .members()
        .iter()
        .map(|member| member.backend.begin())
        .collect();
    for members in [
        &[(1, "ready"), (0, "ready"), (1, "drain")][..],
        &[(1, "ready"), (1, "maint")],
        &[(1, "ready")],
    ] {
        let next = put(&first, &[web(members)]);
        desired.send(put(&next, &[pool("other", &[])])).unwrap();
        let pass = fences.recv().await.unwrap();
        assert_eq!(admitting(&publisher), [true, false, false], "{members:?}");
        assert!(
            reports.try_recv().is_err(),
            "not before the workers have passed"
        );
        assert!(
            old.pool("web")
                .unwrap()
                .balancer
                .pick(0, &[])
                .unwrap()
                .id
                .as_str()
                == "a",
            "an old snapshot reads it too"
        );
        pass.send(()).unwrap();
        assert!(matches!(
            reports.recv().await,
            Some(Published::Activated { .. })
        ));

        desired.send(first.clone()).unwrap();
        fences.recv().await.unwrap().send(()).unwrap();
        reports.recv().await.unwrap();
        assert_eq!(
            admitting(&publisher),
            [true; 3],
            "what comes back while it is known is the same, and open"
        );
        let again = publisher.cell.load();
        for (request, member) in under_way.iter().zip(again.pool("web").unwrap().members()) {
            assert!(Arc::ptr_eq(request.backend(), &member.backend));
        }
    }
}

#[tokio::test]
async fn a_moved_backend_opens_at_its_new_address_and_closes_at_the_old() {
    let publisher = publisher();
    let mut spec = web(&[(1, "ready")]);
    let first = config(&[spec.clone()]);
    let before = publisher.activate(compiled(&first, &publisher.registry, None).unwrap());
    spec["backends"][0]["address"] = json!("127.0.0.1:9");
    let second = put(&first, &[spec]);
    let after = publisher.activate(compiled(&second, &publisher.registry, Some(&before)).unwrap());
    let backend = |snapshot: &Snapshot| snapshot.pool("web").unwrap().members()[0].backend.clone();
    assert!(!backend(&before).admits() && backend(&after).admits());
    let removed = apply(&second, Operation::delete(ResourcePath::Pool(name("web"))));
    publisher.activate(compiled(&removed, &publisher.registry, Some(&after)).unwrap());
    assert!(!backend(&after).admits(), "a removed pool closes too");
}

#[tokio::test]
async fn bursts_coalesce_to_the_newest() {
    let publisher = publisher();
    let mut newest = config(&[web(&[(1, "ready")])]);
    let (desired, configs) = watch::channel(newest.clone());
    let (mut fences, mut reports) = run(&publisher, configs);
    let first = fences.recv().await.unwrap();
    for weight in 2..100 {
        newest = put(&newest, &[web(&[(weight, "ready")])]);
        desired.send(newest.clone()).unwrap();
    }
    first.send(()).unwrap();
    fences.recv().await.unwrap().send(()).unwrap();
    let mut revisions = Vec::new();
    while revisions.last() != Some(&newest.revision) {
        match reports.recv().await.unwrap() {
            Published::Activated { revision, .. } => revisions.push(revision),
            rejected => panic!("{rejected:?}"),
        }
    }
    assert_eq!(revisions, [Revision(1), Revision(99)]);
    assert!(fences.try_recv().is_err());
}

#[tokio::test]
async fn a_revision_that_cannot_be_built_leaves_the_one_before_in_force() {
    let publisher = publisher();
    let first = config(&[web(&[(1, "ready")]), route("shop", &[], prefix("/"))]);
    let (desired, configs) = watch::channel(first.clone());
    let (mut fences, mut reports) = run(&publisher, configs);
    fences.recv().await.unwrap().send(()).unwrap();
    reports.recv().await.unwrap();
    let broken = Config {
        revision: Revision(3),
        pools: Pools::default(),
        ..(*first).clone()
    };
    desired.send(Arc::new(broken)).unwrap();
    let reason = "route shop names pool web, which does not exist".to_owned();
    assert_eq!(
        reports.recv().await,
        Some(Published::Rejected {
            revision: Revision(3),
            reason
        })
    );
    assert_eq!(publisher.cell.load().revision, Revision(2));
    assert_eq!(admitting(&publisher), [true, false, false]);

    let mended = Config {
        revision: Revision(4),
        ..(*first).clone()
    };
    desired.send(Arc::new(mended)).unwrap();
    fences.recv().await.unwrap().send(()).unwrap();
    assert!(matches!(
        reports.recv().await,
        Some(Published::Activated {
            revision: Revision(4),
            ..
        })
    ));
}

#[test]
fn a_worker_sees_a_snapshot_whole_and_never_picks_what_is_reported_closed() {
    let publisher = publisher();
    let with = |members: &[(u16, &str)]| config(&[web(members)]);
    let even = with(&[(1, "ready"), (1, "ready")]);
    let odd = put(&even, &[web(&[(1, "ready"), (0, "ready")])]);
    publisher.activate(compiled(&even, &publisher.registry, None).unwrap());
    let closed = Mutex::new(false);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut cache = publisher.cell.cache();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    // The lock stands for the fence: whoever holds it is within one loop of a worker.
                    let reported = closed.lock().unwrap();
                    let picked = cache
                        .load()
                        .pool("web")
                        .unwrap()
                        .balancer
                        .pick(0, &[])
                        .unwrap();
                    assert!(!*reported || picked.id.as_str() == "a");
                }
            });
        }
        for round in 0..200 {
            let next = if round % 2 == 0 { &odd } else { &even };
            let previous = publisher.cell.load();
            let next = compiled(next, &publisher.registry, Some(&previous)).unwrap();
            if round % 2 == 1 {
                *closed.lock().unwrap() = false;
            }
            publisher.activate(next);
            *closed.lock().unwrap() = round % 2 == 0;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[tokio::test]
async fn no_request_is_the_last_to_let_go_of_a_snapshot() {
    let publisher = publisher();
    let first = config(&[web(&[(1, "ready")])]);
    let (desired, configs) = watch::channel(first.clone());
    let (mut fences, mut reports) = run(&publisher, configs);
    fences.recv().await.unwrap().send(()).unwrap();
    reports.recv().await.unwrap();
    let request = publisher.cell.load();
    desired.send(put(&first, &[web(&[(2, "ready")])])).unwrap();
    fences.recv().await.unwrap().send(()).unwrap();
    reports.recv().await.unwrap();
    let snapshot = Arc::downgrade(&request);
    assert_eq!(snapshot.strong_count(), 2, "the publisher has it too");
    drop(request);
    let gone = async {
        while snapshot.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), gone).await;
    in_time.expect("it is dropped when no request holds it");
}
