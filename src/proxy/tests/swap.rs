//! Changes of the config under traffic, and the end of the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Clients that send request after request until told to stop; each tells how many were answered 200, and fails the
/// test on anything else.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn on(harness: &Harness, clients: usize) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let address = harness.address();
        let client = |_| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                let mut client = Peer::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    client.send(GET);
                    let (head, _) = client.response();
                    assert_eq!(status(&head), 200, "{head}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self {
            stop,
            done,
            clients,
        }
    }

    /// Returns once `n` more requests were answered.
    fn pass(&self, n: usize) {
        let until = self.done.load(Ordering::Relaxed) + n;
        while self.done.load(Ordering::Relaxed) < until {
            assert!(
                !self.clients.iter().all(|client| client.is_finished()),
                "all clients have failed"
            );
            std::thread::yield_now();
        }
    }

    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.done.load(Ordering::Relaxed)
    }
}

pub(super) fn counting() -> (Scripted, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let backend = Scripted::new(move |peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            if !peer.try_send(ok("x")) {
                return;
            }
        }
    });
    (backend, seen)
}

#[test]
fn no_request_goes_to_a_removed_backend_once_the_fence_has_passed() {
    let (a, seen_a) = counting();
    let (b, seen_b) = counting();
    let mut two = options();
    two.threads = 2;
    let harness = Harness::new(two, &web(&[a.address, b.address], json!({})));
    let metrics_b = harness.metrics.backend("web", "b2");
    let load = Load::on(&harness, 8);
    for _ in 0..20 {
        load.pass(50);
        harness.publish(&web(&[a.address], json!({})));
        let before_a = seen_a.load(Ordering::SeqCst);
        // What was sent before the fence is in flight until it is answered, and the backend's thread may be late to
        // count it. Once that is over nothing more comes.
        wait_until(|| metrics_b.in_flight() == 0);
        let settled = seen_b.load(Ordering::SeqCst);
        load.pass(50);
        assert_eq!(seen_b.load(Ordering::SeqCst), settled);
        assert!(seen_a.load(Ordering::SeqCst) > before_a);
        harness.publish(&web(&[a.address, b.address], json!({})));
    }
    load.end();
}

#[test]
fn a_backend_that_closes_while_a_request_connects_to_it_gets_nothing() {
    // It takes connections only when told to: a full backlog holds the proxy's connect up.
    let held = HeldUp::new();
    let good = Scripted::named("good");
    let pool = json!({"timeouts": {"connect": "5s"}});
    let harness = Harness::new(options(), &web(&[held.address], pool.clone()));
    let mut client = harness.client();
    client.send(GET);
    harness.wait_for_in_flight("b1");
    harness.publish(&web(&[good.address], pool));
    let first = held.let_in();
    assert_eq!(client.response().1, "good");
    assert_eq!(first, "", "not one byte");
}

#[test]
fn a_request_that_goes_another_way_is_counted_once_by_a_rate() {
    let held = HeldUp::new();
    let good = Scripted::named("good");
    let config = |address| {
        let mut config = web(&[address], json!({"timeouts": {"connect": "5s"}}));
        config["routes"][0]["rate_limit"] = json!({"requests": 2, "per": "1h"});
        config
    };
    let harness = Harness::new(options(), &config(held.address));
    let mut client = harness.client();
    client.send(GET);
    harness.wait_for_in_flight("b1");
    harness.publish(&config(good.address));
    held.let_in();
    for expected in [200, 200, 429] {
        assert_eq!(status(&client.response().0), expected);
        client.send(GET);
    }
}

#[test]
fn a_request_that_goes_to_another_route_is_counted_there_too() {
    let held = HeldUp::new();
    let good = Scripted::named("good");
    let config = |address, route: &str| {
        let mut config = web(&[address], json!({"timeouts": {"connect": "5s"}}));
        config["routes"][0]["name"] = json!(route);
        config["routes"][0]["rate_limit"] = json!({"requests": 1, "per": "1h"});
        config
    };
    let harness = Harness::new(options(), &config(held.address, "first"));
    let mut client = harness.client();
    client.send(GET);
    harness.wait_for_in_flight("b1");
    harness.publish(&config(good.address, "second"));
    held.let_in();
    for expected in [200, 429] {
        assert_eq!(status(&client.response().0), expected);
        client.send(GET);
    }
}

#[test]
fn changes_under_load_fail_no_request() {
    let backends: Vec<_> = (0..3).map(|_| counting().0).collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let harness = Harness::to(&addresses);
    let load = Load::on(&harness, 8);
    for i in 0..100 {
        load.pass(10);
        let balance = crate::config::Balance::ALL[i % 6].name();
        harness.publish(&web(&addresses[i % 3..], json!({"balance": balance})));
    }
    let answered = load.end();
    harness.settle();
    assert_eq!(harness.metrics.route("all").requests(200), answered as u64);
}

#[test]
fn a_drain_finishes_what_was_accepted_and_closes_the_rest() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        gate.lock().unwrap().recv().unwrap();
        peer.send(ok("late"));
    });
    let harness = Harness::to(&[backend.address]);
    let address = harness.address();
    let mut idle = harness.client();
    let mut busy = harness.client();
    busy.send(GET);
    backend.wait_for_connections(1);
    harness.settle();
    let draining = std::thread::spawn(move || harness.drain_within(Duration::from_secs(6)));
    assert!(idle.is_closed());
    release.send(()).unwrap();
    let (head, body) = busy.response();
    assert_eq!(
        (body.as_str(), field(&head, "connection")),
        ("late", Some("close"))
    );
    drop(busy);
    assert_eq!(draining.join().unwrap(), 0, "nothing was cut");
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let backend = Scripted::new(|peer, _| drop(peer.rest()));
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send(GET);
    backend.wait_for_connections(1);
    assert_eq!(harness.drain_within(Duration::from_millis(300)), 1);
    assert!(client.is_closed());
}

