//! Each way of picking a backend, as clients meet it: shares, who gets nothing, keys, and who stands in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::*;
use super::limits::{asked, gated};
use crate::backend::Health;
use crate::config::Balance;

/// A pool of these backends, each with more of its fields.
fn pool(backends: &[(&str, &Scripted, Value)], more: &Value) -> Value {
    let addresses: Vec<_> = backends.iter().map(|(_, at, _)| at.address).collect();
    let mut config = web(&addresses, more.clone());
    for (i, (id, _, fields)) in backends.iter().enumerate() {
        let backend = &mut config["pools"][0]["backends"][i];
        backend["id"] = json!(id);
        for (field, value) in fields.as_object().into_iter().flatten() {
            backend[field] = value.clone();
        }
    }
    config
}

/// How many of `requests` each backend answered, by what it says; each request has a key of its own.
fn shares(harness: &Harness, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = harness.client();
    for key in 0..requests {
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nKey: {key}\r\n\r\n"));
        let (head, body) = client.response();
        assert_eq!(status(&head), 200, "{body}");
        *shares.entry(body).or_default() += 1;
    }
    shares
}

fn balanced(policy: &str) -> Value {
    match policy {
        "maglev" => json!({"balance": policy, "hash": {"header": "key"}}),
        _ => json!({ "balance": policy }),
    }
}

#[test]
fn shares_are_by_weight_and_who_is_drained_or_weightless_gets_nothing() {
    let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(Scripted::named);
    for policy in Balance::ALL.map(Balance::name) {
        let config = pool(
            &[
                ("a", &a, json!({"weight": 3})),
                ("b", &b, json!({})),
                ("c", &c, json!({"weight": 0})),
                ("d", &d, json!({"state": "drain"})),
                ("e", &e, json!({"state": "maint"})),
            ],
            &balanced(policy),
        );
        let shares = shares(&Harness::new(options(), &config), 400);
        // By chance, as is the first of two that nothing is under way at: seven deviations off what is expected. By
        // cost, as it comes.
        let heavier = match policy {
            "round_robin" | "least_connections" => 300..=300,
            "random" | "power_of_two" | "maglev" => 239..=361,
            _ => 0..=400,
        };
        let at_a = shares.get("a").copied().unwrap_or_default();
        assert!(heavier.contains(&at_a), "{policy}: {shares:?}");
        let served: Vec<_> = shares.keys().map(String::as_str).collect();
        assert_eq!(served, ["a", "b"], "{policy}");
    }
}

/// Weights of 5, 1 and 1 are no burst of five.
#[test]
fn turns_come_in_the_order_of_smooth_weights() {
    let [a, b, c] = ["a", "b", "c"].map(Scripted::named);
    let backends = [
        ("a", &a, json!({"weight": 5})),
        ("b", &b, json!({})),
        ("c", &c, json!({})),
    ];
    let harness = Harness::new(options(), &pool(&backends, &json!({})));
    let mut client = harness.client();
    let turns: String = (0..70).map(|_| client.get().1).collect();
    // A node begins anywhere in it.
    assert!("aabacaa".repeat(11).contains(&turns), "{turns}");
}

#[test]
fn who_answers_late_or_fails_at_once_gets_less_by_ewma() {
    let fast = Scripted::named("fast");
    let slow = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            // Whatever holds up the other one now and then is not as long.
            std::thread::sleep(Duration::from_millis(500));
            if !peer.try_send(ok("other")) {
                return;
            }
        }
    });
    let failing = Scripted::always("HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nother");
    for other in [&slow, &failing] {
        let more = json!({"balance": "ewma", "outlier": {"max_percent": 0}});
        let harness = Harness::with_pool(&[fast.address, other.address], more);
        let others = harness.of_a_hundred("other");
        assert!((1..=10).contains(&others), "{others} of 100");
    }
}

