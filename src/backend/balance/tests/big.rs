//! What a pick costs in the biggest pool there may be, counted in members and nodes looked at, and what it keeps there.

use super::*;
use crate::backend::gate::LOOKS;
use crate::config::limits::BACKENDS_PER_POOL;

/// No pick may look at more, but for one by a hot key. Most of it are the slots and steps looked at before any tree is.
const MOST_LOOKS: u64 = 600;

/// A key none of whose slots has room is spread by looks at trees.
const MOST_LOOKS_WHEN_HOT: u64 = 4 * MOST_LOOKS;

/// Of the one member that is left.
const LEFT: usize = 7_654;

/// Looks of the costliest of some picks, all of which must find what is left, and nobody where nobody is.
fn costliest(pool: &Pool, left: Option<usize>, what: &str) -> u64 {
    let looks = |_| {
        let before = LOOKS.get();
        let picked = pool.pick(&[]);
        assert_eq!(picked, left, "{what}");
        LOOKS.get() - before
    };
    (0..20).map(looks).max().unwrap()
}

/// Has all members but those out of reach, in one way, and back again.
fn in_each_state(pool: &Pool, but: Option<usize>, mut check: impl FnMut(&str)) {
    let others = || (0..pool.backends.len()).filter(|i| Some(*i) != but);
    others().for_each(|i| pool.hold(i, Health::Unhealthy));
    check("down");
    others().for_each(|i| pool.hold(i, Health::Healthy));
    others().for_each(|i| pool.eject(i));
    check("ejected");
    others().for_each(|i| {
        pool.backends[i].readmit(Instant::now(), |_| true);
    });
    others().for_each(|i| pool.backends[i].close());
    check("drained");
    others().for_each(|i| pool.backends[i].open());
    let full = pool.fill(&others().collect::<Vec<_>>());
    check("full");
    drop(full);
}

#[test]
fn a_pick_looks_at_few_of_ten_thousand_in_the_worst_states() {
    let mixed = |i: usize| (i % 3 + 1) as u16;
    let uneven: Vec<u16> = (0..BACKENDS_PER_POOL).map(mixed).collect();
    let mut above = Vec::new();
    for way in all() {
        for weights in [&vec![1; BACKENDS_PER_POOL], &uneven] {
            let pool = Pool::new(way, weights);
            for left in [Some(LEFT), None] {
                in_each_state(&pool, left, |state| {
                    let what = format!(
                        "{way:?}, weights up to {}, {state}, left {left:?}",
                        weights[2]
                    );
                    let looks = costliest(&pool, left, &what);
                    if looks > MOST_LOOKS {
                        above.push((looks, what));
                    }
                });
            }
        }
    }
    assert!(above.is_empty(), "{above:#?}");
}

#[test]
fn what_is_left_of_ten_thousand_is_shared_and_nobody_of_it_starves() {
    let apart: Vec<usize> = (0..40).map(|i| i * 250 + i % 7).collect();
    let rack: Vec<usize> = (5_000..5_040).collect();
    let uneven: Vec<u16> = (0..BACKENDS_PER_POOL).map(|i| (i % 3 + 1) as u16).collect();
    for way in all() {
        for weights in [&vec![1; BACKENDS_PER_POOL], &uneven] {
            let pool = Pool::new(way, weights);
            for left in [&apart, &rack] {
                let others = || (0..BACKENDS_PER_POOL).filter(|i| !left.contains(i));
                others().for_each(|i| pool.hold(i, Health::Unhealthy));
                shared(&pool, way, weights, left);
                others().for_each(|i| pool.hold(i, Health::Healthy));
            }
        }
    }
}

