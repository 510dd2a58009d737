//! Slow start, followed through picks.

use super::*;
use crate::config::Balance;

fn share(scene: &Scene, id: &str) -> f64 {
    let pool = scene.pool();
    let picks = (0..4_000).filter_map(|i| {
        // Other keys each time, for who hashes.
        let hash = crate::backend::balance::draw().wrapping_add(i);
        pool.balancer.pick(hash, &[])
    });
    let picked: Vec<bool> = picks.map(|backend| backend.id.as_str() == id).collect();
    picked.iter().filter(|picked| **picked).count() as f64 / picked.len() as f64
}

fn pool(balance: &str, slow_start: &str) -> Value {
    let backend = |id, port| json!({"id": id, "address": format!("127.0.0.1:{port}")});
    json!({"name": "web", "balance": balance, "slow_start": slow_start,
        "backends": [backend("a", 1), backend("b", 2)]})
}

#[tokio::test]
async fn a_newcomer_takes_a_tenth_of_its_share_under_every_policy_and_a_founder_all() {
    for balance in Balance::ALL {
        let mut scene = Scene::of(pool(balance.name(), "24h"));
        let first = scene.backend("a");
        assert_eq!(first.pace(), 100, "nothing warms at the start of a node");
        let backends = scene.spec["backends"].as_array_mut().unwrap();
        backends.push(json!({"id": "c", "address": "127.0.0.1:3"}));
        scene.publish();
        assert_eq!((first.pace(), scene.backend("c").pace()), (100, 10));
        let share = share(&scene, "c");
        // Of 1 + 1 + 0.1; the bound is for chance, and for who hashes.
        assert!((0.02..0.09).contains(&share), "{balance:?}: {share}");
    }
}

#[tokio::test]
async fn alone_it_takes_everything() {
    for balance in Balance::ALL {
        let mut scene = Scene::of(pool(balance.name(), "24h"));
        scene.spec["backends"][0]["state"] = json!("drain");
        scene.spec["backends"][1]["state"] = json!("drain");
        scene.publish();
        scene.spec["backends"][1]["state"] = json!("ready");
        scene.publish();
        assert_eq!(scene.backend("b").pace(), 10);
        assert!(share(&scene, "b") > 0.999, "{balance:?}");
    }
}

#[tokio::test]
async fn it_takes_more_by_steps_and_all_in_the_end() {
    let mut scene = Scene::of(pool("round_robin", "2s"));
    scene.spec["backends"][1]["state"] = json!("maint");
    scene.publish();
    scene.spec["backends"][1]["state"] = json!("ready");
    scene.publish();
    let b = scene.backend("b");
    let mut paces = vec![b.pace()];
    until("its whole share", || {
        paces.push(b.pace());
        b.pace() == 100
    })
    .await;
    paces.dedup();
    assert!(
        paces.is_sorted() && paces[0] < 50 && paces.len() > 3,
        "{paces:?}"
    );
    scene.spec["slow_start"] = json!("24h");
    scene.publish();
    assert_eq!(b.pace(), 100, "it has come up already");
    scene.spec["backends"][1]["weight"] = json!(0);
    scene.publish();
    scene.spec["backends"][1]["weight"] = json!(1);
    scene.publish();
    assert_eq!(b.pace(), 10);
    scene.spec.as_object_mut().unwrap().remove("slow_start");
    scene.publish();
    until("its whole share", || b.pace() == 100).await;
}

#[tokio::test]
async fn who_comes_up_by_its_checks_or_from_an_ejection_warms() {
    let servers = [
        Server::start(Some(200)).await,
        Server::start(Some(200)).await,
    ];
    let mut scene = Scene::new(&[&servers[0]], http());
    scene.spec["slow_start"] = json!("24h");
    scene.until_picked("a").await;
    assert_eq!(scene.backend("a").pace(), 100, "a founder's first check");
    scene.add(&servers[1]);
    scene.publish();
    let b = scene.backend("b");
    scene.until_held("b", Held::Healthy).await;
    assert_eq!(b.pace(), 10, "new");
    servers[0].say(500);
    scene.until_held("a", Held::Unhealthy).await;
    servers[0].say(200);
    scene.until_held("a", Held::Healthy).await;
    let a = scene.backend("a");
    assert_eq!(a.pace(), 10, "down before");
    scene.spec.as_object_mut().unwrap().remove("slow_start");
    scene.publish();
    until("both whole", || a.pace() + b.pace() == 200).await;
    scene.spec["slow_start"] = json!("24h");
    scene.publish();
    for _ in 0..5 {
        b.failed(crate::telemetry::metrics::BackendError::Reset);
    }
    until("its ejection and its end", || {
        b.ejection_count() == 1 && !b.is_ejected()
    })
    .await;
    assert_eq!((a.pace(), b.pace()), (100, 10));
}
