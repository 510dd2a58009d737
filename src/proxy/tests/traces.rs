//! Requests as a collector of traces is told of them, and what backends are told of the trace.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use super::harness::*;
use crate::proxy::ProxyOptions;
use crate::telemetry::traces::testing::{Collected, attributes};
use crate::telemetry::traces::{Exporter, Share, TracesCollector, start};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A proxy whose requests are traced, and whom it tells.
pub(super) struct Traced {
    pub(super) harness: Harness,
    collector: Collected,
    exporter: Exporter,
    runtime: tokio::runtime::Runtime,
}

impl Traced {
    pub(super) fn new(config: &Value) -> Self {
        Self::with(options(), 100.0, Collected::new(), config)
    }

    fn with(options: ProxyOptions, percent: f64, collector: Collected, config: &Value) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let mut told = collector.options();
        told.share = Share::percent(percent).unwrap();
        let guard = runtime.enter();
        let (tracer, exporter) = start(told);
        drop(guard);
        let tracer = Some(tracer);
        Self {
            harness: Harness::new(ProxyOptions { tracer, ..options }, config),
            collector,
            exporter,
            runtime,
        }
    }

    /// Ends the proxy, and tells of the spans: that of the request, then those of its calls.
    pub(super) fn spans(self) -> Vec<Span> {
        let (collector, counts) = self.end();
        match counts.exported() {
            0 => Vec::new(),
            spans => {
                let mut spans = collector.spans(spans as usize);
                spans.sort_by_key(|span| (span.start_time_unix_nano, span.kind));
                spans
            }
        }
    }

    fn end(self) -> (Collected, TracesCollector) {
        let counts = self.exporter.metrics();
        self.harness.drain();
        let finish = self.exporter.finish(Duration::from_secs(20));
        self.runtime.block_on(finish);
        (self.collector, counts)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What whom this span calls is told.
pub(super) fn told_by(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

pub(super) fn attribute(span: &Span, key: &str) -> Option<String> {
    attributes(&span.attributes).remove(key)
}

fn get(fields: &str) -> String {
    format!("GET /cart?token=secret HTTP/1.1\r\nHost: Shop.example:81\r\n{fields}\r\n")
}

pub(super) fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{SPAN}-{flags}\r\n")
}

#[test]
fn a_trace_goes_through_from_the_client_to_the_backend() {
    let (backend, heads) = recording();
    let traced = Traced::new(&web(&[backend.address], json!({})));
    let fields = format!(
        "Traceparent: 00-{TRACE}-{SPAN}-00\r\ntracestate: a=b,c=d\r\nX-Request-Id: r1\r\nUser-Agent: t\r\n"
    );
    traced.harness.once(&get(&fields));
    let [server, call] = &traced.spans()[..] else {
        panic!("a request and its try");
    };
    assert_eq!(hex(&server.trace_id), TRACE);
    assert_eq!(hex(&server.parent_span_id), SPAN);
    assert_eq!(
        (server.kind(), &server.name[..]),
        (SpanKind::Server, "GET all")
    );
    assert_eq!(call.trace_id, server.trace_id);
    assert_eq!(call.parent_span_id, server.span_id);
    assert_eq!((call.kind(), &call.name[..]), (SpanKind::Client, "GET web"));
    assert!(call.start_time_unix_nano >= server.start_time_unix_nano);
    assert!(call.end_time_unix_nano <= server.end_time_unix_nano);
    assert!(call.end_time_unix_nano > call.start_time_unix_nano);
    let head = heads.recv().unwrap();
    assert_eq!(field(&head, "traceparent"), Some(&told_by(call)[..]));
    assert_eq!(
        head.to_lowercase().matches("traceparent").count(),
        1,
        "{head}"
    );
    assert_eq!(field(&head, "tracestate"), Some("a=b,c=d"));
    assert_eq!(server.trace_state, "a=b,c=d");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "all"),
        ("url.scheme", "http"),
        ("url.path", "/cart"),
        ("server.address", "shop.example"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "t"),
        ("synod.request_id", "r1"),
        ("synod.revision", "1"),
    ] {
        assert_eq!(attribute(server, key).as_deref(), Some(value), "{key}");
    }
    let url = format!("http://{}/cart", backend.address);
    for (key, value) in [
        ("synod.pool", "web"),
        ("synod.backend", "b1"),
        ("server.address", "127.0.0.1"),
        ("url.full", &url),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(call, key).as_deref(), Some(value), "{key}");
    }
}

