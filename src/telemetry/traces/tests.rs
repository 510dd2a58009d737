//! From what the request path tells to what a collector gets, in good times and bad.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::testing::{Collected, TAKEN, attributes, options};
use super::*;
use crate::tls::testing::Authority;
use crate::tls::{ClientCertificates, MinVersion, ServerOptions, ServerTls};

const AT: Duration = Duration::from_millis(1_500);

fn server() -> Server {
    Server {
        parent: None,
        took: Duration::from_micros(70),
        method: "GET".into(),
        scheme: "https",
        host: "shop.example".into(),
        path: "/cart".into(),
        version: "2",
        client: [192, 0, 2, 7].into(),
        peer: [127, 0, 0, 1].into(),
        user_agent: "curl".into(),
        request_id: "5f2a".into(),
        route: Some("shop".into()),
        status: 200,
        reason: "complete",
        broken: false,
        revision: 7,
    }
}

fn call() -> Call {
    Call {
        span: SpanId::random(),
        after: Duration::from_micros(10),
        took: Duration::from_micros(50),
        method: "GET".into(),
        scheme: "http",
        authority: "[::1]:8080".into(),
        host: "::1".into(),
        port: Some(8080),
        path: "/v2/cart".into(),
        version: "1.1",
        pool: "web".into(),
        backend: "b1".into(),
        resend: 0,
        status: 200,
        failure: None,
    }
}

fn sampled(server: Option<Server>, calls: Vec<Call>) -> Box<Sampled> {
    let context = Context::within(None, true);
    Box::new(Sampled {
        trace: context.trace,
        state: "a=b".into(),
        began: SystemTime::UNIX_EPOCH + AT,
        span: context.span,
        server,
        calls,
    })
}

fn spans(sampled: &Sampled) -> Vec<Span> {
    otlp::spans(sampled)
}

#[test]
fn a_request_and_its_calls_are_spans_of_one_trace_with_their_times() {
    let client = SpanId::random();
    let parent = Some(client);
    let mut sampled = sampled(Some(Server { parent, ..server() }), vec![call(), call()]);
    sampled.calls[1].resend = 1;
    sampled.calls[1].port = None;
    let [server, first, second] = &spans(&sampled)[..] else {
        panic!("three spans");
    };
    for span in [server, first, second] {
        assert_eq!(span.trace_id, sampled.trace.to_bytes());
        assert_eq!(span.trace_state, "a=b");
    }
    assert_eq!(server.span_id, sampled.span.to_bytes());
    assert_eq!(server.parent_span_id, client.to_bytes());
    assert_eq!(server.kind(), SpanKind::Server);
    assert_eq!(server.flags, 0x301, "sampled, and the parent is elsewhere");
    assert_eq!(server.name, "GET shop");
    let nanoseconds = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    assert_eq!(nanoseconds(server), (1_500_000_000, 1_500_070_000));
    assert_eq!(nanoseconds(first), (1_500_010_000, 1_500_060_000));
    for (span, call) in [first, second].into_iter().zip(&sampled.calls) {
        assert_eq!(span.span_id, call.span.to_bytes());
        assert_eq!(span.parent_span_id, sampled.span.to_bytes());
        assert_eq!(span.kind(), SpanKind::Client);
        assert_eq!((span.flags, &span.name[..]), (0x101, "GET web"));
        assert_eq!(span.status, None);
    }
    let told = attributes(&server.attributes);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "shop"),
        ("url.scheme", "https"),
        ("url.path", "/cart"),
        ("server.address", "shop.example"),
        ("client.address", "192.0.2.7"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "2"),
        ("user_agent.original", "curl"),
        ("synod.revision", "7"),
        ("synod.request_id", "5f2a"),
    ] {
        assert_eq!(told.get(key).map(String::as_str), Some(value), "{key}");
    }
    let told = attributes(&first.attributes);
    for (key, value) in [
        ("url.full", Some("http://[::1]:8080/v2/cart")),
        ("server.address", Some("::1")),
        ("server.port", Some("8080")),
        ("synod.pool", Some("web")),
        ("synod.backend", Some("b1")),
        ("http.request.resend_count", None),
    ] {
        assert_eq!(told.get(key).map(String::as_str), value, "{key}");
    }
    let told = attributes(&second.attributes);
    assert_eq!(told["http.request.resend_count"], "1");
    assert!(!told.contains_key("server.port"));
}

