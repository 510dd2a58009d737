//! Faults on purpose.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::*;

/// Pool `web` of this backend, and a route to it that injects faults.
fn injecting(backend: &Scripted, injection: Value) -> Value {
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["fault_injection"] = injection;
    config
}

#[test]
fn an_abort_answers_all_or_none_and_no_backend_sees_the_request() {
    let backend = Scripted::named("web");
    let all = injecting(&backend, json!({"abort": {"status": 429}}));
    let harness = Harness::new(options(), &all);
    let mut client = harness.client();
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
        let (head, body) = client.response();
        assert_eq!(status(&head), 429);
        assert_eq!(
            field(&head, "proxy-status"),
            Some("synod; error=proxy_internal_response; details=\"fault_injection\"")
        );
        assert_eq!(body, "This request fails on purpose.\n");
    }
    assert_eq!(backend.connections(), 0);
    harness.publish(&injecting(&backend, json!({"abort": {"percent": 0}})));
    for _ in 0..20 {
        assert_eq!(harness.get("/").1, "web");
    }
}

/// Six deviations off what is expected.
#[test]
fn so_many_of_a_hundred_requests_fail_as_the_route_says_and_the_access_log_tells_which() {
    let directory = tempfile::tempdir().unwrap();
    let (options, path) = logging_to(&directory);
    let backend = Scripted::named("web");
    let some = injecting(&backend, json!({"abort": {"percent": 30, "status": 418}}));
    let harness = Harness::new(options, &some);
    let mut client = harness.client();
    let mut failed = 0;
    for _ in 0..1_000 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        failed += usize::from(status(&client.response().0) == 418);
    }
    assert!((213..=387).contains(&failed), "{failed} of 1,000");
    drop(client);
    harness.drain();
    let lines = lines(&path);
    let (aborted, served): (Vec<&Value>, Vec<&Value>) =
        lines.iter().partition(|line| line["status"] == 418);
    assert_eq!((aborted.len(), served.len()), (failed, 1_000 - failed));
    for line in aborted {
        assert_eq!(line["route"], "all", "{line}");
        assert_eq!(line["reason"], "proxy_internal_response", "{line}");
        assert!(line["backend"].is_null(), "{line}");
        assert_eq!(line["tries"], 0, "{line}");
    }
    for line in served {
        assert_eq!(
            (&line["backend"], &line["tries"]),
            (&json!("b1"), &json!(1))
        );
    }
}

#[test]
fn a_delay_holds_the_request_and_then_lets_it_go_on() {
    let backend = Scripted::named("web");
    let held = injecting(&backend, json!({"delay": {"for": "400ms"}}));
    let harness = Harness::new(options(), &held);
    let began = Instant::now();
    assert_eq!(harness.get("/").1, "web");
    assert!(began.elapsed() >= Duration::from_millis(200));
    let both = json!({"delay": {"for": "1ms"}, "abort": {}});
    harness.publish(&injecting(&backend, both));
    assert_eq!(status(&harness.get("/").0), 503);
}

#[test]
fn a_delay_ends_with_the_total_time_of_the_route() {
    let backend = Scripted::named("web");
    let mut config = injecting(&backend, json!({"delay": {"for": "24h"}}));
    config["routes"][0]["timeouts"] = json!({"total": "100ms"});
    let harness = Harness::new(options(), &config);
    assert_eq!(status(&harness.get("/").0), 504);
}