#[test]
fn the_less_busy_gets_the_next_request() {
    for policy in ["least_connections", "power_of_two", "ewma"] {
        let (busy, free) = (gated(), gated());
        let addresses = [busy.backend.address, free.backend.address];
        let config = |weights: [u32; 2]| {
            let mut config = web(&addresses, json!({ "balance": policy }));
            for (i, weight) in weights.into_iter().enumerate() {
                config["pools"][0]["backends"][i]["weight"] = json!(weight);
            }
            config
        };
        let harness = Harness::new(options(), &config([1, 0]));
        let mut clients: Vec<_> = (0..4).map(|_| asked(&harness)).collect();
        (0..4).for_each(|_| busy.wait_for_request());
        harness.publish(&config([1, 1]));
        for _ in 0..3 {
            clients.push(asked(&harness));
            free.wait_for_request();
        }
        (0..4).for_each(|_| busy.go.send(()).unwrap());
        (0..3).for_each(|_| free.go.send(()).unwrap());
        for client in &mut clients {
            assert_eq!(client.response().1, "done", "{policy}");
        }
    }
}

#[test]
fn a_key_stays_where_it_is_and_few_move_when_a_backend_goes() {
    let backends = ["a", "b", "c", "d"].map(Scripted::named);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let harness = Harness::new(options(), &web(&addresses, balanced("maglev")));
    let homes = |harness: &Harness| -> Vec<String> {
        let mut client = harness.client();
        let home = |key| {
            client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nKey: {key}\r\n\r\n"));
            client.response().1
        };
        (0..200).map(home).collect()
    };
    let before = homes(&harness);
    assert_eq!(homes(&harness), before);
    let elsewhere = Harness::new(options(), &web(&addresses, balanced("maglev")));
    assert_eq!(homes(&elsewhere), before, "on every node");
    harness.publish(&web(&addresses[..3], balanced("maglev")));
    let after = homes(&harness);
    let kept = before.iter().zip(&after).filter(|(home, _)| *home != "d");
    let moved = kept.clone().filter(|(home, now)| home != now).count();
    // Of the table's slots a few change hands besides those of who left.
    assert!(moved * 20 <= kept.count(), "{moved} moved");
}

#[test]
fn a_key_that_all_ask_for_overflows_where_load_is_bounded() {
    for (bounded, at) in [(false, 1), (true, 4)] {
        let busy = Arc::new(Mutex::new(BTreeMap::<usize, usize>::new()));
        let release = Arc::new(AtomicBool::new(false));
        let backends: Vec<_> = (0..4)
            .map(|n| {
                let (busy, release) = (busy.clone(), release.clone());
                Scripted::new(move |peer, _| {
                    while peer.try_until("\r\n\r\n").is_some() {
                        *busy.lock().unwrap().entry(n).or_default() += 1;
                        wait_until(|| release.load(Ordering::SeqCst));
                        if !peer.try_send(ok("done")) {
                            return;
                        }
                    }
                })
            })
            .collect();
        let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
        let mut more = balanced("maglev");
        more["bounded_load"] = json!(bounded);
        let harness = Harness::with_pool(&addresses, more);
        let ask = |_| {
            let mut client = harness.client();
            client.send("GET / HTTP/1.1\r\nHost: x\r\nKey: 1\r\n\r\n");
            client
        };
        let mut clients: Vec<_> = (0..40).map(ask).collect();
        wait_until(|| busy.lock().unwrap().values().sum::<usize>() == 40);
        let busy = busy.lock().unwrap().clone();
        assert_eq!(busy.len(), at, "{bounded}: {busy:?}");
        // 125 % of a quarter, rounded up, of as many as there are with the next.
        let most = busy.values().copied().max();
        assert!(!bounded || most <= Some(13), "{busy:?}");
        release.store(true, Ordering::SeqCst);
        for client in &mut clients {
            assert_eq!(client.response().1, "done");
        }
    }
}

