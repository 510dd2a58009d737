//! Consistent hashing, as clients meet it: what of a request decides, and that nothing else moves a key.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::harness::*;
use crate::backend::Health;

/// What a pool says it hashes, and the request of a key, which differs in all else with the second number.
type Row = (Value, fn(usize, usize) -> String);

fn table() -> [Row; 6] {
    let by_address: fn(usize, usize) -> String = |key, other| {
        format!(
            "GET /{other}?n={other} HTTP/1.1\r\nHost: x\r\nCookie: n={other}\r\nX-Forwarded-For: 192.0.2.{key}\r\n\r\n"
        )
    };
    [
        (json!({}), by_address),
        (json!({"hash": "address"}), by_address),
        (json!({"hash": "path"}), |key, other| {
            format!(
                "GET /{key}?n={other} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.{other}\r\n\r\n"
            )
        }),
        (json!({"hash": {"query": "user"}}), |key, other| {
            format!("GET /{other}?n={other}&user={key} HTTP/1.1\r\nHost: x{other}\r\n\r\n")
        }),
        (json!({"hash": {"cookie": "user"}}), |key, other| {
            format!("GET /{other} HTTP/1.1\r\nHost: x\r\nCookie: n={other}; user={key}\r\n\r\n")
        }),
        (json!({"hash": {"header": "x-user"}}), |key, other| {
            format!("GET /{other} HTTP/1.1\r\nHost: x\r\nX-User: {key}\r\nN: {other}\r\n\r\n")
        }),
    ]
}

#[test]
fn what_the_pool_names_decides_alone_and_a_flap_moves_nobody_elses_keys() {
    let names = ["a", "b", "c", "d"];
    let backends = names.map(Scripted::named);
    let addresses = backends.each_ref().map(|backend| backend.address);
    for (more, request) in table() {
        let mut pool = more.clone();
        pool["balance"] = json!("maglev");
        let config = web(&addresses, pool);
        let harness = Harness::new(trusting_loopback(), &config);
        let homes = |harness: &Harness, other: usize| -> Vec<String> {
            let mut client = harness.client();
            let home = |key| {
                client.send(request(key, other));
                client.response().1
            };
            (0..80).map(home).collect()
        };
        let before = homes(&harness, 0);
        let used: BTreeSet<&str> = before.iter().map(String::as_str).collect();
        assert_eq!(used, BTreeSet::from(names), "{more}: keys are spread");
        assert_eq!(homes(&harness, 1), before, "{more}: nothing else decides");
        let elsewhere = Harness::new(trusting_loopback(), &config);
        assert_eq!(homes(&elsewhere, 2), before, "{more}: on every node");

        harness.backend(2).change_health(|_, _| Health::Unhealthy);
        harness.judge();
        for (home, now) in before.iter().zip(homes(&harness, 3)) {
            assert_eq!(*home != now, home == "c", "{more}: {home} to {now}");
        }
        harness.backend(2).change_health(|_, _| Health::Healthy);
        harness.judge();
        assert_eq!(homes(&harness, 4), before, "{more}: back where they were");
    }
}