#[test]
fn an_error_is_what_a_server_did_wrong() {
    let error = |span: &Span| {
        let told = attributes(&span.attributes).remove("error.type");
        let status = span.status.as_ref().map(|status| status.code());
        assert_eq!(told.is_some(), status == Some(StatusCode::Error));
        told
    };
    for (status, reason, broken, expected) in [
        (200, "complete", false, None),
        (404, "complete", false, None),
        (404, "destination_not_found", false, None),
        (503, "complete", false, Some("503")),
        (502, "connection_refused", false, Some("connection_refused")),
        (
            200,
            "connection_terminated",
            true,
            Some("connection_terminated"),
        ),
        (0, "client_gone", false, None),
        (101, "backend_removed", false, None),
    ] {
        let server = Server {
            status,
            reason,
            broken,
            ..server()
        };
        let span = spans(&sampled(Some(server), Vec::new())).remove(0);
        assert_eq!(error(&span).as_deref(), expected, "{status} {reason}");
        let told = attributes(&span.attributes);
        let answered = told
            .get("http.response.status_code")
            .map(|status| status.parse().unwrap());
        assert_eq!(answered, (status > 0).then_some(status));
    }
    for (status, failure, expected) in [
        (200, None, None),
        (404, None, None),
        (500, None, Some("500")),
        (0, Some("connection_timeout"), Some("connection_timeout")),
        (
            200,
            Some("connection_terminated"),
            Some("connection_terminated"),
        ),
    ] {
        let call = Call {
            status,
            failure,
            ..call()
        };
        let span = spans(&sampled(None, vec![call])).remove(0);
        assert_eq!(error(&span).as_deref(), expected, "{status} {failure:?}");
    }
}

#[test]
fn a_method_that_nobody_knows_names_no_span() {
    let method = "BREW".into();
    let span = spans(&sampled(Some(Server { method, ..server() }), Vec::new())).remove(0);
    assert_eq!(span.name, "HTTP shop");
    let told = attributes(&span.attributes);
    assert_eq!(told["http.request.method"], "_OTHER");
    assert_eq!(told["http.request.method_original"], "BREW");
}

fn one() -> Box<Sampled> {
    sampled(Some(server()), vec![call()])
}

