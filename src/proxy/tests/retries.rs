//! What a route says of tries: statuses, methods, bodies that are sent again, and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::*;

const NO: &str = "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy";

/// A proxy to these backends, whose route says `more`. One in trouble is not ejected, so that all are tried.
fn routed(backends: &[std::net::SocketAddr], more: Value) -> Harness {
    let mut config = web(backends, json!({"outlier": {"max_percent": 0}}));
    for (key, value) in more.as_object().unwrap() {
        config["routes"][0][key] = value.clone();
    }
    Harness::new(options(), &config)
}

fn request(method: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn a_status_is_declined_where_the_route_says_so_and_the_method_lets_it_be_done_twice() {
    let (good, bad) = (Scripted::named("good"), Scripted::always(NO));
    let says = json!({"retries": {"statuses": [503]}});
    for (route, method, declined) in [
        (&says, "GET", true),
        (&says, "DELETE", true),
        (&says, "POST", false),
        (&json!({"retries": {"statuses": [502]}}), "GET", false),
        (&json!({}), "GET", false),
        (
            &json!({"retries": {"statuses": [503], "any_method": true}}),
            "POST",
            true,
        ),
    ] {
        let harness = routed(&[bad.address, good.address], route.clone());
        let answers: Vec<String> = (0..4).map(|_| harness.once(&request(method)).1).collect();
        let busy = answers.iter().filter(|body| *body == "busy").count();
        assert_eq!(busy, if declined { 0 } else { 2 }, "{method} {route}");
        harness.settle();
        // A retry moves the rotation on, so the bad one may come first each time.
        let counted = harness.metrics.backend("web", "b1").answers(500);
        assert!((2..=4).contains(&counted), "each counts: {counted}");
    }
}

#[test]
fn the_last_answer_is_passed_on_whatever_it_is() {
    let backends = [Scripted::always(NO), Scripted::always(NO)];
    let addresses = backends.each_ref().map(|backend| backend.address);
    for (attempts, percent, tries) in [(3, 20, 2), (1, 20, 1), (2, 0, 1)] {
        let mut config = web(
            &addresses,
            json!({"outlier": {"max_percent": 0}, "retries": {
                "attempts": attempts, "budget_percent": percent,
                "budget_min_per_second": if percent == 0 { 0 } else { 10 },
            }}),
        );
        config["routes"][0]["retries"] = json!({"statuses": [503]});
        let harness = Harness::new(options(), &config);
        let (head, body) = harness.get("/");
        assert_eq!((status(&head), body.as_str()), (503, "busy"));
        assert_eq!(
            field(&head, "proxy-status"),
            None,
            "it is the backend's own"
        );
        harness.settle();
        let answers = |id| harness.metrics.backend("web", id).answers(500);
        assert_eq!(answers("b1") + answers("b2"), tries);
    }
}

#[test]
fn any_method_is_done_twice_where_the_route_says_so() {
    let good = Scripted::named("good");
    let closes = Scripted::new(|peer, _| drop(peer.try_until("\r\n\r\n")));
    for (any, failed) in [(true, 0), (false, 2)] {
        let says = json!({"retries": {"any_method": any}});
        let harness = routed(&[closes.address, good.address], says);
        let statuses = (0..4).map(|_| status(&harness.once(&request("POST")).0));
        assert_eq!(statuses.filter(|status| *status == 502).count(), failed);
    }
}

/// Reads a head, then so much of the body, and closes.
fn closes_within_a_body(read: usize) -> Scripted {
    Scripted::new(move |peer, _| {
        if peer.try_until("\r\n\r\n").is_some() {
            peer.exactly(read);
        }
    })
}

#[test]
fn a_body_in_pieces_is_sent_again_as_long_as_it_fits() {
    for (length, again) in [(10, true), (12_000, true), (100_000, false)] {
        let good = Scripted::new(|peer, _| {
            while let Some(head) = peer.try_until("\r\n\r\n") {
                let length = field(&head, "content-length").unwrap().parse().unwrap();
                let body = peer.exactly(length);
                let same = body
                    .iter()
                    .enumerate()
                    .all(|(i, byte)| *byte == b'a' + (i % 23) as u8);
                peer.send(ok(if same { "whole" } else { "torn" }));
            }
        });
        let bad = closes_within_a_body(length / 2);
        let harness = routed(&[bad.address, good.address], json!({}));
        let body: Vec<u8> = (0..length).map(|i| b'a' + (i % 23) as u8).collect();
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let mut client = harness.client();
            client.send(format!(
                "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            ));
            let seen = bad.connections() + good.connections();
            let (first, second) = body.split_at(length / 2 + 1);
            client.send(first);
            wait_until(|| bad.connections() + good.connections() >= seen);
            client.try_send(second);
            let (head, text) = client.response();
            outcomes.push((status(&head), text));
        }
        let whole = outcomes.iter().filter(|(_, text)| text == "whole").count();
        assert_eq!(whole, if again { 2 } else { 1 }, "{length}: {outcomes:?}");
    }
}

#[test]
fn a_try_that_takes_too_long_is_given_up_for_another() {
    let good = Scripted::named("good");
    let hangs = Scripted::new(|peer, _| drop(peer.rest()));
    let says = json!({"timeouts": {"try": "500ms"}});
    let harness = routed(&[hangs.address, good.address], says);
    for _ in 0..4 {
        assert_eq!(harness.get("/").1, "good");
    }
    assert!((2..=4).contains(&hangs.connections()));
}

#[test]
fn a_try_has_its_time_for_the_head_and_not_for_the_body() {
    let slow = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12");
            std::thread::sleep(Duration::from_millis(600));
            peer.send("34");
        }
    });
    let harness = routed(&[slow.address], json!({"timeouts": {"try": "300ms"}}));
    assert_eq!(harness.get("/").1, "1234");
}

