//! What is live stays so, whatever is published.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::backend::balance::draw;
use crate::backend::{Answer, Backend, Health, LOOKS, Registry};
use crate::config::{Balance, Outlier};

const CHANGES: usize = 1_000;

/// A pool that is big enough for trees: of each change another policy, another weight and another timeout.
fn spec(change: usize) -> Value {
    let backend = |i: usize| {
        let state = if i == 4 { "drain" } else { "ready" };
        let weight = if i == 10 { change % 5 + 1 } else { 1 };
        json!({"id": format!("b{i}"), "address": format!("127.0.0.1:{}", i + 1), "weight": weight, "state": state})
    };
    let backends: Vec<Value> = (0..40).map(backend).collect();
    let policies = Balance::ALL.len();
    let mut spec = json!({
        "name": "web", "balance": Balance::ALL[change % policies].name(), "backends": backends, "slow_start": "24h",
        "timeouts": {"connect": format!("{}ms", 1_000 + change)}, "limits": {"requests_per_backend": 3},
        "health": {"http": {"path": "/"}},
    });
    if spec["balance"] == "maglev" {
        spec["hash"] = json!({"header": "x-user"});
        spec["bounded_load"] = json!((change / policies).is_multiple_of(2));
    }
    spec
}

fn publish(publisher: &Publisher, config: &Config, change: usize) -> Arc<Config> {
    let next = put(config, &[spec(change)]);
    let before = publisher.cell.load();
    publisher.activate(compiled(&next, &publisher.registry, Some(&before)).unwrap());
    next
}

fn backend(registry: &Registry, index: usize) -> Arc<Backend> {
    let known = registry.backends(&name("web"), &name(&format!("b{index}")));
    assert_eq!(known.len(), 1, "no change made another one of it");
    known[0].clone()
}

fn picked(publisher: &Publisher, picks: usize) -> BTreeSet<String> {
    let snapshot = publisher.cell.load();
    let pool = snapshot.pool("web").unwrap();
    let picks = (0..picks).map(|_| pool.pick(draw(), &[]).unwrap());
    picks.map(|backend| backend.id.to_string()).collect()
}

#[test]
fn load_health_ejection_warmth_and_latency_outlive_a_thousand_changes_of_policies_and_weights() {
    let publisher = publisher();
    let ewma = Balance::ALL.iter().position(|it| *it == Balance::Ewma);
    let mut config = publish(&publisher, &Config::default(), ewma.unwrap());
    let live = |index| backend(&publisher.registry, index);
    (0..40).for_each(|index| {
        live(index).change_health(|_, _| Health::Healthy);
    });
    let full: Vec<_> = (0..3).map(|_| live(0).try_begin().unwrap()).collect();
    live(1).eject(Instant::now(), &Outlier::default(), String::new());
    live(2).change_health(|_, _| Health::Unhealthy);
    live(3).warm_up(Instant::now());
    live(5).answered(Answer {
        status: 200,
        at: Instant::now(),
        first_byte: Duration::from_secs(60),
        retry_after: None,
    });
    let kept: Vec<Arc<Backend>> = (0..40).map(live).collect();
    for change in 0..CHANGES {
        config = publish(&publisher, &config, change);
        assert!(
            kept.iter()
                .zip(0..)
                .all(|(it, index)| Arc::ptr_eq(it, &live(index)))
        );
        assert_eq!(live(0).in_flight(), 3);
        assert_eq!(
            (live(1).is_ejected(), live(2).health()),
            (true, Health::Unhealthy)
        );
        assert_eq!((live(3).pace(), live(4).admits()), (10, false));
        assert!(
            live(5)
                .average_first_byte()
                .is_some_and(|it| it > Duration::from_millis(1))
        );
        let picked = picked(&publisher, 10);
        for out in ["b0", "b1", "b2", "b4"] {
            assert!(!picked.contains(out), "{change} {out}");
        }
    }
    drop(full);
    live(1).readmit(Instant::now(), |_| true);
    live(2).change_health(|_, _| Health::Healthy);
    for change in 0..Balance::ALL.len() {
        config = publish(&publisher, &config, change);
        let picked = picked(&publisher, 4_000);
        let back = ["b0", "b1", "b2"].iter().all(|it| picked.contains(*it));
        assert!(back && !picked.contains("b4"), "{change}: {picked:?}");
    }
}

#[test]
fn a_pool_that_is_removed_is_forgotten_however_big_it_was() {
    for change in 0..Balance::ALL.len() {
        let publisher = publisher();
        let config = publish(&publisher, &Config::default(), change);
        let known = Arc::downgrade(&backend(&publisher.registry, 7));
        let removed = apply(&config, Operation::delete(ResourcePath::Pool(name("web"))));
        let before = publisher.cell.load();
        publisher.activate(compiled(&removed, &publisher.registry, Some(&before)).unwrap());
        drop(before);
        assert_eq!(known.strong_count(), 0, "{change}");
    }
}

/// What a pick, or a question whether one is possible, may look at in a pool of three tiers.
const MOST_LOOKS: u64 = 1_500;

#[test]
fn of_three_big_tiers_the_one_member_left_is_found_by_few_looks_and_so_is_that_nobody_is() {
    let backend = |i: usize| json!({"id": format!("b{i}"), "address": format!("127.0.0.1:{}", i + 1), "backup": i % 3});
    let backends: Vec<Value> = (0..6_000).map(backend).collect();
    for balance in Balance::ALL {
        let mut spec = json!({"name": "web", "balance": balance.name(), "backends": backends,
            "health": {"http": {"path": "/"}, "panic_percent": 0}, "limits": {"requests_per_backend": 1}});
        if balance == Balance::Maglev {
            spec["hash"] = json!({"header": "x-user"});
        }
        let publisher = publisher();
        let config = config(&[spec]);
        publisher.activate(compiled(&config, &publisher.registry, None).unwrap());
        let snapshot = publisher.cell.load();
        let pool = snapshot.pool("web").unwrap();
        let all = || pool.members().iter().map(|member| &member.backend);
        all().for_each(|it| {
            it.change_health(|_, _| Health::Unhealthy);
        });
        // Of the last tier, while the first is in use.
        let left = &pool.members()[5_000].backend;
        for (health, found) in [(Health::Healthy, true), (Health::Unhealthy, false)] {
            left.change_health(|_, _| health);
            let before = LOOKS.get();
            assert_eq!(pool.admit(draw(), &[]).is_some(), found, "{balance:?}");
            assert_eq!((pool.is_full(), pool.has_room()), (found, found));
            assert!(!pool.any_available(&[left.key]));
            let looks = LOOKS.get() - before;
            assert!(looks <= MOST_LOOKS, "{balance:?}: {looks}");
        }
        left.change_health(|_, _| Health::Healthy);
        let _full = left.try_begin().unwrap();
        let before = LOOKS.get();
        assert!(pool.is_full() && !pool.has_room() && pool.admit(draw(), &[]).is_none());
        assert!(LOOKS.get() - before <= MOST_LOOKS, "{balance:?} full");
    }
}