async fn until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_are_posted_together_and_say_whose_they_are() {
    let collector = Collected::new();
    let (tracer, exporter) = start(collector.options());
    for _ in 0..10 {
        tracer.record(one());
    }
    let posted = collector.next();
    assert!(
        posted.head.starts_with("POST /v1/traces HTTP/1.1\r\n"),
        "{}",
        posted.head
    );
    let host = format!("host: {}\r\n", collector.address);
    for line in [
        &host,
        "content-type: application/x-protobuf\r\n",
        "user-agent: synod/",
    ] {
        assert!(
            posted.head.to_lowercase().contains(line),
            "{line} {}",
            posted.head
        );
    }
    assert_eq!(posted.spans().len(), 20);
    let resource = posted.request.resource_spans[0].resource.clone().unwrap();
    let told = attributes(&resource.attributes);
    assert_eq!(told["service.name"], "edge");
    assert_eq!(told["service.instance.id"], "n1");
    let metrics = exporter.metrics();
    until(|| metrics.exported() == 20).await;
    assert_eq!(metrics.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_batch_is_bounded_and_the_connection_kept() {
    let collector = Collected::new();
    let (tracer, exporter) = start(collector.options());
    for _ in 0..1_000 {
        tracer.record(one());
    }
    drop(tracer);
    let metrics = exporter.metrics();
    exporter.finish(Duration::from_secs(20)).await;
    let mut spans = 0;
    while spans < 2_000 {
        let posted = collector.next().spans().len();
        assert!(posted <= 512, "{posted}");
        spans += posted;
    }
    assert_eq!((spans, metrics.exported()), (2_000, 2_000));
    assert_eq!(collector.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_collector_that_has_no_time_is_asked_again_when_it_says() {
    for status in [
        "429 Too Many Requests",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ] {
        let not_now = format!("HTTP/1.1 {status}\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n");
        let collector = Collected::answering(move |before| {
            Some(if before < 3 {
                not_now.clone()
            } else {
                TAKEN.to_owned()
            })
        });
        let (tracer, exporter) = start(collector.options());
        tracer.record(one());
        let metrics = exporter.metrics();
        until(|| metrics.exported() == 2).await;
        assert_eq!(metrics.dropped(), 0);
        let posts: Vec<_> = (0..4).map(|_| collector.next().request).collect();
        assert!(
            posts.iter().all(|post| *post == posts[0]),
            "it is the same batch"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_collector_will_not_have_is_not_sent_again() {
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "404 Not Found",
        "500 Internal Server Error",
        "302 Found",
    ] {
        let never = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
        let collector = Collected::answering(move |_| Some(never.clone()));
        let (tracer, exporter) = start(collector.options());
        tracer.record(one());
        let metrics = exporter.metrics();
        until(|| metrics.dropped() == 2).await;
        drop(tracer);
        exporter.finish(Duration::from_secs(20)).await;
        collector.next();
        assert!(collector.is_done(), "{status}");
        assert_eq!(metrics.exported(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_collector_takes_a_part_of_is_counted_in_parts() {
    let answer = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "too".to_owned(),
        }),
    };
    let body = String::from_utf8(answer.encode_to_vec()).unwrap();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let collector = Collected::answering(move |_| Some(answer.clone()));
    let (tracer, exporter) = start(collector.options());
    tracer.record(one());
    let metrics = exporter.metrics();
    until(|| metrics.exported() + metrics.dropped() == 2).await;
    assert_eq!((metrics.exported(), metrics.dropped()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connection_that_the_collector_ended_loses_nothing() {
    let collector = Collected::answering(|_| {
        Some("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned())
    });
    let (tracer, exporter) = start(collector.options());
    let metrics = exporter.metrics();
    for sent in 1..=3 {
        tracer.record(one());
        until(|| metrics.exported() == 2 * sent).await;
    }
    assert_eq!(metrics.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_collector_that_does_not_answer_costs_spans_and_never_time() {
    let collector = Collected::answering(|_| None);
    let (tracer, exporter) = start(collector.options());
    tracer.record(one());
    collector.next();
    for _ in 0..10_000 {
        tracer.record(one());
    }
    let metrics = exporter.metrics();
    let dropped = metrics.dropped();
    assert!(
        (2_000..=4_000).contains(&dropped),
        "the queue holds 8,192 requests: {dropped}"
    );
    drop(tracer);
    let begun = Instant::now();
    exporter.finish(Duration::from_millis(100)).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_collector_that_is_gone_is_not_waited_for_at_the_end() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (tracer, exporter) = start(options(nobody));
    for _ in 0..600 {
        tracer.record(one());
    }
    drop(tracer);
    let metrics = exporter.metrics();
    exporter.finish(Duration::from_secs(20)).await;
    assert_eq!(
        (metrics.exported(), metrics.dropped()),
        (0, 1_200),
        "each is tried once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_collector_by_https_is_told_what_only_it_can_read_and_no_other_is() {
    let (ca, directory) = (Authority::new("collectors"), tempfile::tempdir().unwrap());
    let tls = ServerTls::load(ServerOptions {
        certificates: vec![ca.issue(&["127.0.0.1"]).write(directory.path(), "otlp")],
        min_version: MinVersion::default(),
        clients: ClientCertificates::None,
        alpn: Vec::new(),
    });
    let collector = Collected::secure(tls.unwrap().config());
    let trusting = |authority: &Authority| Options {
        endpoint: format!("https://{}", collector.address).parse().unwrap(),
        tls: Some(Arc::new(authority.client())),
        ..collector.options()
    };
    let (tracer, exporter) = start(trusting(&ca));
    let metrics = exporter.metrics();
    for sent in 1..=2 {
        tracer.record(one());
        until(|| metrics.exported() == 2 * sent).await;
    }
    assert_eq!(collector.spans(4).len(), 4);
    assert_eq!(collector.connections(), 1, "it is kept");

    let (tracer, exporter) = start(trusting(&Authority::new("others")));
    tracer.record(one());
    drop(tracer);
    let metrics = exporter.metrics();
    exporter.finish(Duration::from_secs(20)).await;
    assert_eq!((metrics.exported(), metrics.dropped()), (0, 2));
    assert!(collector.is_done());
}