#[test]
fn all_tries_together_end_in_time() {
    let hangs: Vec<Scripted> = (0..4)
        .map(|_| Scripted::new(|peer, _| drop(peer.rest())))
        .collect();
    let addresses: Vec<_> = hangs.iter().map(|backend| backend.address).collect();
    let times = json!({"timeouts": {"try": "400ms", "total": "900ms"}});
    let harness = routed(&addresses, times);
    let begun = Instant::now();
    let (head, _) = harness.get("/");
    assert_eq!(status(&head), 504);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let tries: usize = hangs.iter().map(Scripted::connections).sum();
    assert!((2..=3).contains(&tries), "{tries}");
}

#[test]
fn the_whole_time_ends_a_body_too_and_leaves_the_connection_alone_afterwards() {
    let drips = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            if !head.contains("/drip") {
                peer.send(ok("fine"));
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            while peer.try_send("x") {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let harness = routed(&[drips.address], json!({"timeouts": {"total": "400ms"}}));
    let mut client = harness.client();
    for _ in 0..3 {
        assert_eq!(client.get().1, "fine");
        std::thread::sleep(Duration::from_millis(300));
    }
    client.send("GET /drip HTTP/1.1\r\nHost: x\r\n\r\n");
    client.head();
    let got = client.rest().len();
    assert!(got < 1_000, "{got}");
}

#[test]
fn all_tries_of_a_request_have_one_id() {
    let (sender, heads) = std::sync::mpsc::channel();
    let backends: Vec<Scripted> = (0..3)
        .map(|_| {
            let sender = sender.clone();
            Scripted::new(move |peer, _| {
                while let Some(head) = peer.try_until("\r\n\r\n") {
                    sender.send(head).unwrap();
                    peer.try_send(NO);
                }
            })
        })
        .collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let harness = routed(&addresses, json!({"retries": {"statuses": [503]}}));
    for told in ["X-Request-Id: mine\r\n", ""] {
        harness.once(&format!("GET / HTTP/1.1\r\nHost: x\r\n{told}\r\n"));
        let heads: Vec<String> = heads.try_iter().collect();
        assert_eq!(heads.len(), 3);
        let id = |head: &String| field(head, "x-request-id").unwrap().to_owned();
        let first = id(&heads[0]);
        assert!(heads.iter().all(|head| id(head) == first), "{heads:?}");
        assert_eq!(first == "mine", !told.is_empty());
    }
}

/// Of a pool whose backends fail all requests at once, a fifth of those under way are tried again, and ten a second.
#[test]
fn a_failing_pool_gets_no_more_tries_than_the_budget_pays_for() {
    const REQUESTS: usize = 100;
    let asked = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let backends: Vec<Scripted> = (0..2)
        .map(|_| {
            let (asked, over) = (asked.clone(), over.clone());
            Scripted::new(move |peer, _| {
                while peer.try_until("\r\n\r\n").is_some() {
                    if asked.fetch_add(1, Ordering::SeqCst) < REQUESTS {
                        wait_until(|| asked.load(Ordering::SeqCst) >= REQUESTS);
                        peer.try_send(NO);
                    } else {
                        // A second try is under way until all others are judged.
                        wait_until(|| over.load(Ordering::SeqCst));
                        peer.try_send(ok("again"));
                    }
                }
            })
        })
        .collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let harness = routed(&addresses, json!({"retries": {"statuses": [503]}}));
    let begun = Instant::now();
    let mut clients: Vec<Peer> = (0..REQUESTS).map(|_| harness.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    let again = || asked.load(Ordering::SeqCst).saturating_sub(REQUESTS);
    let route = harness.metrics.route("all");
    wait_until(|| again() + route.requests(500) as usize >= REQUESTS);
    let most = 30 + 10 * (begun.elapsed().as_secs() as usize + 1);
    let tries = again();
    over.store(true, Ordering::SeqCst);
    let bodies = clients.iter_mut().map(|client| client.response().1);
    let answered = bodies.filter(|body| body == "again").count();
    assert_eq!(answered, tries);
    assert!((20..=most).contains(&tries), "{tries} of at most {most}");
    let denied = REQUESTS - tries;
    let line = format!("synod_pool_retries_denied_total{{pool=\"web\"}} {denied}\n");
    let figures = harness.figures();
    assert!(figures.contains(&line), "{line} {figures}");
}
