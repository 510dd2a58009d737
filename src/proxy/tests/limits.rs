//! Limits of a pool and rates of a route: who waits, who is refused, and what they are told.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::*;

/// A backend that answers a request when it is told to, and tells of each.
pub(super) struct Gated {
    pub(super) backend: Scripted,
    came: Receiver<()>,
    pub(super) go: Sender<()>,
}

pub(super) fn gated() -> Gated {
    let (tell, came) = channel();
    let (go, told) = channel();
    let told = Arc::new(Mutex::new(told));
    let backend = Scripted::new(move |peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            let _ = tell.send(());
            let wait = told.lock().unwrap().recv_timeout(Duration::from_secs(30));
            if wait.is_err() || !peer.try_send(ok("done")) {
                return;
            }
        }
    });
    Gated { backend, came, go }
}

impl Gated {
    pub(super) fn wait_for_request(&self) {
        self.came.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    fn has_more(&self) -> bool {
        self.came.recv_timeout(Duration::from_millis(200)).is_ok()
    }
}

fn limited(gated: &Gated, limits: Value) -> Harness {
    Harness::with_pool(&[gated.backend.address], json!({ "limits": limits }))
}

pub(super) fn asked(harness: &Harness) -> Peer {
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client
}

#[test]
fn what_is_beyond_the_limit_waits_and_goes_on_when_another_ends() {
    for limits in [
        json!({"requests_per_backend": 2, "queue_timeout": "1m"}),
        json!({"requests": 2, "queue_timeout": "1m"}),
    ] {
        let gated = gated();
        let harness = limited(&gated, limits.clone());
        let mut clients: Vec<Peer> = (0..5).map(|_| asked(&harness)).collect();
        (0..2).for_each(|_| gated.wait_for_request());
        assert!(!gated.has_more(), "{limits}: two at a time");
        for _ in 0..3 {
            gated.go.send(()).unwrap();
            gated.wait_for_request();
            assert!(!gated.has_more(), "{limits}: one for one");
        }
        (0..2).for_each(|_| gated.go.send(()).unwrap());
        for client in &mut clients {
            assert_eq!(client.response().1, "done");
        }
        harness.settle();
        assert_eq!(harness.backend(0).in_flight(), 0);
    }
}

#[test]
fn a_full_queue_and_a_long_wait_are_refused_with_the_time_to_come_back() {
    for (queue, timeout, why) in [(0, "1m", "queue_full"), (5, "100ms", "queue_timeout")] {
        let gated = gated();
        let limits = json!({"requests_per_backend": 1, "queue": queue, "queue_timeout": timeout});
        let harness = limited(&gated, limits);
        let mut first = asked(&harness);
        gated.wait_for_request();
        let mut second = asked(&harness);
        let (head, body) = second.response();
        assert_eq!(
            (status(&head), field(&head, "retry-after")),
            (503, Some("1"))
        );
        let reason = field(&head, "proxy-status").unwrap();
        assert!(
            reason.contains("connection_limit_reached") && reason.contains(why),
            "{reason}"
        );
        assert!(body.contains("busy"));
        gated.go.send(()).unwrap();
        assert_eq!(first.response().1, "done");
        second.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        gated.go.send(()).unwrap();
        assert_eq!(second.response().1, "done", "the connection was kept");
    }
}

#[test]
fn the_queue_is_first_come_first_served() {
    let gated = gated();
    let limits = json!({"requests_per_backend": 1, "queue_timeout": "1m"});
    let harness = limited(&gated, limits);
    let mut first = asked(&harness);
    gated.wait_for_request();
    let mut waiting: Vec<Peer> = Vec::new();
    for n in 1..=4 {
        waiting.push(asked(&harness));
        wait_until(|| harness.pool().waiting() == n);
    }
    gated.go.send(()).unwrap();
    assert_eq!(first.response().1, "done");
    for client in &mut waiting {
        gated.wait_for_request();
        gated.go.send(()).unwrap();
        assert_eq!(client.response().1, "done");
    }
    assert_eq!(harness.pool().waiting(), 0);
}

#[test]
fn a_limit_holds_over_threads_and_backends() {
    let most = Arc::new(Mutex::new((0_u32, 0_u32)));
    let backends: Vec<Scripted> = (0..2)
        .map(|_| {
            let most = most.clone();
            Scripted::new(move |peer, _| {
                while peer.try_until("\r\n\r\n").is_some() {
                    {
                        let mut most = most.lock().unwrap();
                        most.0 += 1;
                        most.1 = most.1.max(most.0);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                    most.lock().unwrap().0 -= 1;
                    if !peer.try_send(ok("done")) {
                        return;
                    }
                }
            })
        })
        .collect();
    let addresses = [backends[0].address, backends[1].address];
    let limits = json!({"requests_per_backend": 2, "queue_timeout": "1m"});
    let mut two = options();
    two.threads = 2;
    let harness = Harness::new(two, &web(&addresses, json!({ "limits": limits })));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = harness.client();
                for _ in 0..20 {
                    assert_eq!(client.get().1, "done");
                }
            });
        }
    });
    // A backend counts itself out before its answer is seen, and is given the next at once: never one too many.
    assert!(most.lock().unwrap().1 <= 4, "{most:?}");
    assert_eq!(harness.pool().waiting(), 0);
}