#[test]
fn without_tracing_the_fields_go_through_untouched() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    for value in [&format!("00-{TRACE}-{SPAN}-01"), "what ever"] {
        harness.once(&get(&format!(
            "TraceParent: {value}\r\nTracestate: a=b\r\n"
        )));
        let head = heads.recv().unwrap();
        assert!(
            head.contains(&format!("TraceParent: {value}\r\nTracestate: a=b\r\n")),
            "{head}"
        );
    }
}

#[test]
fn a_route_that_edits_the_field_has_its_way() {
    let own = format!("00-{TRACE}-{SPAN}-00");
    for (edits, told) in [
        (json!({"set": {"Traceparent": own}}), Some(&own)),
        (json!({"remove": ["traceparent"]}), None),
    ] {
        let (backend, heads) = recording();
        let mut config = web(&[backend.address], json!({}));
        config["routes"][0]["headers"] = json!({ "request": edits });
        let traced = Traced::new(&config);
        traced.harness.once(&get(&traceparent("01")));
        let head = heads.recv().unwrap();
        let lines = head.to_ascii_lowercase().matches("traceparent:").count();
        assert_eq!(lines, usize::from(told.is_some()), "{head}");
        assert_eq!(field(&head, "traceparent"), told.map(String::as_str));
        drop(traced.end());
    }
}

#[test]
fn what_is_malformed_is_replaced_by_a_trace_that_begins_here() {
    let twice = format!("{}{}", traceparent("01"), traceparent("01"));
    for fields in [
        "",
        "traceparent: what ever\r\n",
        &traceparent("1"),
        &format!("traceparent: 00-{}-{SPAN}-01\r\n", TRACE.to_uppercase()),
        &twice,
    ] {
        let (backend, heads) = recording();
        let traced = Traced::new(&web(&[backend.address], json!({})));
        traced
            .harness
            .once(&get(&format!("{fields}tracestate: a=b\r\n")));
        let [server, call] = &traced.spans()[..] else {
            panic!("a request and its try");
        };
        assert_ne!(hex(&server.trace_id), TRACE);
        assert!(server.parent_span_id.is_empty());
        assert_eq!(server.trace_state, "");
        let head = heads.recv().unwrap();
        assert_eq!(field(&head, "traceparent"), Some(&told_by(call)[..]));
        assert_eq!(head.matches("traceparent").count(), 1, "{head}");
        assert_eq!(field(&head, "tracestate"), None);
    }
}

#[test]
fn whether_a_trace_is_recorded_only_the_trusted_say() {
    for (trusted, share, flags, recorded) in [
        (true, 0.0, "01", true),
        (true, 100.0, "00", false),
        (false, 0.0, "01", false),
        (false, 100.0, "00", true),
    ] {
        let options = if trusted {
            trusting_loopback()
        } else {
            options()
        };
        let (backend, heads) = recording();
        let config = web(&[backend.address], json!({}));
        let traced = Traced::with(options, share, Collected::new(), &config);
        traced.harness.once(&get(&traceparent(flags)));
        let spans = traced.spans();
        assert_eq!(
            spans.len(),
            if recorded { 2 } else { 0 },
            "{trusted} {share}"
        );
        let head = heads.recv().unwrap();
        let told = field(&head, "traceparent").unwrap();
        assert!(told.starts_with(&format!("00-{TRACE}-")), "{told}");
        assert!(!told.contains(SPAN), "another span calls: {told}");
        assert!(
            told.ends_with(if recorded { "-01" } else { "-00" }),
            "{told}"
        );
    }
}

