//! Clients that come back to the backend they had, by a cookie.

use serde_json::{Value, json};

use super::harness::*;
use super::limits::{asked, gated};
use crate::backend::Health;

/// A pool `web` of two backends that keeps clients, with these fields of the first backend.
fn sticky(backends: &[Scripted; 2], first: Value) -> Value {
    let at = [backends[0].address, backends[1].address];
    let mut config = web(&at, json!({"sticky": {"max_age": "1h"}}));
    for (field, value) in first.as_object().unwrap() {
        config["pools"][0]["backends"][0][field] = value.clone();
    }
    config
}

fn two() -> [Scripted; 2] {
    [Scripted::named("one"), Scripted::named("two")]
}

/// Head and body of the answer to a request with this cookie.
fn with(harness: &Harness, cookie: &str) -> (String, String) {
    harness.once(&format!(
        "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b; {cookie}; c=d\r\n\r\n"
    ))
}

/// The cookie that an answer sets, without its attributes.
fn set(head: &str) -> Option<String> {
    let value = field(head, "set-cookie")?;
    value.split(';').next().map(str::to_owned)
}

/// The cookie of the backend that says `name`.
fn cookie_of(harness: &Harness, name: &str) -> String {
    for _ in 0..2 {
        let (head, body) = harness.get("/");
        if body == name {
            return set(&head).unwrap();
        }
    }
    panic!("{name} gets no request of two");
}

#[test]
fn a_client_comes_back_to_its_backend_on_every_node_and_is_told_once() {
    let backends = two();
    let config = sticky(&backends, json!({}));
    let harness = Harness::new(options(), &config);
    let other = Harness::new(options(), &config);
    for name in ["one", "two"] {
        let cookie = cookie_of(&harness, name);
        for node in [&harness, &other, &harness, &other] {
            let (head, body) = with(node, &cookie);
            assert_eq!((body.as_str(), set(&head)), (name, None));
        }
    }
    let forged = format!("synod-web={}", "0".repeat(32));
    assert!(set(&with(&harness, &forged).0).is_some());
}

#[test]
fn the_cookie_is_for_the_proxy_alone_and_for_tls_alone_where_that_is_spoken() {
    let config = sticky(&two(), json!({}));
    let attributes = "Path=/; HttpOnly; SameSite=Lax; Max-Age=3600";
    for (options, expected) in [
        (options(), attributes.to_owned()),
        (trusting_loopback(), format!("{attributes}; Secure")),
    ] {
        let harness = Harness::new(options, &config);
        let request = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n";
        let (head, _) = harness.once(request);
        let cookie = field(&head, "set-cookie").unwrap();
        let (pair, told) = cookie.split_once("; ").unwrap();
        let value = pair.strip_prefix("synod-web=").unwrap();
        assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(told, expected);
    }
}

#[test]
fn a_draining_backend_keeps_its_clients_and_gets_no_others() {
    let backends = two();
    let harness = Harness::new(options(), &sticky(&backends, json!({})));
    let cookie = cookie_of(&harness, "one");
    let draining = sticky(&backends, json!({"state": "drain"}));
    // At the start of a node too.
    for harness in [
        {
            harness.publish(&draining);
            &harness
        },
        &Harness::new(options(), &draining),
    ] {
        for _ in 0..4 {
            assert_eq!(harness.get("/").1, "two");
            let (head, body) = with(harness, &cookie);
            assert_eq!((body.as_str(), set(&head)), ("one", None));
        }
    }
}

#[test]
fn who_may_not_come_back_gets_another_backend_and_its_cookie() {
    let backends = two();
    for gone in [json!({"state": "maint"}), json!({"weight": 0})] {
        let harness = Harness::new(options(), &sticky(&backends, json!({})));
        let cookie = cookie_of(&harness, "one");
        harness.publish(&sticky(&backends, gone));
        let (head, body) = with(&harness, &cookie);
        assert_eq!(body, "two");
        let (head, body) = with(&harness, &set(&head).unwrap());
        assert_eq!((body.as_str(), set(&head)), ("two", None));
        // As soon as it is back, so are its clients.
        harness.publish(&sticky(&backends, json!({})));
        assert_eq!(with(&harness, &cookie).1, "one");
    }
}

#[test]
fn a_backend_that_is_down_or_dead_is_passed_over() {
    let backends = two();
    let harness = Harness::new(options(), &sticky(&backends, json!({})));
    let cookie = cookie_of(&harness, "one");
    harness.backend(0).change_health(|_, _| Health::Unhealthy);
    let (head, body) = with(&harness, &cookie);
    assert_eq!(body, "two");
    assert!(set(&head).is_some());
    // It is up, but nobody listens there any more: the retry goes elsewhere.
    let address = json!({"address": nobody().to_string()});
    let harness = Harness::new(options(), &sticky(&backends, address));
    let (head, body) = with(&harness, &cookie);
    assert_eq!(body, "two");
    assert!(set(&head).is_some());
}

