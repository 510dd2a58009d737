//! What each balancer promises by itself; what all of them do is in `properties`.

mod big;
mod concurrent;
mod properties;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use super::{Balancer, Member, draw};
use crate::backend::{Answer, Backend, Health, InFlight, Recourse, Registry};
use crate::config::{Balance, Capacity, Name, Outlier};
use crate::telemetry::metrics::BackendError;

/// All ways, and consistent hashing once more with bounded load.
fn all() -> impl Iterator<Item = Way> {
    let as_they_are = Balance::ALL.into_iter().map(Way::from);
    as_they_are.chain([Way::BOUNDED])
}

/// A way to pick.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Way {
    balance: Balance,
    /// Whether load is bounded.
    bounded: bool,
}

impl From<Balance> for Way {
    fn from(balance: Balance) -> Self {
        let bounded = false;
        Self { balance, bounded }
    }
}

impl Way {
    const BOUNDED: Self = Self {
        balance: Balance::Maglev,
        bounded: true,
    };

    /// Whether it keeps the proportion pick by pick; the others keep it by the law of large numbers.
    fn is_exact(self) -> bool {
        EXACT.contains(&self.balance)
    }
}

const EXACT: [Balance; 2] = [Balance::RoundRobin, Balance::LeastConnections];

/// A pool `web` whose members are known by their index.
struct Pool {
    registry: Registry,
    backends: Vec<Arc<Backend>>,
    /// Keeps the pool's place, as a snapshot does.
    balancer: Balancer,
}

impl Pool {
    fn new(way: impl Into<Way>, weights: &[u16]) -> Self {
        // Chance alone breaks any bound now and then.
        draw::seed(1);
        let registry = Registry::scratch();
        let backends: Vec<Arc<Backend>> =
            (0..weights.len()).map(|i| backend(&registry, i)).collect();
        backends.iter().for_each(|backend| backend.open());
        let balancer = build(&registry, &backends, way.into(), weights);
        Self {
            registry,
            backends,
            balancer,
        }
    }

    fn rebuild(&mut self, way: impl Into<Way>, weights: &[u16]) {
        self.balancer = build(&self.registry, &self.backends, way.into(), weights);
    }

    fn pick(&self, tried: &[usize]) -> Option<usize> {
        let tried: Vec<u64> = tried.iter().map(|i| self.backends[*i].key).collect();
        Some(self.index(self.balancer.pick(draw(), &tried)?))
    }

    fn index(&self, picked: &Arc<Backend>) -> usize {
        picked.id.as_str()[1..].parse().unwrap()
    }

    fn picks(&self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.pick(&[]).unwrap()).collect()
    }

    /// The member answered with `status` after `took` milliseconds.
    fn answer(&self, index: usize, status: u16, took: u64) {
        self.backends[index].answered(Answer {
            status,
            at: Instant::now(),
            first_byte: Duration::from_millis(took),
            retry_after: None,
        });
    }

    fn hold(&self, index: usize, health: Health) {
        self.backends[index].change_health(|_, _| health);
    }

    fn eject(&self, index: usize) {
        self.backends[index].eject(Instant::now(), &Outlier::default(), String::new());
    }

    /// Brings these to their limit of one request each.
    fn fill(&self, members: &[usize]) -> Vec<InFlight> {
        let one = Capacity {
            requests_per_backend: Some(1),
            ..Capacity::default()
        };
        self.registry.pool(&name("web")).limit(Some(&one));
        let full = members.iter().map(|i| &self.backends[*i]);
        full.map(|backend| {
            backend.set_limited(true);
            let request = backend.try_begin().unwrap();
            assert!(backend.try_begin().is_none());
            request
        })
        .collect()
    }

    fn load(&self, index: usize, requests: usize) -> Vec<InFlight> {
        (0..requests)
            .map(|_| self.backends[index].begin())
            .collect()
    }
}

impl Drop for Pool {
    /// What follows a pool holds its members.
    fn drop(&mut self) {
        self.registry.pool(&name("web")).follow([]);
    }
}

fn backend(registry: &Registry, index: usize) -> Arc<Backend> {
    let address = SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], 80));
    registry.backend(&name("web"), &name(&format!("b{index}")), address)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn build(
    registry: &Registry,
    backends: &[Arc<Backend>],
    Way { balance, bounded }: Way,
    weights: &[u16],
) -> Balancer {
    let members = backends
        .iter()
        .zip(weights)
        .map(|(backend, weight)| Member {
            backend: backend.clone(),
            weight: *weight,
        });
    let runtime = registry.pool(&name("web"));
    let balancer = Balancer::build(balance, bounded, members.collect(), &runtime);
    runtime.follow([&balancer]);
    balancer
}

