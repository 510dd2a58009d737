//! Backends that are host names: requests follow the answers of whoever is asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::harness::*;
use crate::dns::Lookup;

/// Knows one name, and answers as it was last told to.
#[derive(Clone)]
struct Resolver {
    answer: Arc<Mutex<Result<IpAddr, String>>>,
    asked: Arc<AtomicUsize>,
}

impl Resolver {
    fn of(address: SocketAddr) -> Self {
        Self {
            answer: Arc::new(Mutex::new(Ok(address.ip()))),
            asked: Arc::default(),
        }
    }

    fn tell(&self, answer: Result<IpAddr, String>) {
        *self.answer.lock().unwrap() = answer;
    }
}

impl Lookup for Resolver {
    async fn lookup(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        assert_eq!(host, "b.test");
        let answer = self.answer.lock().unwrap().clone();
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok((vec![answer?], Duration::ZERO))
    }
}

#[test]
fn requests_follow_the_answers_and_a_failed_lookup_keeps_the_last_one() {
    // On a connection for each request, so that each asks for the address.
    let closing = |name: &str| {
        ok(name).replace(
            "\r\nContent-Length",
            "\r\nConnection: close\r\nContent-Length",
        )
    };
    let one = Scripted::always(closing("one"));
    let port = one.address.port();
    let two = Scripted::at(([127, 0, 0, 2], port), closing("two"));
    let mut config = web(&[one.address], json!({}));
    config["pools"][0]["backends"][0]["address"] = json!(format!("b.test:{port}"));
    let harness = Harness::new(options(), &config);
    let resolver = Resolver::of(one.address);
    harness.resolve(resolver.clone());
    // Whoever comes before the first answer waits for it.
    assert_eq!(harness.get("/").1, "one");
    resolver.tell(Ok(two.address.ip()));
    wait_until(|| harness.get("/").1 == "two");
    resolver.tell(Err("no server answers".into()));
    let before = resolver.asked.load(Ordering::SeqCst);
    wait_until(|| resolver.asked.load(Ordering::SeqCst) > before + 1);
    for _ in 0..5 {
        assert_eq!(harness.get("/").1, "two");
    }
}
