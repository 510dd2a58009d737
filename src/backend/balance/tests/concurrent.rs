//! What the trees of a big pool say once all changes that met are done.

use std::collections::VecDeque;

use super::*;

/// Runs four threads at once, and tells which requests are still under way.
fn at_once(run: impl Fn(usize, &mut VecDeque<InFlight>) + Sync) -> Vec<InFlight> {
    let start = Barrier::new(4);
    let kept = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (run, start, kept) = (&run, &start, &kept);
            scope.spawn(move || {
                start.wait();
                let mut own = VecDeque::new();
                run(thread, &mut own);
                kept.lock().unwrap().extend(own);
            });
        }
    });
    kept.into_inner().unwrap()
}

#[test]
fn the_lightest_of_many_is_found_after_any_concurrent_changes() {
    let pool = Pool::new(Balance::LeastConnections, &[1; 300]);
    let mut kept = at_once(|thread, own| {
        for step in 0..4_000 {
            own.push_back(pool.balancer.pick(draw(), &[]).unwrap().begin());
            if own.len() > 50 + thread * 10 || step % 7 == 0 {
                own.pop_front();
            }
        }
    });
    // Quiet now, so the tree is exact: each pick is at the least load there is.
    for _ in 0..1_000 {
        let least = pool
            .backends
            .iter()
            .map(|backend| backend.in_flight())
            .min();
        let picked = pool.balancer.pick(draw(), &[]).unwrap();
        assert_eq!(Some(picked.in_flight()), least);
        kept.push(picked.begin());
    }
}

#[test]
fn the_weight_of_who_is_open_is_exact_after_any_concurrent_changes() {
    let pool = Pool::new(Balance::Random, &[1; 300]);
    drop(pool.fill(&(0..300).collect::<Vec<_>>()));
    for round in 0..100 {
        let _kept = at_once(|thread, own| {
            for step in 0..150 {
                let picked = pool.balancer.pick(draw(), &[]);
                own.extend(picked.and_then(Backend::try_begin));
                if own.len() > 40 + thread * 10 || step % 3 == 0 {
                    own.pop_front();
                }
                if step % 10 == 0 {
                    let health = [Health::Unhealthy, Health::Healthy][step / 10 % 2];
                    pool.hold(thread * 75 + step % 75, health);
                }
            }
        });
        let count = |fit: fn(&Backend) -> bool| pool.backends.iter().filter(|it| fit(it)).count();
        let walked = [count(Backend::is_available), count(Backend::is_open)];
        assert_eq!(
            pool.balancer.shared().weights(),
            walked.map(|it| it as u64),
            "{round}"
        );
    }
}
