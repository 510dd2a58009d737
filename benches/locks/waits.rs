//! How long it takes to get a lock: a free one, one that is let go, one whose holder is dead.

use std::time::{Duration, Instant};

use crate::calls::Caller;
use crate::figures::{Figure, ms, percentile};
use crate::nodes::{COUNT, Nodes};

const ROUNDS: usize = 1_000;
/// Holders that die at once, each with a lock of its own.
const DEAD: usize = 20;
const LEASE: Duration = Duration::from_secs(2);

/// A free lock, asked for at the leader and at another voter.
pub(crate) async fn uncontended(nodes: &Nodes, sync: Duration) -> Vec<Figure> {
    let leader = nodes.standing().await.leader;
    let mut figures = Vec::new();
    for (node, place) in [(leader, "the leader"), (leader + 1, "another voter")] {
        let mut caller = Caller::connect(node).await;
        let session = caller.open("1h").await;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            caller.acquire("free", session).await;
            times.push(began.elapsed());
            caller.release("free", session).await;
        }
        let what = format!("a free lock, asked for at {place}, p50");
        let p50 = percentile(times, 0.5);
        figures.push(Figure::new(what, ms(p50), "ms").at_most(ms(sync) + 2.0));
    }
    figures
}

/// From the release being sent to the next holder having its token, at different nodes.
pub(crate) async fn handover(nodes: &Nodes) -> Vec<Figure> {
    let leader = nodes.standing().await.leader;
    let mut callers = Vec::new();
    for node in 0..2 {
        let mut caller = Caller::connect(leader + node).await;
        let session = caller.open("1h").await;
        callers.push((caller, session));
    }
    let mut observer = Caller::connect(leader).await;
    let (holder, session) = &mut callers[0];
    holder.acquire("handed", *session).await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (mut waiter, session) = callers.pop().expect("there are two");
        let waiting = tokio::task::spawn_local(async move {
            waiter.acquire("handed", session).await;
            (waiter, session, Instant::now())
        });
        observer.queue("handed", 1).await;
        let (holder, session) = &mut callers[0];
        let began = Instant::now();
        holder.release("handed", *session).await;
        let (waiter, session, got) = waiting.await.expect("a waiter");
        times.push(got - began);
        callers.insert(0, (waiter, session));
    }
    let p50 = percentile(times.clone(), 0.5);
    let p99 = percentile(times, 0.99);
    vec![
        Figure::new("from a release to the next holder, p50", ms(p50), "ms"),
        Figure::new("from a release to the next holder, p99", ms(p99), "ms").at_most(20.0),
    ]
}

/// From the last sign of life of a holder to the next holder having its token.
pub(crate) async fn dead_holders(nodes: &Nodes) -> Vec<Figure> {
    let leader = nodes.standing().await.leader;
    let mut waiting = Vec::new();
    for holder in 0..DEAD {
        let mut caller = Caller::connect(leader + holder % COUNT).await;
        let mut waiter = Caller::connect(leader + (holder + 1) % COUNT).await;
        let next = waiter.open("1h").await;
        waiting.push(tokio::task::spawn_local(async move {
            let lock = format!("dead{holder}");
            let session = caller.open("2s").await;
            caller.acquire(&lock, session).await;
            let body = serde_json::json!({"sessions": [session]});
            // It lives for its lease from when this is sent, and the cluster counts from when it comes.
            let died = Instant::now();
            caller.call("POST", "/v1/sessions/keep-alive", &body).await;
            waiter.acquire(&lock, next).await;
            died.elapsed()
        }));
    }
    let mut times = Vec::new();
    for one in waiting {
        times.push(one.await.expect("a waiter"));
    }
    let longest = percentile(times, 1.0).as_secs_f64();
    let lease = LEASE.as_secs_f64();
    let what = format!("from the last keep-alive of {DEAD} dead holders, lease {lease} s, longest");
    vec![Figure::new(what, longest, "s").at_most(lease + 1.0)]
}
