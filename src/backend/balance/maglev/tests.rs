//! Where keys go, and how few of them move.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::{Balancer, By};
use super::Member;
use crate::backend::{Backend, Health, Registry};
use crate::config::{Balance, Name};

const KEYS: u64 = 20_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Members `b0`, `b1` and so on of one registry, open.
struct Pool(Registry);

impl Pool {
    fn new() -> Self {
        Self(Registry::scratch())
    }

    fn backend(&self, id: usize) -> Arc<Backend> {
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let backend = self
            .0
            .backend(&name("web"), &name(&format!("b{id}")), address);
        backend.open();
        backend
    }

    fn table(&self, members: &[(usize, u16)], bounded: bool) -> Balancer {
        let member = |(id, weight): &(usize, u16)| Member {
            backend: self.backend(*id),
            weight: *weight,
        };
        let members = members.iter().map(member).collect();
        let runtime = self.0.pool(&name("web"));
        let balancer = Balancer::build(Balance::Maglev, bounded, members, &runtime);
        runtime.follow([&balancer]);
        balancer
    }
}

fn table(balancer: &Balancer) -> &[u16] {
    match &balancer.by {
        By::Maglev(maglev) => &maglev.table,
        other => panic!("{other:?}"),
    }
}

/// Over the table, by id.
fn digest(balancer: &Balancer) -> u64 {
    let member = |slot: &u16| balancer.members()[usize::from(*slot)].backend.id.as_str();
    let ids: Vec<&str> = table(balancer).iter().map(member).collect();
    twox_hash::XxHash3_64::oneshot(ids.join(",").as_bytes())
}

fn equal(count: usize) -> Vec<(usize, u16)> {
    (0..count).map(|id| (id, 1)).collect()
}

/// A key's hash is as good as chance.
fn homes(maglev: &Balancer) -> Vec<Name> {
    let hash = |key: u64| twox_hash::XxHash3_64::oneshot(&key.to_le_bytes());
    (0..KEYS)
        .map(|key| maglev.pick(hash(key), &[]).unwrap().id.clone())
        .collect()
}

/// The share of keys that are elsewhere in `after`, of those that `counts` takes.
fn moved(before: &[Name], after: &[Name], counts: impl Fn(&Name, &Name) -> bool) -> f64 {
    let pairs = before.iter().zip(after).filter(|(a, b)| counts(a, b));
    pairs.filter(|(a, b)| a != b).count() as f64 / KEYS as f64
}

#[test]
fn a_table_is_the_same_on_every_node() {
    let members = [(1, 3), (2, 1), (3, 2), (10, 65_535)];
    let mut reversed = members;
    reversed.reverse();
    let one = Pool::new().table(&members, false);
    let other = Pool::new().table(&reversed, true);
    assert_eq!(digest(&one), digest(&other));
    assert_eq!(
        digest(&one),
        10_332_833_301_954_305_029,
        "nodes of another version have this table"
    );
}

#[test]
fn a_new_member_takes_its_share_and_little_else_moves() {
    for bounded in [false, true] {
        let pool = Pool::new();
        let before = homes(&pool.table(&equal(20), bounded));
        let after = homes(&pool.table(&equal(21), bounded));
        let newcomer = name("b20");
        let taken = moved(&before, &after, |_, b| *b == newcomer);
        assert!((0.04..0.056).contains(&taken), "{taken} of 1/21");
        let others = moved(&before, &after, |_, b| *b != newcomer);
        assert!(others < 0.02, "{others} moved between others");
    }
}

#[test]
fn a_weight_moves_what_it_gains() {
    for bounded in [false, true] {
        let pool = Pool::new();
        let mut members = equal(10);
        let before = homes(&pool.table(&members, bounded));
        members[3].1 = 2;
        let after = homes(&pool.table(&members, bounded));
        let gained = moved(&before, &after, |_, b| *b == name("b3"));
        assert!((0.07..0.095).contains(&gained), "{gained} of 2/11 - 1/10");
        let others = moved(&before, &after, |_, b| *b != name("b3"));
        assert!(others < 0.03, "{others} moved between others");
    }
}

#[test]
fn a_flap_moves_the_keys_of_its_member_alone_and_back() {
    for bounded in [false, true] {
        let pool = Pool::new();
        let maglev = pool.table(&equal(10), bounded);
        let before = homes(&maglev);
        let down = pool.backend(4);
        for closed in [false, true] {
            down.change_health(|_, _| Health::Unhealthy);
            if closed {
                down.change_health(|_, _| Health::Healthy);
                down.close();
            }
            let during = homes(&maglev);
            assert!(!during.contains(&down.id));
            assert_eq!(moved(&before, &during, |a, _| *a != down.id), 0.0);
            let heirs = before.iter().zip(&during).filter(|(a, _)| **a == down.id);
            let mut heirs: Vec<&Name> = heirs.map(|(_, heir)| heir).collect();
            heirs.sort();
            heirs.dedup();
            assert_eq!(heirs.len(), 9, "its keys spread over all others");
            down.change_health(|_, _| Health::Healthy);
            down.open();
            assert_eq!(homes(&maglev), before);
        }
    }
}

#[test]
fn a_light_member_has_a_slot_however_heavy_the_others() {
    let mut members = vec![(0, 65_535), (1, 65_535)];
    members.extend((2..1_000).map(|id| (id, 1)));
    let maglev = Pool::new().table(&members, false);
    let mut slots = vec![0; members.len()];
    table(&maglev)
        .iter()
        .for_each(|slot| slots[usize::from(*slot)] += 1);
    assert!(slots.iter().all(|slots| *slots >= 1));
}

#[test]
fn one_hot_key_stays_within_the_bound() {
    for (members, bounded, own) in [(equal(10), true, 125), (equal(10), false, 1_000)] {
        let pool = Pool::new();
        let maglev = pool.table(&members, bounded);
        let under_way: Vec<_> = (0..1_000)
            .map(|_| maglev.pick(7, &[]).unwrap().begin())
            .collect();
        let loads = (0..10).map(|id| pool.backend(id).in_flight());
        assert_eq!(loads.max(), Some(own));
        drop(under_way);
    }
}

#[test]
fn the_bound_is_of_those_that_may_be_picked() {
    let pool = Pool::new();
    let maglev = pool.table(&equal(10), true);
    (5..10).for_each(|id| pool.backend(id).close());
    let _under_way: Vec<_> = (0..1_000)
        .map(|_| maglev.pick(7, &[]).unwrap().begin())
        .collect();
    let loads: Vec<u32> = (0..5).map(|id| pool.backend(id).in_flight()).collect();
    assert_eq!(loads.iter().max(), Some(&250));
    assert_eq!(loads.iter().sum::<u32>(), 1_000);
}