fn counts(picks: impl IntoIterator<Item = usize>) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    picks
        .into_iter()
        .for_each(|pick| *counts.entry(pick).or_default() += 1);
    counts
}

#[test]
fn a_pool_of_nothing_has_no_pick() {
    for balance in all() {
        for weights in [&[][..], &[0], &[0, 0, 0]] {
            assert_eq!(Pool::new(balance, weights).pick(&[]), None);
        }
    }
}

#[test]
fn five_one_one_is_exact_over_all_threads() {
    let pool = Pool::new(Balance::RoundRobin, &[5, 1, 1]);
    let (threads, each) = (4, 7_000);
    let start = Barrier::new(threads);
    let total = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                start.wait();
                let own = counts(pool.picks(each));
                let mut total = total.lock().unwrap();
                own.into_iter()
                    .for_each(|(member, count)| *total.entry(member).or_insert(0) += count);
            });
        }
    });
    assert_eq!(
        total.into_inner().unwrap(),
        BTreeMap::from([(0, 20_000), (1, 4_000), (2, 4_000)])
    );
}

#[test]
fn five_one_one_never_comes_in_a_burst() {
    let pool = Pool::new(Balance::RoundRobin, &[5, 1, 1]);
    let picks = pool.picks(70);
    let longest = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
    assert_eq!(
        longest,
        Some(4),
        "a a | a a b: the end of one round and the start of the next"
    );
}

#[test]
fn a_rebuild_for_each_request_keeps_the_place() {
    for balance in EXACT {
        let weights = [3, 1, 0, 2];
        let mut pool = Pool::new(balance, &weights);
        let picked = counts((0..600).map(|_| {
            pool.rebuild(balance, &weights);
            pool.pick(&[]).unwrap()
        }));
        assert_eq!(
            picked,
            BTreeMap::from([(0, 300), (1, 100), (3, 200)]),
            "{balance:?}"
        );
    }
}

#[test]
fn of_two_the_busy_one_is_not_picked() {
    for balance in [Balance::PowerOfTwo, Balance::Ewma] {
        let pool = Pool::new(balance, &[2, 1]);
        (0..2).for_each(|member| pool.answer(member, 200, 10));
        let _busy = pool.load(0, 1);
        assert_eq!(
            counts(pool.picks(50)),
            BTreeMap::from([(1, 50)]),
            "{balance:?}"
        );
        let _busier = pool.load(1, 1);
        assert_eq!(
            counts(pool.picks(50)),
            BTreeMap::from([(0, 50)]),
            "{balance:?}: one of two is less than one of one"
        );
    }
}

#[test]
fn two_choices_keep_the_load_even() {
    let pool = Pool::new(Balance::PowerOfTwo, &[1; 100]);
    let under_way: Vec<InFlight> = (0..5_000)
        .map(|_| pool.balancer.pick(draw(), &[]).unwrap().begin())
        .collect();
    let loads = pool.backends.iter().map(|backend| backend.in_flight());
    let (least, most) = (loads.clone().min(), loads.max());
    assert!(
        least >= Some(45) && most <= Some(55),
        "{least:?} to {most:?}"
    );
    drop(under_way);
}

#[test]
fn who_fails_fast_attracts_less_than_who_is_slow() {
    for (weights, failing) in [(vec![1; 2], 1), (vec![1, 1, 9], 2)] {
        let pool = Pool::new(Balance::Ewma, &weights);
        (0..weights.len()).for_each(|member| pool.answer(member, 200, 50));
        pool.answer(failing, 503, 1);
        let _some = pool.load(0, 20);
        assert!(
            !counts(pool.picks(200)).contains_key(&failing),
            "{weights:?}"
        );
    }
}

#[test]
fn a_member_asks_to_be_left_alone_for_longer_than_any_failure_costs() {
    let pool = Pool::new(Balance::Ewma, &[1; 2]);
    let asks = |seconds| Answer {
        status: 429,
        at: Instant::now(),
        first_byte: Duration::from_millis(1),
        retry_after: Some(Duration::from_secs(seconds)),
    };
    pool.backends[0].failed(BackendError::Timeout);
    pool.backends[1].answered(asks(1_000_000));
    let charged = pool.backends[1].average_first_byte().unwrap();
    assert!((290..=300).contains(&charged.as_secs()), "{charged:?}");
    assert_eq!(counts(pool.picks(50)), BTreeMap::from([(0, 50)]));
}

