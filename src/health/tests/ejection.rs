//! Passive ejection, followed through picks. Requests are told to the backends as the proxy tells them.

use super::*;
use crate::backend::Answer;
use crate::telemetry::metrics::BackendError;

/// A pool of `count` backends that nobody listens at, with this `outlier`.
fn scene(count: usize, outlier: Value) -> Scene {
    let backends: Vec<Value> = (0..count)
        .map(|i| json!({"id": id(i), "address": format!("127.0.0.1:{}", i + 1)}))
        .collect();
    Scene::of(json!({"name": "web", "backends": backends, "outlier": outlier}))
}

fn id(index: usize) -> String {
    char::from(b'a' + index as u8).to_string()
}

fn answer(backend: &Arc<Backend>, status: u16) {
    backend.answered(Answer {
        status,
        at: Instant::now(),
        first_byte: Duration::from_millis(1),
        retry_after: None,
    });
}

#[tokio::test]
async fn failures_in_a_row_eject_whatever_their_kind() {
    type Fail = fn(&Arc<Backend>);
    let kinds: [Fail; 5] = [
        |backend| answer(backend, 500),
        |backend| answer(backend, 503),
        |backend| backend.failed(BackendError::Connect),
        |backend| backend.failed(BackendError::Reset),
        |backend| backend.failed(BackendError::Timeout),
    ];
    for fail in kinds {
        let scene = scene(2, json!({}));
        let b = scene.backend("b");
        for success in [200, 301, 404, 499] {
            (0..4).for_each(|_| fail(&b));
            answer(&b, success);
        }
        (0..4).for_each(|_| fail(&b));
        tokio::task::yield_now().await;
        assert_eq!(scene.picked(), "ab", "four in a row are not five");
        fail(&b);
        scene.until_picked("a").await;
        let condition = b.condition();
        assert_eq!(condition.name, "ejected");
        assert_eq!(
            condition.reason.as_deref(),
            Some("5 failures in a row; for 30 s more")
        );
        assert!(b.admits(), "it is the config that admits");
        assert_eq!(b.ejection_count(), 1);
    }
}

#[tokio::test]
async fn no_more_are_ejected_than_the_share_allows_and_one_always_may_be() {
    for (count, percent, most) in [(20, 10, 2), (3, 10, 1), (10, 50, 5), (4, 0, 0)] {
        let outlier = json!({"max_percent": percent, "consecutive_failures": 2});
        let scene = scene(count, outlier);
        let failing = |i: usize| scene.backend(&id(i));
        for i in 0..count {
            (0..2).for_each(|_| failing(i).failed(BackendError::Reset));
        }
        let ejected = || (0..count).filter(|i| failing(*i).is_ejected()).count();
        until("the ejections", || ejected() == most).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(ejected(), most, "{count} at {percent} %");
        assert_eq!(scene.picked().len(), count - most);
    }
}

#[tokio::test]
async fn the_last_one_that_is_up_stays() {
    let scene = scene(2, json!({"max_percent": 100, "consecutive_failures": 1}));
    scene.backend("a").failed(BackendError::Connect);
    scene.until_picked("b").await;
    for _ in 0..100 {
        scene.backend("b").failed(BackendError::Connect);
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.picked(), "b");
}

#[tokio::test]
async fn an_ejection_ends_by_itself_and_is_longer_the_next_time() {
    let outlier = json!({"consecutive_failures": 1, "ejection_time": "150ms"});
    let scene = scene(2, outlier);
    let b = scene.backend("b");
    let mut before = Duration::ZERO;
    for round in 1..=3 {
        b.failed(BackendError::Reset);
        scene.until_picked("a").await;
        let ejection = b.ejection().unwrap();
        let lasts = ejection.until - ejection.began;
        assert!(lasts > before, "{lasts:?} in round {round}");
        before = lasts;
        scene.until_picked("ab").await;
        assert!(Instant::now() >= ejection.until);
        assert_eq!(b.ejection_count(), round);
    }
}

#[tokio::test]
async fn a_share_of_failures_ejects_too() {
    let outlier = json!({"interval": "100ms", "min_requests": 10, "failure_percent": 50});
    let scene = scene(2, outlier);
    let (a, b) = (scene.backend("a"), scene.backend("b"));
    until("b to be ejected", || {
        for status in [200, 200, 500] {
            answer(&a, status);
        }
        for status in [200, 500] {
            answer(&b, status);
        }
        b.is_ejected()
    })
    .await;
    assert_eq!(scene.picked(), "a");
    assert!(b.condition().reason.unwrap().contains(" requests failed"));
}

#[tokio::test]
async fn an_ejection_survives_changes_and_ends_with_what_it_is_for() {
    let mut scene = scene(3, json!({"consecutive_failures": 1}));
    let b = scene.backend("b");
    b.failed(BackendError::Reset);
    scene.until_picked("ac").await;
    for weight in [3, 0, 7] {
        scene.spec["backends"][1]["weight"] = json!(weight);
        scene.publish();
        assert_eq!(scene.picked(), "ac");
    }
    scene.spec["outlier"]["max_percent"] = json!(0);
    scene.publish();
    scene.until_picked("abc").await;
    b.failed(BackendError::Reset);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(scene.picked(), "abc", "switched off");
}

#[tokio::test]
async fn a_good_check_begun_since_ends_it() {
    let servers = [
        Server::start(Some(200)).await,
        Server::start(Some(200)).await,
    ];
    let scene = Scene::new(&servers.iter().collect::<Vec<_>>(), http());
    scene.until_picked("ab").await;
    let b = scene.backend("b");
    for _ in 0..5 {
        b.failed(BackendError::Timeout);
    }
    until("its ejection", || b.ejection_count() == 1).await;
    scene.until_picked("ab").await;
    assert!(b.ejection().is_none());
    servers[1].say(500);
    for _ in 0..5 {
        b.failed(BackendError::Timeout);
    }
    until("its next ejection", || b.ejection_count() == 2).await;
    scene.until_held("b", Held::Unhealthy).await;
    assert_eq!((b.condition().name, scene.picked().as_str()), ("down", "a"));
}

#[tokio::test]
async fn in_panic_the_ejected_are_used() {
    let outlier = json!({"consecutive_failures": 1, "max_percent": 100});
    let scene = scene(4, outlier);
    for failing in ["a", "b"] {
        scene.backend(failing).failed(BackendError::Reset);
    }
    scene.until_picked("cd").await;
    scene.backend("c").failed(BackendError::Reset);
    scene.until_picked("abcd").await;
    assert!(scene.pool().recourse().is_panic());
}