#[test]
fn a_raised_limit_lets_those_in_that_wait() {
    let gated = gated();
    let limits = |most| json!({"limits": {"requests_per_backend": most, "queue_timeout": "1m"}});
    let config = |most| web(&[gated.backend.address], limits(most));
    let harness = Harness::new(options(), &config(1));
    let _clients: Vec<Peer> = (0..3).map(|_| asked(&harness)).collect();
    gated.wait_for_request();
    assert!(!gated.has_more());
    harness.publish(&config(3));
    (0..2).for_each(|_| gated.wait_for_request());
    (0..3).for_each(|_| gated.go.send(()).unwrap());
}

/// A tenth at first, and more as its share grows, whether or not anything ends there.
#[test]
fn who_warms_takes_as_much_of_its_limit_as_of_its_share() {
    let (old, new) = (Scripted::named("old"), gated());
    let config = |slow_start: &str| {
        let limits = json!({"requests_per_backend": 20, "queue_timeout": "1m"});
        let more = json!({"limits": limits, "slow_start": slow_start});
        let mut config = web(&[old.address, new.backend.address], more);
        config["pools"][0]["backends"][0]["state"] = json!("drain");
        config
    };
    let mut before = config("24h");
    before["pools"][0]["backends"].as_array_mut().unwrap().pop();
    let harness = Harness::new(options(), &before);
    harness.check();
    harness.publish(&config("24h"));
    let mut clients: Vec<Peer> = (0..5).map(|_| asked(&harness)).collect();
    (0..2).for_each(|_| new.wait_for_request());
    assert!(!new.has_more(), "two of twenty");
    harness.publish(&config("1s"));
    (0..3).for_each(|_| new.wait_for_request());
    (0..5).for_each(|_| new.go.send(()).unwrap());
    for client in &mut clients {
        assert_eq!(client.response().1, "done");
    }
}

