//! One property suite over all balancers, in pools of any size that there may be.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::config::limits::BACKENDS_PER_POOL;

/// After so many rounds every member has been picked: chance leaves one out once in 10^12.
pub(super) fn rounds(way: Way) -> usize {
    if way.is_exact() { 2 } else { 30 }
}

/// Pools below and above the size from which members have trees.
fn weights() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![
        prop::collection::vec(0_u16..8, 1..12),
        prop::collection::vec(0_u16..4, 30..150)
    ]
}

/// Pools as big as they may be, and nearly so.
fn many_weights() -> impl Strategy<Value = Vec<u16>> {
    let sizes = BACKENDS_PER_POOL - BACKENDS_PER_POOL / 10..=BACKENDS_PER_POOL;
    prop::collection::vec(0_u16..4, sizes)
}

fn fates(members: usize) -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(0..6, members)
}

type Steps = Vec<(bool, u16)>;

fn steps() -> impl Strategy<Value = Steps> {
    prop::collection::vec((any::<bool>(), any::<u16>()), 1..200)
}

type Checked = Result<(), TestCaseError>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_member_gets_its_proportion_and_who_has_none_nothing(weights in weights(), more in 0_usize..3) {
        are_proportional(&weights, more)?;
    }

    #[test]
    fn closed_down_ejected_full_and_tried_members_are_passed_over(weights in weights(), fates in fates(150)) {
        are_passed_over(&weights, &fates)?;
    }

    #[test]
    fn least_connections_picks_a_least_loaded_member(weights in weights(), steps in steps()) {
        is_least_loaded(&weights, steps)?;
    }

    #[test]
    fn keys_move_from_and_to_who_comes_or_goes_and_few_between_others(weights in weights(), which in any::<usize>()) {
        move_little(&weights, which)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn every_member_of_ten_thousand_gets_its_proportion(weights in many_weights(), more in 0_usize..3) {
        are_proportional(&weights, more)?;
    }

    #[test]
    fn of_ten_thousand_too_those_out_of_use_are_passed_over(weights in many_weights(), fates in fates(BACKENDS_PER_POOL)) {
        are_passed_over(&weights, &fates)?;
    }

    #[test]
    fn least_connections_picks_a_least_loaded_member_of_ten_thousand(weights in many_weights(), steps in steps()) {
        is_least_loaded(&weights, steps)?;
    }

    #[test]
    fn of_ten_thousand_too_few_keys_move_between_others(weights in many_weights(), which in any::<usize>()) {
        move_little(&weights, which)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn nobody_starves_while_others_are_out_or_warm(weights in prop::collection::vec(1_u16..4, 2..12), out in prop::collection::vec(0..4, 12)) {
        for balance in all() {
            let pool = Pool::new(balance, &weights);
            let is = |i: usize, what: i32| out[i] == what;
            (0..weights.len()).filter(|i| is(*i, 1)).for_each(|i| pool.eject(i));
            (0..weights.len()).filter(|i| is(*i, 2)).for_each(|i| pool.backends[i].close());
            (0..weights.len()).filter(|i| is(*i, 3)).for_each(|i| pool.backends[i].warm_up(Instant::now()));
            let picked = counts((0..6_000).filter_map(|_| pool.pick(&[])));
            for i in 0..weights.len() {
                let open = is(i, 0) || is(i, 3);
                prop_assert_eq!(picked.contains_key(&i), open, "{:?} {} of {:?}", balance, i, out);
            }
        }
    }
}

fn sum(weights: &[u16]) -> usize {
    weights.iter().map(|weight| usize::from(*weight)).sum()
}

/// Of idle members, and of the whole pool: whoever has a weight is picked, and nobody else.
fn are_proportional(weights: &[u16], more: usize) -> Checked {
    for balance in all() {
        let rounds = rounds(balance) + more;
        let pool = Pool::new(balance, weights);
        let sum = sum(weights);
        let picked = counts((0..rounds * sum + 1).filter_map(|_| pool.pick(&[])));
        for (member, weight) in weights.iter().enumerate() {
            let expected = rounds * usize::from(*weight);
            let got = picked.get(&member).copied().unwrap_or(0);
            prop_assert_eq!(got > 0, *weight > 0, "{:?} {}", balance, member);
            let chance = expected / 50 + (8.0 * (expected as f64).sqrt()) as usize;
            // Its slots in the table are whole ones.
            let slots = (2 * rounds * sum).div_ceil(65_537);
            let bound = match balance.balance {
                _ if balance.is_exact() => 1,
                Balance::Maglev => 1 + chance + slots,
                _ => 1 + chance,
            };
            prop_assert!(
                got.abs_diff(expected) <= bound,
                "{:?} {} of {}: {} not {}",
                balance,
                member,
                weight,
                got,
                expected
            );
        }
    }
    Ok(())
}

fn are_passed_over(weights: &[u16], fates: &[i32]) -> Checked {
    for balance in all() {
        let pool = Pool::new(balance, weights);
        let with_fate = |fate| {
            (0..weights.len())
                .filter(|i| fates[*i] == fate)
                .collect::<Vec<_>>()
        };
        let each = |fate, act: &dyn Fn(usize)| with_fate(fate).into_iter().for_each(act);
        each(1, &|closed| pool.backends[closed].close());
        let mut tried = with_fate(2);
        // Nobody tries more than a few: of many, the others are as good as any.
        let untried = tried.split_off(tried.len().min(25));
        each(3, &|down| pool.hold(down, Health::Unhealthy));
        each(4, &|ejected| pool.eject(ejected));
        let full = pool.fill(&with_fate(5));
        let open = |i: usize| weights[i] > 0 && (fates[i] == 0 || untried.contains(&i));
        let any = (0..weights.len()).any(open);
        for _ in 0..50 {
            match pool.pick(&tried) {
                Some(picked) => prop_assert!(open(picked), "{:?} {}", balance, picked),
                None => prop_assert!(!any, "{:?} found none", balance),
            }
        }
        drop(full);
    }
    Ok(())
}

fn is_least_loaded(weights: &[u16], steps: Steps) -> Checked {
    prop_assume!(weights.iter().any(|weight| *weight > 0));
    let pool = Pool::new(Balance::LeastConnections, weights);
    // Most are busy: of many that are idle anyone would do.
    let busy = (0..weights.len()).filter(|i| i % 1_000 != 0);
    let mut under_way: Vec<InFlight> = busy
        .flat_map(|i| pool.load(i, usize::from(weights[i])))
        .collect();
    for (begin, which) in steps {
        if !begin && !under_way.is_empty() {
            under_way.swap_remove(usize::from(which) % under_way.len());
            continue;
        }
        let picked = pool.pick(&[]).unwrap();
        let load =
            |i: usize, weight: u16| u64::from(pool.backends[i].in_flight()) * u64::from(weight);
        let with_share = weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 0);
        for (other, weight) in with_share {
            prop_assert!(load(picked, *weight) <= load(other, weights[picked]));
        }
        under_way.push(pool.backends[picked].begin());
        let more = usize::from(which) % weights.len();
        under_way.extend(pool.load(more, usize::from(which % 5 == 0)));
    }
    Ok(())
}