fn shared(pool: &Pool, way: Way, weights: &[u16], left: &[usize]) {
    let sum: usize = left.iter().map(|i| usize::from(weights[*i])).sum();
    let rounds = 100;
    let picked = counts(pool.picks(rounds * sum));
    assert!(picked.keys().all(|i| left.contains(i)), "{way:?}");
    for i in left {
        let expected = rounds * usize::from(weights[*i]);
        let got = picked.get(i).copied().unwrap_or(0);
        let chance = 6 * expected.isqrt();
        let bounds = match way.balance {
            Balance::LeastConnections => expected - 1..=expected + 1,
            Balance::RoundRobin if weights[2] == 1 => expected - 1..=expected + 1,
            // Where the rotation has nobody for long, what it passes over is spread.
            Balance::RoundRobin => expected - 5..=expected + 5,
            // What has no slot near a key is spread by groups, and not by weight.
            Balance::Maglev => expected / 20..=expected * 12,
            _ => expected - chance..=expected + chance,
        };
        assert!(bounds.contains(&got), "{way:?} {i}: {got} not {bounds:?}");
    }
}

#[test]
fn one_hot_key_stays_within_the_bound_however_big_the_pool() {
    let pool = Pool::new(Way::BOUNDED, &vec![1; BACKENDS_PER_POOL]);
    let mut under_way = Vec::new();
    for active in 1..=12_000 {
        let before = LOOKS.get();
        let picked = pool.balancer.pick(7, &[]).unwrap();
        assert!(LOOKS.get() - before <= MOST_LOOKS_WHEN_HOT, "at {active}");
        under_way.push(picked.begin());
        let bound = (active * 5_u32).div_ceil(BACKENDS_PER_POOL as u32 * 4);
        assert!(
            picked.in_flight() <= bound,
            "{} of {active}",
            picked.in_flight()
        );
    }
}

#[test]
fn a_flap_among_ten_thousand_moves_the_keys_of_its_member_alone() {
    for bounded in [false, true] {
        let pool = Pool::new(
            Way {
                balance: Balance::Maglev,
                bounded,
            },
            &vec![1; BACKENDS_PER_POOL],
        );
        let few: Vec<usize> = (0..10).map(|i| i * 900 + 77).collect();
        for left in [(0..BACKENDS_PER_POOL).collect(), few] {
            let out = (0..BACKENDS_PER_POOL).filter(|i| left.binary_search(i).is_err());
            out.for_each(|i| pool.hold(i, Health::Unhealthy));
            let keys: Vec<u64> = (0..3_000).map(|_| draw()).collect();
            let homes = || -> Vec<usize> {
                let home = |key: &u64| pool.index(pool.balancer.pick(*key, &[]).unwrap());
                keys.iter().map(home).collect()
            };
            let before = homes();
            pool.hold(before[0], Health::Unhealthy);
            for (home, during) in before.iter().zip(homes()) {
                assert_eq!(*home != during, *home == before[0]);
            }
            pool.hold(before[0], Health::Healthy);
            assert_eq!(homes(), before);
        }
    }
}

#[test]
fn a_member_that_was_full_is_found_again_when_anybody_ends_there() {
    for way in all() {
        let pool = Pool::new(way, &[1; 1_000]);
        let mut full = pool.fill(&(0..1_000).collect::<Vec<_>>());
        assert!(!pool.balancer.any_open() && pool.balancer.any_available(&[]));
        for end in [999, 500, 0] {
            let ended = full.remove(end);
            let free = pool.index(ended.backend());
            let before = LOOKS.get();
            drop(ended);
            assert_eq!(pool.pick(&[]), Some(free), "{way:?}");
            full.push(pool.backends[free].try_begin().unwrap());
            assert!(LOOKS.get() - before <= 2 * MOST_LOOKS, "{way:?}");
            assert_eq!(pool.pick(&[]), None, "{way:?}");
        }
    }
}

#[test]
fn of_those_tried_none_is_picked_and_all_others_are_found() {
    for way in all() {
        let pool = Pool::new(way, &[1; 1_000]);
        (0..1_000)
            .filter(|i| i % 59 != 0)
            .for_each(|i| pool.backends[i].close());
        let mut tried = Vec::new();
        while let Some(picked) = pool.pick(&tried) {
            assert!(picked % 59 == 0 && !tried.contains(&picked), "{way:?}");
            tried.push(picked);
        }
        assert_eq!(tried.len(), 17, "{way:?}");
        let keys: Vec<u64> = tried.iter().map(|i| pool.backends[*i].key).collect();
        assert!(pool.balancer.any_available(&keys[1..]) && !pool.balancer.any_available(&keys));
    }
}