#[test]
fn each_try_is_a_span_of_its_own_and_its_backend_is_told_which() {
    let (sender, heads) = std::sync::mpsc::channel();
    let heads_of = move |answer: &'static str| {
        let sender = sender.clone();
        Scripted::new(move |peer, _| {
            while let Some(head) = peer.try_until("\r\n\r\n") {
                sender.send(head).unwrap();
                peer.send(answer);
            }
        })
    };
    let bad = heads_of("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    let worse = heads_of("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    let mut config = web(
        &[bad.address, worse.address],
        json!({"outlier": {"max_percent": 0}}),
    );
    config["routes"][0]["retries"] = json!({"statuses": [503]});
    let traced = Traced::new(&config);
    assert_eq!(status(&traced.harness.once(&get("")).0), 503);
    let [server, first, second] = &traced.spans()[..] else {
        panic!("a request and two tries");
    };
    for call in [first, second] {
        assert_eq!(call.parent_span_id, server.span_id);
        let head = heads.recv().unwrap();
        assert_eq!(field(&head, "traceparent"), Some(&told_by(call)[..]));
        assert_eq!(
            attribute(call, "http.response.status_code").as_deref(),
            Some("503")
        );
        assert!(call.status.is_some());
    }
    assert_ne!(first.span_id, second.span_id);
    assert_ne!(
        attribute(first, "synod.backend"),
        attribute(second, "synod.backend")
    );
    assert_eq!(attribute(first, "http.request.resend_count"), None);
    assert_eq!(
        attribute(second, "http.request.resend_count").as_deref(),
        Some("1")
    );
    assert_eq!(attribute(server, "error.type").as_deref(), Some("503"));
}

#[test]
fn what_fails_says_why() {
    let traced = Traced::new(&web(&[nobody()], json!({})));
    assert_eq!(status(&traced.harness.once(&get("")).0), 502);
    let spans = traced.spans();
    for span in &spans {
        assert_eq!(
            attribute(span, "error.type").as_deref(),
            Some("connection_refused")
        );
    }
    assert_eq!(
        attribute(&spans[0], "http.response.status_code").as_deref(),
        Some("502")
    );
    assert_eq!(attribute(&spans[1], "http.response.status_code"), None);

    let breaks = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    });
    let traced = Traced::new(&web(&[breaks.address], json!({})));
    let mut client = traced.harness.client();
    client.send(get(""));
    client.rest();
    for span in traced.spans() {
        assert_eq!(
            attribute(&span, "http.response.status_code").as_deref(),
            Some("200")
        );
        assert_eq!(
            attribute(&span, "error.type").as_deref(),
            Some("connection_terminated")
        );
    }

    let traced = Traced::new(&json!({"pools": [], "routes": []}));
    assert_eq!(status(&traced.harness.once(&get("")).0), 404);
    let [server] = &traced.spans()[..] else {
        panic!("nobody was asked");
    };
    assert_eq!(server.name, "GET");
    assert_eq!(
        attribute(server, "synod.reason").as_deref(),
        Some("destination_not_found")
    );
    assert_eq!(
        (attribute(server, "error.type"), &server.status),
        (None, &None)
    );
}