/// Keys that are looked at.
const KEYS: usize = 4_000;

/// One of the members, whichever, is taken out of the pool and put back into it.
fn move_little(weights: &[u16], which: usize) -> Checked {
    let with_share: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0).collect();
    prop_assume!(with_share.len() > 1);
    let gone = with_share[which % with_share.len()];
    for bounded in [false, true] {
        let way = Way {
            balance: Balance::Maglev,
            bounded,
        };
        let mut pool = Pool::new(way, weights);
        let keys: Vec<u64> = (0..KEYS).map(|_| draw()).collect();
        let homes = |pool: &Pool| -> Vec<usize> {
            let home = |key: &u64| pool.index(pool.balancer.pick(*key, &[]).unwrap());
            keys.iter().map(home).collect()
        };
        let before = homes(&pool);
        let mut without = weights.to_vec();
        without[gone] = 0;
        pool.rebuild(way, &without);
        let during = homes(&pool);
        prop_assert!(!during.contains(&gone));
        let stayed = || {
            before
                .iter()
                .zip(&during)
                .filter(|(home, _)| **home != gone)
        };
        let moved = stayed().filter(|(home, now)| home != now).count();
        prop_assert!(
            moved * 50 <= stayed().count(),
            "{} of {} moved",
            moved,
            stayed().count()
        );
        pool.rebuild(way, weights);
        prop_assert_eq!(homes(&pool), before);
    }
    Ok(())
}