#[test]
fn a_client_of_a_split_comes_back_to_its_pool() {
    let (one, two) = (Scripted::named("one"), Scripted::named("two"));
    let pool = |name: &str, backend: &Scripted| {
        json!({"name": name, "sticky": {},
        "backends": [{"id": "b1", "address": backend.address.to_string()}]})
    };
    let config = json!({"pools": [pool("web", &one), pool("canary", &two)],
        "routes": [{"name": "all", "to": [{"pool": "web"}, {"pool": "canary"}]}]});
    let harness = Harness::new(options(), &config);
    for name in ["one", "two"] {
        let cookie = cookie_of(&harness, name);
        for _ in 0..4 {
            assert_eq!(with(&harness, &cookie).1, name);
        }
    }
}

/// As HAProxy has it: a cookie that names a backup is always good.
#[test]
fn who_got_a_backup_stays_there_until_that_is_down_though_the_first_tier_is_back() {
    let backends = two();
    let mut config = sticky(&backends, json!({}));
    config["pools"][0]["backends"][1]["backup"] = json!(1);
    let harness = Harness::new(options(), &config);
    let change = |backend: usize, health: Health| {
        harness.backend(backend).change_health(|_, _| health);
        harness.judge();
    };
    assert_eq!(harness.get("/").1, "one");
    change(0, Health::Unhealthy);
    let (head, body) = harness.get("/");
    assert_eq!(body, "two");
    let cookie = set(&head).unwrap();
    change(0, Health::Healthy);
    for _ in 0..4 {
        assert_eq!(harness.get("/").1, "one");
        let (head, body) = with(&harness, &cookie);
        assert_eq!((body.as_str(), set(&head)), ("two", None));
    }
    change(1, Health::Unhealthy);
    let (head, body) = with(&harness, &cookie);
    assert_eq!(body, "one");
    assert!(set(&head).is_some());
}

#[test]
fn who_sticks_to_a_full_backend_gets_another_and_waits_only_where_all_are_full() {
    let gates = [gated(), gated()];
    let limits = json!({"requests_per_backend": 1, "queue_timeout": "1m"});
    let addresses = gates.each_ref().map(|gate| gate.backend.address);
    let pool = json!({"sticky": {}, "limits": limits});
    let harness = Harness::new(options(), &web(&addresses, pool));
    let at = |gate: usize, client: &mut Peer| {
        gates[gate].wait_for_request();
        gates[gate].go.send(()).unwrap();
        let (head, body) = client.response();
        assert_eq!(body, "done");
        set(&head)
    };
    let mut first = asked(&harness);
    let busy = |backend: &usize| harness.backend(*backend).in_flight() == 1;
    wait_until(|| (0..2).any(|backend| busy(&backend)));
    // Whichever came first in the rotation.
    let full = (0..2).find(busy).unwrap();
    gates[full].wait_for_request();
    gates[full].go.send(()).unwrap();
    let cookie = set(&first.response().0).unwrap();
    let sticking = || {
        let mut client = harness.client();
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n"
        ));
        client
    };
    let mut holds = sticking();
    gates[full].wait_for_request();
    let mut second = sticking();
    let other = at(1 - full, &mut second);
    assert!(other.is_some_and(|other| other != cookie));
    // With both full it waits for either: here the other one is free first.
    let mut held_too = sticking();
    gates[1 - full].wait_for_request();
    let mut waits = sticking();
    wait_until(|| harness.pool().waiting() == 1);
    gates[1 - full].go.send(()).unwrap();
    assert_eq!(held_too.response().1, "done");
    assert!(at(1 - full, &mut waits).is_some());
    // As soon as there is room again, it is back.
    gates[full].go.send(()).unwrap();
    assert_eq!(set(&holds.response().0), None);
    assert_eq!(at(full, &mut sticking()), None);
}

#[test]
fn in_a_panic_clients_come_back_to_a_backend_that_is_down_but_to_none_that_drains() {
    let backends = two();
    let harness = Harness::new(options(), &sticky(&backends, json!({})));
    let cookie = cookie_of(&harness, "one");
    let all_down = || {
        for backend in 0..2 {
            harness
                .backend(backend)
                .change_health(|_, _| Health::Unhealthy);
        }
        harness.judge();
        assert!(harness.pool().recourse().is_panic());
    };
    all_down();
    for _ in 0..4 {
        let (head, body) = with(&harness, &cookie);
        assert_eq!((body.as_str(), set(&head)), ("one", None));
    }
    harness.publish(&sticky(&backends, json!({"state": "drain"})));
    assert_eq!(
        with(&harness, &cookie).1,
        "one",
        "it is up, and finishes what it has"
    );
    all_down();
    for _ in 0..4 {
        assert_eq!(with(&harness, &cookie).1, "two");
    }
}