#[test]
fn a_tunnel_is_a_span_to_its_end() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        while peer.pass_back() {}
    });
    let traced = Traced::new(&web(&[backend.address], json!({})));
    let mut client = traced.harness.client();
    client.send(get("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    client.head();
    let (lasted, pause) = (std::time::Instant::now(), Duration::from_millis(50));
    std::thread::sleep(pause);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    assert!(lasted.elapsed() >= pause);
    drop(client);
    backend.wait_for_ended(1);
    let spans = traced.spans();
    assert_eq!(spans.len(), 2);
    for span in spans {
        assert_eq!(
            attribute(&span, "http.response.status_code").as_deref(),
            Some("101")
        );
        let lasted = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
        assert!(lasted >= pause, "{lasted:?}");
        assert_eq!(span.status, None);
    }
}

/// A config whose route asks pool `auth` and copies to pool `copy`, both at these addresses.
fn with_others(web_at: SocketAddr, auth: SocketAddr, copy: SocketAddr) -> Value {
    let mut config = web(&[web_at], json!({}));
    for (name, address) in [("auth", auth), ("copy", copy)] {
        let pool =
            json!({"name": name, "backends": [{"id": "o1", "address": address.to_string()}]});
        config["pools"].as_array_mut().unwrap().push(pool);
    }
    let route = &mut config["routes"][0];
    route["forward_auth"] = json!({"pool": "auth", "path": "/verify?x=1", "timeout": "10s"});
    route["mirror"] = json!({"pool": "copy", "percent": 100});
    config
}

#[test]
fn questions_and_copies_are_spans_too() {
    let ((backend, heads), (auth, questions), (copy, copies)) =
        (recording(), recording(), recording());
    let traced = Traced::new(&with_others(backend.address, auth.address, copy.address));
    traced.harness.once(&get(&traceparent("01")));
    let of = |heads: &Receiver<String>| {
        let head = heads.recv().unwrap();
        assert_eq!(head.matches("traceparent").count(), 1, "{head}");
        field(&head, "traceparent").unwrap().to_owned()
    };
    let told = [
        ("auth", of(&questions)),
        ("web", of(&heads)),
        ("copy", of(&copies)),
    ];
    // The answer of the copy is heard by nobody but the trace.
    let wait = traced.exporter.metrics();
    wait_until(|| wait.exported() == 4);
    let spans = traced.spans();
    let server = &spans[0];
    assert_eq!(server.kind(), SpanKind::Server);
    for (pool, told) in told {
        let call = spans.iter().find(|span| told_by(span) == told);
        let call = call.unwrap_or_else(|| panic!("{pool} was told {told}: {spans:?}"));
        assert_eq!(call.parent_span_id, server.span_id);
        assert_eq!(attribute(call, "synod.pool").as_deref(), Some(pool));
        assert_eq!(
            attribute(call, "http.response.status_code").as_deref(),
            Some("200")
        );
        let url = attribute(call, "url.full").unwrap();
        assert!(!url.contains('?'), "{url}");
    }
}

#[test]
fn requests_go_on_whatever_becomes_of_the_collector() {
    let busy = "HTTP/1.1 503 No\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
    for collector in [
        Collected::answering(|_| None),
        Collected::answering(move |_| Some(busy.to_owned())),
        Collected::nowhere(),
    ] {
        let backend = Scripted::named("web");
        let config = web(&[backend.address], json!({}));
        let traced = Traced::with(options(), 100.0, collector, &config);
        let mut client = traced.harness.client();
        for _ in 0..200 {
            client.send(get(""));
            assert_eq!(client.response().1, "web");
        }
    }
}

#[test]
fn what_a_client_writes_at_length_is_told_in_part() {
    let backend = Scripted::named("web");
    let traced = Traced::new(&web(&[backend.address], json!({})));
    let (path, agent) = (format!("/{}", "a".repeat(2_000)), "\u{e9}".repeat(2_000));
    let fields = format!(
        "User-Agent: -{agent}\r\n{}tracestate: {agent}\r\n",
        traceparent("01")
    );
    traced.harness.once(&format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {path}\r\n{fields}\r\n"
    ));
    let spans = traced.spans();
    let (server, call) = (&spans[0], &spans[1]);
    for (told, length) in [
        (attribute(server, "url.path"), 1_024),
        (attribute(server, "synod.request_id"), 1_024),
        // A character is not cut in two.
        (attribute(server, "user_agent.original"), 1_023),
        (Some(server.trace_state.clone()), 1_024),
    ] {
        let told = told.unwrap();
        assert_eq!(told.len(), length, "{told}");
    }
    assert!(attribute(call, "url.full").unwrap().len() < 1_100);
}