#[test]
fn of_a_new_member_one_request_finds_out() {
    let pool = Pool::new(Balance::Ewma, &[1; 2]);
    pool.answer(0, 200, 50);
    assert_eq!(pool.pick(&[]), Some(1), "nothing is known of it");
    let _first = pool.load(1, 1);
    assert_eq!(counts(pool.picks(50)), BTreeMap::from([(0, 50)]));
    pool.answer(1, 200, 1);
    assert_eq!(pool.pick(&[]), Some(1));
}

#[test]
fn what_is_measured_outlives_a_thousand_changes() {
    let mut pool = Pool::new(Balance::Ewma, &[1; 2]);
    (0..2).for_each(|member| pool.answer(member, 200, 1));
    pool.answer(1, 200, 2_000);
    for change in 0..1_000 {
        pool.rebuild(Balance::Ewma, &[1, change % 7 + 1]);
    }
    assert_eq!(counts(pool.picks(50)), BTreeMap::from([(0, 50)]));
}

#[test]
fn nodes_begin_at_different_places() {
    let first = |_| Pool::new(Balance::RoundRobin, &[1; 100]).pick(&[]).unwrap();
    assert!(counts((0..20).map(first)).len() > 5);
}

#[test]
fn a_newcomer_does_not_catch_up_in_a_burst() {
    let mut pool = Pool::new(Balance::LeastConnections, &[1, 1, 0]);
    pool.picks(1_000);
    pool.rebuild(Balance::LeastConnections, &[1, 1, 1]);
    assert_eq!(counts(pool.picks(30)).get(&2), Some(&10));
}

#[test]
fn load_is_known_over_rebuilds_and_changes_of_the_kind() {
    for size in [3, 200] {
        let weights = vec![1; size];
        let mut pool = Pool::new(Balance::RoundRobin, &weights);
        let mut busy: Vec<InFlight> = (1..size).flat_map(|i| pool.load(i, 2)).collect();
        pool.rebuild(Balance::LeastConnections, &weights);
        assert_eq!(pool.pick(&[]), Some(0));
        pool.rebuild(Balance::LeastConnections, &vec![2; size]);
        busy.extend(pool.load(0, 3));
        let gone = busy
            .iter()
            .position(|request| pool.index(request.backend()) == 2)
            .unwrap();
        busy.remove(gone);
        assert_eq!(
            pool.pick(&[]),
            Some(2),
            "a request begun under an older snapshot ends in the newest"
        );
    }
}

#[test]
fn a_rack_that_is_down_leaves_its_share_to_all_others() {
    let pool = Pool::new(Balance::RoundRobin, &[1; 3_000]);
    (1_000..2_200).for_each(|member| pool.hold(member, Health::Unhealthy));
    let picked = counts(pool.picks(3 * 1_800));
    assert_eq!(picked.len(), 1_800);
    assert!(picked.values().all(|picks| *picks == 3));
}

#[test]
fn by_the_recourse_those_that_are_down_are_picked_too_or_those_that_are_unknown() {
    for balance in all() {
        for size in [4, 200] {
            let pool = Pool::new(balance, &vec![1; size]);
            (1..size).for_each(|member| pool.hold(member, Health::Unhealthy));
            pool.hold(1, Health::Unknown);
            assert_eq!(counts(pool.picks(50)), BTreeMap::from([(0, 50)]));
            let runtime = pool.registry.pool(&name("web"));
            let mut before = Recourse::None;
            for (recourse, picked) in [
                (Recourse::Down, size - 1),
                (Recourse::Unknown, 2),
                (Recourse::None, 1),
            ] {
                assert_eq!(runtime.judge(|| recourse), (before, recourse));
                before = recourse;
                let picked_now = counts(pool.picks(properties::rounds(balance) * size));
                assert_eq!(picked_now.len(), picked, "{balance:?} {size} {recourse:?}");
                assert_eq!(picked_now.contains_key(&1), recourse == Recourse::Unknown);
            }
            pool.hold(2, Health::Healthy);
            let _busy = pool.load(0, 3);
            if balance == Balance::LeastConnections.into() {
                assert_eq!(pool.pick(&[]), Some(2), "who is up again is seen at once");
            }
        }
    }
}