/// Has a proxy drained with 60 idle connections, of which each `keep` gives what waits for its end: they end one by
/// one in a third of the drain's time, so that their clients do not come back all at once.
pub(super) fn ends_spread_over_a_drain<W>(keep: impl Fn(&Harness) -> W)
where
    W: FnOnce() + Send + 'static,
{
    const TIME: Duration = Duration::from_secs(9);
    let backend = Scripted::named("x");
    let harness = Harness::to(&[backend.address]);
    let waits: Vec<W> = (0..60).map(|_| keep(&harness)).collect();
    harness.settle();
    let begun = Instant::now();
    let draining = std::thread::spawn(move || harness.drain_within(TIME));
    let ending = |wait: W| {
        std::thread::spawn(move || {
            wait();
            begun.elapsed()
        })
    };
    let endings: Vec<_> = waits.into_iter().map(ending).collect();
    let ended = endings.into_iter().map(|ending| ending.join().unwrap());
    let ended: Vec<Duration> = ended.collect();
    // By chance a part sees none one time in 10^10. They are as long as a machine under load may need.
    let part = TIME / 9;
    for from in [Duration::ZERO, part, 2 * part] {
        let within = from..from + part;
        let some = ended.iter().any(|at| within.contains(at));
        assert!(some, "none in {within:?}: {ended:?}");
    }
    assert!(ended.iter().all(|at| *at < TIME / 2), "{ended:?}");
    assert_eq!(draining.join().unwrap(), 0, "none was cut");
}

#[test]
fn idle_connections_are_closed_one_by_one_over_a_third_of_the_drain() {
    ends_spread_over_a_drain(|harness| {
        let mut client = harness.client();
        client.send(GET);
        client.response();
        move || assert!(client.is_closed())
    });
}

#[test]
fn no_accepted_connection_is_lost_by_a_drain() {
    let (backend, _) = counting();
    let harness = Harness::to(&[backend.address]);
    let address = harness.address();
    let (sender, connected) = std::sync::mpsc::channel();
    // Clients that connect, ask once, and come again, until nobody listens any more.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut answered = 0;
                loop {
                    let timeout = Duration::from_secs(5);
                    let Ok(stream) = std::net::TcpStream::connect_timeout(&address, timeout) else {
                        return answered;
                    };
                    let mut client = Peer::from(stream);
                    client.send(GET);
                    assert_eq!(status(&client.response().0), 200);
                    answered += 1;
                    let _ = sender.send(());
                }
            })
        })
        .collect();
    (0..200).for_each(|_| connected.recv().unwrap());
    assert_eq!(harness.drain_within(Duration::from_secs(10)), 0);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
}

#[test]
fn clients_on_kept_connections_are_told_to_come_again_and_lose_nothing() {
    let (backend, _) = counting();
    let harness = Harness::to(&[backend.address]);
    let mut clients: Vec<Peer> = (0..8).map(|_| harness.client()).collect();
    for client in &mut clients {
        client.send(GET);
        client.response();
    }
    let address = harness.address();
    let draining = std::thread::spawn(move || harness.drain_within(Duration::from_secs(30)));
    let brief = Duration::from_millis(100);
    wait_until(|| std::net::TcpStream::connect_timeout(&address, brief).is_err());
    for client in &mut clients {
        client.send(GET);
        // Closed before it was asked, or answered with the word that it closes.
        let Some(head) = client.try_until("\r\n\r\n") else {
            continue;
        };
        assert_eq!(
            (status(&head), field(&head, "connection")),
            (200, Some("close"))
        );
    }
    drop(clients);
    assert_eq!(draining.join().unwrap(), 0);
}

#[test]
fn a_trusted_client_is_served_by_the_revision_it_knows_of_or_a_newer_one() {
    let (old, new) = (Scripted::named("old"), Scripted::named("new"));
    let ask = |harness: &Harness, revision: &str| {
        harness.once(&format!(
            "GET / HTTP/1.1\r\nHost: x\r\nSynod-Min-Revision: {revision}\r\n\r\n"
        ))
    };
    let stranger = Harness::to(&[old.address]);
    assert_eq!(ask(&stranger, "9").1, "old");
    let harness = Harness::new(trusting_loopback(), &web(&[old.address], json!({})));
    assert_eq!(ask(&harness, "1").1, "old");
    assert_eq!(status(&ask(&harness, "+1").0), 400);
    let (head, _) = ask(&harness, "9");
    assert_eq!(
        (status(&head), field(&head, "retry-after")),
        (503, Some("1"))
    );
    // A stall of the machine may be longer than a request waits, but not each time.
    let waits = |revision: u64| {
        let (backend, name) = match revision % 2 {
            0 => (&new, "new"),
            _ => (&old, "old"),
        };
        let mut early = harness.client();
        early.send(format!(
            "GET / HTTP/1.1\r\nHost: x\r\nSynod-Min-Revision: {revision}\r\n\r\n"
        ));
        harness.publish(&web(&[backend.address], json!({})));
        early.response().1 == name
    };
    assert!((2..7).any(waits));
}
