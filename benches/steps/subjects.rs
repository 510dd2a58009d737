//! The hot steps of a request, each set up once, so that only the step itself is measured.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use synod::backend::Registry;
use synod::config::{Config, Name, Operation, ResourcePath, Revision, Transaction};
use synod::routing::publish::Publisher;
use synod::routing::{Asked, SnapshotCell};
use synod::telemetry::metrics::Finished;
use synod::wire::head::{RequestHead, ResponseHead, Version};
use synod::wire::http1::{
    Forward, Instead, Parsed, Return, Scan, encode_request, encode_response, parse_request,
    parse_response,
};

/// As a browser sends it.
pub(crate) const REQUEST: &[u8] = b"GET /r5/cart?item=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n";
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 13\r\n\r\nHello, world\n";

/// One step.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Sets it up.
    pub(crate) make: fn() -> Run,
    /// Instructions it may take, about a seventh above what it takes.
    pub(crate) most: u64,
}

/// Does the step once; what it gives is of no use but to whoever optimises.
pub(crate) type Run = Box<dyn FnMut() -> u64>;

/// All steps.
pub(crate) fn all() -> Vec<Step> {
    let step = |name, make, most| Step { name, make, most };
    vec![
        step("parse a request", parse_a_request, 3_500),
        step("rewrite its head", rewrite_its_head, 730),
        step("parse an answer", parse_an_answer, 2_450),
        step("rewrite its head back", rewrite_it_back, 300),
        step("match, 10 routes", || matching(10), 900),
        step("match, 10,000 routes", || matching(10_000), 1_060),
        step("load the snapshot", load, 40),
        step("pick, round robin", || picking("round_robin"), 390),
        step(
            "pick, least connections",
            || picking("least_connections"),
            7_800,
        ),
        step("pick, random", || picking("random"), 450),
        step("pick, power of two", || picking("power_of_two"), 610),
        step("pick, ewma", || picking("ewma"), 710),
        step("pick, maglev", || picking("maglev"), 410),
        step("record", record, 110),
    ]
}

fn parse_a_request() -> Run {
    let mut head = RequestHead::new();
    Box::new(move || {
        let parsed = parse_request(black_box(REQUEST), &mut Scan::default(), &mut head);
        u64::from(matches!(parsed, Ok(Parsed::Head { .. })))
    })
}

fn rewrite_its_head() -> Run {
    let (mut head, mut out) = (RequestHead::new(), Vec::new());
    let parsed = parse_request(REQUEST, &mut Scan::default(), &mut head);
    parsed.expect("a request without faults");
    let forward = Forward {
        client: "192.0.2.7",
        https: false,
        real_ip: "",
        certificate: "",
        trusted: false,
        host: "",
        request_id: "019a0000-0000-7000-8000-000000000000",
        traceparent: "",
        upgrade: false,
        instead: Instead::default(),
    };
    Box::new(move || {
        out.clear();
        encode_request(&head, black_box(&forward), &mut out);
        out.len() as u64
    })
}

fn parse_an_answer() -> Run {
    let mut head = ResponseHead::new();
    Box::new(move || {
        let parsed = parse_response(black_box(RESPONSE), &mut Scan::default(), "GET", &mut head);
        u64::from(matches!(parsed, Ok(Parsed::Head { .. })))
    })
}

fn rewrite_it_back() -> Run {
    let (mut head, mut out) = (ResponseHead::new(), Vec::new());
    let parsed = parse_response(RESPONSE, &mut Scan::default(), "GET", &mut head);
    parsed.expect("an answer without faults");
    let back = Return {
        client: Version::Http11,
        close: false,
        upgrade: false,
    };
    Box::new(move || {
        out.clear();
        encode_response(&head, black_box(&back), &mut out);
        out.len() as u64
    })
}

/// Finds the route of a request among so many prefixes.
fn matching(routes: usize) -> Run {
    let snapshot = serving(routes, 1, "round_robin").cell.load();
    Box::new(move || {
        let asked = Asked {
            method: "GET",
            host: black_box("shop.example"),
            path: "/r5/cart",
            query: Some("item=7"),
            headers: &Vec::new(),
        };
        u64::from(snapshot.route(&asked).is_some())
    })
}

fn load() -> Run {
    let mut cache = serving(1, 1, "round_robin").cell.cache();
    Box::new(move || cache.load().revision.0)
}

/// Picks one of a thousand backends, and counts a request there as begun and ended.
fn picking(balance: &str) -> Run {
    let snapshot = serving(1, 1_000, balance).cell.load();
    Box::new(move || {
        let pool = snapshot.pool("web").expect("it is configured");
        let backend = pool.pick(black_box(5), &[]).expect("all are up");
        backend.begin().backend().key
    })
}

fn record() -> Run {
    let metrics = Registry::scratch().route_metrics(&name("r5"));
    Box::new(move || {
        metrics.finished(Finished {
            status: black_box(200),
            total: Duration::from_micros(300),
            received: 0,
            sent: 13,
        });
        0
    })
}

/// So many prefix routes to a pool of so many backends, in force.
fn serving(routes: usize, backends: usize, balance: &str) -> Publisher {
    let backends: Vec<Value> = (0..backends)
        .map(|index| json!({"id": format!("b{index}"), "address": "127.0.0.1:9"}))
        .collect();
    let routes: Vec<Value> = (0..routes)
        .map(|index| {
            let prefix = format!("/r{index}/");
            json!({"name": format!("r{index}"), "match": {"path": {"prefix": prefix}}, "to": [{"pool": "web"}]})
        })
        .collect();
    let pool = json!({"name": "web", "balance": balance, "backends": backends});
    publish(json!({"pools": [pool], "routes": routes}))
}

/// Has a config in force.
pub(crate) fn publish(config: Value) -> Publisher {
    let publisher = Publisher {
        cell: Arc::new(SnapshotCell::new()),
        registry: Arc::new(Registry::scratch()),
    };
    let put = Transaction::of(Operation::put(ResourcePath::Config, config));
    let next = Config::default().apply(Revision(1), &put);
    let config = next.expect("a config without faults").config;
    let snapshot = synod::routing::compile(&config, &publisher.registry, None);
    publisher.activate(snapshot.expect("it can be served"));
    publisher
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}