#[test]
fn what_waits_and_what_a_queue_refuses_is_told_by_the_metrics() {
    let gated = gated();
    let limits = json!({"requests_per_backend": 1, "queue": 1, "queue_timeout": "2s"});
    let harness = limited(&gated, limits);
    let _first = asked(&harness);
    gated.wait_for_request();
    let mut second = asked(&harness);
    wait_until(|| harness.pool().waiting() == 1);
    let waiting = harness.figures();
    assert_eq!(status(&harness.get("/").0), 503);
    assert_eq!(status(&second.response().0), 503);
    let after = harness.figures();
    for (text, line) in [
        (&waiting, r#"synod_pool_waiting{pool="web"} 1"#),
        (&after, r#"synod_pool_waiting{pool="web"} 0"#),
        (
            &after,
            r#"synod_pool_queue_refusals_total{pool="web",reason="full"} 1"#,
        ),
        (
            &after,
            r#"synod_pool_queue_refusals_total{pool="web",reason="timeout"} 1"#,
        ),
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    gated.go.send(()).unwrap();
}

fn rated(rate: Value) -> (Scripted, Harness) {
    let backend = Scripted::named("fine");
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["rate_limit"] = rate;
    let harness = Harness::new(trusting_loopback(), &config);
    (backend, harness)
}

#[test]
fn requests_beyond_the_rate_are_told_when_to_come_back() {
    let (_backend, harness) = rated(json!({"requests": 3, "per": "1h"}));
    let mut client = harness.client();
    for n in 0..6 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
        let (head, _) = client.response();
        if n < 3 {
            assert_eq!(status(&head), 200);
            continue;
        }
        assert_eq!(status(&head), 429);
        let wait: u32 = field(&head, "retry-after").unwrap().parse().unwrap();
        assert!(
            (1_100..=1_200).contains(&wait),
            "a third of an hour: {wait}"
        );
        let why = field(&head, "proxy-status").unwrap();
        assert!(
            why.contains("http_request_denied") && why.contains("rate"),
            "{why}"
        );
    }
    let counted = r#"synod_rate_limited_total{route="all"} 3"#;
    assert!(harness.figures().contains(counted));
}

#[test]
fn who_guesses_passwords_is_held_to_the_rate() {
    let backend = Scripted::named("hello");
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["rate_limit"] = json!({"requests": 3, "per": "1h"});
    // ann:open sesame
    config["routes"][0]["basic_auth"] = json!({"users": [{"name": "ann",
        "password_sha256": "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb"}]});
    let harness = Harness::new(options(), &config);
    let asked = |shown: &str| {
        let (head, _) = harness.once(&format!(
            "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {shown}\r\n\r\n"
        ));
        status(&head)
    };
    assert_eq!(asked("YW5uOm9wZW4gc2VzYW1l"), 200);
    assert_eq!((asked("YW5uOmE="), asked("YW5uOmI=")), (401, 401));
    // Neither a wrong nor the right one is told apart any more.
    assert_eq!(
        (asked("YW5uOmM="), asked("YW5uOm9wZW4gc2VzYW1l")),
        (429, 429)
    );
}

#[test]
fn a_rate_comes_back_evenly() {
    let (_backend, harness) = rated(json!({"requests": 10, "per": "1s", "burst": 1}));
    let begun = Instant::now();
    let mut served = 0;
    wait_until(|| {
        served += u32::from(status(&harness.get("/").0) == 200);
        begun.elapsed() > Duration::from_millis(1_050)
    });
    let most = begun.elapsed().as_millis() / 100 + 1;
    assert!(
        served >= 3 && u128::from(served) <= most,
        "{served} of {most}"
    );
}

#[test]
fn a_rate_is_of_each_key() {
    let by_header = json!({"requests": 1, "per": "1h", "by": {"header": "x-user"}});
    let by_cookie = json!({"requests": 1, "per": "1h", "by": {"cookie": "user"}});
    let by_address = json!({"requests": 1, "per": "1h", "by": "address"});
    for (rate, field) in [
        (by_header, "X-User: "),
        (by_cookie, "Cookie: a=b; user="),
        (by_address, "X-Forwarded-For: 10.0.0."),
    ] {
        let (_backend, harness) = rated(rate.clone());
        let ask = |more: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n");
            status(&harness.once(&request).0)
        };
        for user in ["1", "2", "3"] {
            let user = format!("{field}{user}\r\n");
            assert_eq!((ask(&user), ask(&user)), (200, 429), "{rate}");
        }
        assert_eq!(
            (ask(""), ask("")),
            (200, 429),
            "{rate}: those without are one"
        );
    }
}

#[test]
fn a_rate_of_each_address_counts_ipv6_by_its_64() {
    let (_backend, harness) = rated(json!({"requests": 1, "per": "1h", "by": "address"}));
    for (address, expected) in [
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2:ffff::1", 429),
        ("[2001:db8:1:2::7]:4711", 429),
        ("2001:db8:1:3::1", 200),
        ("192.0.2.1", 200),
        ("192.0.2.2", 200),
        ("::ffff:192.0.2.3", 200),
        ("::ffff:192.0.2.1", 429),
        ("192.0.2.3", 429),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n");
        assert_eq!(status(&harness.once(&request).0), expected, "{address}");
    }
}

#[test]
fn what_was_taken_of_a_rate_outlives_changes() {
    let backend = Scripted::named("fine");
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["rate_limit"] = json!({"requests": 2, "per": "1h"});
    let harness = Harness::new(options(), &config);
    let served = (0..3)
        .filter(|_| status(&harness.get("/").0) == 200)
        .count();
    assert_eq!(served, 2);
    config["routes"][0]["rate_limit"]["burst"] = json!(1);
    harness.publish(&config);
    assert_eq!(status(&harness.get("/").0), 429);
}

#[test]
fn idle_connections_make_room_within_the_limit_of_a_pool() {
    let (one, two) = (Scripted::named("one"), Scripted::named("two"));
    let limits = json!({"limits": {"connections": 1, "queue_timeout": "1m"}});
    let harness = Harness::with_pool(&[one.address, two.address], limits);
    // They take turns, so each time the other one's connection is idle.
    for n in 1..=4 {
        harness.get("/");
        harness.get("/");
        one.wait_for_ended(n - 1);
        two.wait_for_ended(n - 1);
        assert_eq!((one.connections(), two.connections()), (n, n));
    }
}

#[test]
fn requests_wait_for_a_connection_of_the_pool() {
    let gated = gated();
    let harness = limited(&gated, json!({"connections": 2, "queue_timeout": "1m"}));
    let mut clients: Vec<Peer> = (0..5).map(|_| asked(&harness)).collect();
    (0..2).for_each(|_| gated.wait_for_request());
    assert!(!gated.has_more());
    (0..5).for_each(|_| gated.go.send(()).unwrap());
    for client in &mut clients {
        assert_eq!(client.response().1, "done");
    }
    assert_eq!(gated.backend.connections(), 2);
}

#[test]
fn a_request_is_in_flight_until_its_body_has_ended() {
    let (go, told) = channel::<()>();
    let told = Mutex::new(told);
    let backend = Scripted::new(move |peer, _| {
        if peer.try_until("\r\n\r\n").is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe");
            let _ = told.lock().unwrap().recv();
            peer.send("en");
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = asked(&harness);
    client.head();
    client.exactly(2);
    harness.settle();
    assert_eq!(harness.backend(0).in_flight(), 1);
    go.send(()).unwrap();
    client.exactly(2);
    harness.settle();
    assert_eq!(harness.backend(0).in_flight(), 0);
}

/// Else whoever says another thing each time has another allowance each time.
#[test]
fn a_claim_of_who_is_not_trusted_is_no_key_of_a_rate() {
    for name in ["X-Forwarded-For", "X-Real-IP"] {
        let backend = Scripted::named("fine");
        let mut config = web(&[backend.address], json!({}));
        config["routes"][0]["rate_limit"] =
            json!({"requests": 1, "per": "1h", "by": {"header": name}});
        let harness = Harness::new(options(), &config);
        for (n, expected) in [200, 429, 429].into_iter().enumerate() {
            let (head, _) = harness.once(&format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{name}: 192.0.2.{n}\r\n\r\n"
            ));
            assert_eq!(status(&head), expected, "{name} {n}");
        }
    }
}