#[test]
fn backups_stand_in_tier_by_tier_and_step_back() {
    let [a, b, c] = ["a", "b", "c"].map(Scripted::named);
    let config = pool(
        &[
            ("a", &a, json!({})),
            ("b", &b, json!({"backup": 1})),
            ("c", &c, json!({"backup": 2})),
        ],
        &json!({"health": {"tcp": {}, "panic_percent": 0}}),
    );
    let harness = Harness::new(options(), &config);
    let set = |index: usize, up: bool| {
        let health = match up {
            true => Health::Healthy,
            false => Health::Unhealthy,
        };
        harness.backend(index).change_health(|_, _| health);
        harness.judge();
    };
    (0..3).for_each(|index| set(index, true));
    for (down, serves) in [
        (vec![], Some("a")),
        (vec![0], Some("b")),
        (vec![0, 1], Some("c")),
        (vec![0, 1, 2], None),
        (vec![1], Some("a")),
        (vec![], Some("a")),
    ] {
        (0..3).for_each(|index| set(index, !down.contains(&index)));
        for _ in 0..5 {
            let (head, body) = harness.get("/");
            match serves {
                Some(name) => assert_eq!(body, name, "{down:?}"),
                None => assert_eq!(status(&head), 503),
            }
        }
    }
}

#[test]
fn a_pool_that_panics_uses_those_that_are_down_but_none_that_is_drained() {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Scripted::named);
    for (panic_percent, used) in [(50, vec!["a", "b", "c"]), (0, vec!["a"])] {
        let config = pool(
            &[
                ("a", &a, json!({})),
                ("b", &b, json!({})),
                ("c", &c, json!({})),
                ("d", &d, json!({"state": "drain"})),
            ],
            &json!({"health": {"tcp": {}, "panic_percent": panic_percent}}),
        );
        let harness = Harness::new(options(), &config);
        for (index, health) in [
            (0, Health::Healthy),
            (1, Health::Unhealthy),
            (2, Health::Unhealthy),
        ] {
            harness.backend(index).change_health(|_, _| health);
        }
        harness.judge();
        let shares = shares(&harness, 60);
        assert_eq!(shares.keys().collect::<Vec<_>>(), used);
        let panics = u8::from(panic_percent > 0);
        let line = format!("synod_pool_panic{{pool=\"web\"}} {panics}");
        assert!(harness.figures().contains(&line), "{line}");
    }
}

#[test]
fn who_is_new_begins_with_a_tenth_of_its_share_but_not_at_the_start_of_the_proxy() {
    let [a, b] = ["a", "b"].map(Scripted::named);
    for policy in Balance::ALL.map(Balance::name) {
        let mut more = balanced(policy);
        more["slow_start"] = json!("1h");
        let config = |second: Value| pool(&[("a", &a, json!({})), ("b", &b, second)], &more);
        let mut alone = config(json!({}));
        alone["pools"][0]["backends"].as_array_mut().unwrap().pop();
        let harness = Harness::new(options(), &alone);
        harness.publish(&config(json!({})));
        let at_b = shares(&harness, 400).get("b").copied().unwrap_or_default();
        // One of two may come to twice of that; maglev's keys are of those that a warm one would have.
        assert!((1..=130).contains(&at_b), "{policy}: {at_b} of 400");
        assert_eq!(harness.backend(1).pace(), 10, "{policy}");
        let fresh = Harness::new(options(), &config(json!({})));
        assert_eq!(
            fresh.backend(1).pace(),
            100,
            "{policy}: at the proxy's start"
        );
    }
}

#[test]
fn a_backend_is_charged_its_own_time_alone() {
    let held = Duration::from_millis(300);
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            if field(&head, "content-length").is_some() {
                peer.exactly(4);
            }
            peer.send(ok(""));
        }
    });
    // The client may have the answer before it is charged.
    let charge = |proxy: &Harness| {
        wait_until(|| proxy.backend(0).average_first_byte().is_some());
        proxy.backend(0).average_first_byte().unwrap()
    };
    let mut config = web(&[backend.address], json!({"balance": "ewma"}));
    config["routes"][0]["fault_injection"] = json!({"delay": {"for": "300ms"}});
    let proxy = Harness::new(options(), &config);
    assert_eq!(status(&proxy.get("/").0), 200);
    let charged = charge(&proxy);
    assert!(charged < held, "{charged:?} for a delay on the way");

    let proxy = Harness::with_pool(&[backend.address], json!({"balance": "ewma"}));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nmi");
    proxy.wait_for_in_flight("b1");
    let began = Instant::now();
    wait_until(|| began.elapsed() > held);
    client.send("lk");
    assert_eq!(status(&client.response().0), 200);
    let charged = charge(&proxy);
    assert!(charged < held, "{charged:?} for a client that was slow");
}
