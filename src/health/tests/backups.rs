//! Tiers of backups, followed through picks.

use super::*;
use crate::config::Balance;

/// Backends `a`, `b`, ... of these tiers.
fn pool(balance: &str, tiers: &[u8]) -> Value {
    let backend = |(i, tier): (usize, &u8)| {
        let id = char::from(b'a' + i as u8).to_string();
        json!({"id": id, "address": format!("127.0.0.1:{}", i + 1), "backup": tier})
    };
    let backends: Vec<Value> = tiers.iter().enumerate().map(backend).collect();
    json!({"name": "web", "balance": balance, "backends": backends})
}

impl Scene {
    /// All that is picked by other keys each time.
    fn picked_by_any(&self) -> String {
        let pool = self.pool();
        let picks = (0..500).filter_map(|_| pool.pick(crate::backend::balance::draw(), &[]));
        let ids: BTreeSet<&str> = picks.map(|backend| backend.id.as_str()).collect();
        ids.into_iter().collect()
    }

    /// Says of each whether it is up, as checks do.
    fn hold(&self, down: &str) {
        for member in self.pool().members() {
            let health = if down.contains(member.backend.id.as_str()) {
                Held::Unhealthy
            } else {
                Held::Healthy
            };
            member.backend.change_health(|_, _| health);
        }
        judge(&self.publisher.cell, &Name::new("web").unwrap());
    }
}

#[tokio::test]
async fn a_tier_is_used_while_too_few_before_it_are_up_under_every_policy() {
    for balance in Balance::ALL {
        // Two and two behind them, and one behind all, whose number leaves a gap.
        let scene = Scene::of(pool(balance.name(), &[0, 0, 1, 1, 7]));
        for (down, expected) in [
            ("", "ab"),
            ("a", "b"),
            ("ab", "cd"),
            ("abc", "d"),
            ("abcd", "e"),
            ("abce", "d"),
            ("abcde", "abcde"),
            ("cde", "ab"),
        ] {
            scene.hold(down);
            assert_eq!(
                scene.picked_by_any(),
                expected,
                "{balance:?} without {down:?}"
            );
            assert_eq!(scene.pool().recourse().is_panic(), down == "abcde");
        }
    }
}

#[tokio::test]
async fn those_left_go_on_beside_the_backups() {
    let scene = Scene::of(pool("round_robin", &[0, 0, 0, 1]));
    scene.hold("ab");
    assert_eq!(scene.picked_by_any(), "cd");
    assert_eq!(scene.pool().tiers_in_use(), 1);
}

#[tokio::test]
async fn a_request_that_tried_all_of_a_tier_goes_to_the_next() {
    let scene = Scene::of(pool("least_connections", &[0, 1]));
    let a = scene.backend("a").key;
    let picked = scene.pool().pick(0, &[a]).map(|backend| backend.key);
    assert_eq!(picked, Some(scene.backend("b").key));
}

#[tokio::test]
async fn backups_alone_are_used() {
    let mut scene = Scene::of(pool("round_robin", &[3, 5]));
    assert_eq!(scene.picked(), "a");
    scene.spec["backends"][0]["state"] = json!("drain");
    scene.publish();
    assert_eq!(scene.picked(), "b");
    scene.spec["backends"][1]["backup"] = json!(0);
    scene.spec["backends"][0]["state"] = json!("ready");
    scene.publish();
    assert_eq!(scene.picked(), "b");
}

#[tokio::test]
async fn a_big_pool_that_falls_back_is_balanced_among_all_that_are_left() {
    let mut tiers = vec![0; 12];
    tiers.extend([1; 12]);
    let mut spec = pool("least_connections", &tiers);
    // Above the size from which a tree is kept.
    let backends = spec["backends"].as_array_mut().unwrap();
    for i in 0..40 {
        backends.push(json!({"id": format!("z{i}"), "address": "127.0.0.1:1", "backup": 1}));
    }
    let scene = Scene::of(spec);
    scene.hold("abcdefghijkl");
    let mut under_way = Vec::new();
    for _ in 0..104 {
        under_way.push(scene.pool().pick(0, &[]).unwrap().begin());
    }
    let loads: BTreeSet<u32> = under_way
        .iter()
        .map(|one| one.backend().in_flight())
        .collect();
    assert_eq!(loads, BTreeSet::from([2]));
}

#[tokio::test]
async fn backups_of_which_no_check_has_told_wait_behind_such_a_first_tier() {
    let server = Server::start(None).await;
    let mut spec = pool("round_robin", &[0, 0, 1]);
    spec["health"] = http();
    spec["health"]["panic_percent"] = json!(50);
    for at in 0..3 {
        spec["backends"][at]["address"] = json!(server.address.to_string());
    }
    let mut scene = Scene::of(spec);
    assert_eq!(scene.picked_by_any(), "ab");
    scene.spec["backends"][0]["state"] = json!("drain");
    scene.spec["backends"][1]["weight"] = json!(0);
    scene.publish();
    assert_eq!(scene.picked_by_any(), "c");
}
