//! From what the request path tells to the messages of OTLP, by the semantic conventions of HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use prost::Message as _;

use super::{Call, Sampled, Server, SpanId};

/// The version of the semantic conventions.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.27.0";

/// Methods that the conventions know; others could be any number.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// What every span of this node is told with.
pub(super) fn resource(service: &str, instance: &str) -> Resource {
    Resource {
        attributes: vec![
            text("service.name", service),
            text("service.instance.id", instance),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ],
        ..Resource::default()
    }
}

/// The body of a request to the collector.
pub(super) fn encode(resource: &Resource, batch: &[Box<Sampled>]) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "synod".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans {
        scope: Some(scope),
        spans: batch.iter().flat_map(|sampled| spans(sampled)).collect(),
        schema_url: SCHEMA.to_owned(),
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: vec![spans],
            schema_url: SCHEMA.to_owned(),
        }],
    };
    request.encode_to_vec()
}

/// How many spans a collector did not take of those that it answered for, and why.
pub(super) fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let answer = ExportTraceServiceResponse::decode(answer).ok()?;
    let partial = answer.partial_success?;
    let spans = u64::try_from(partial.rejected_spans).unwrap_or_default();
    (spans > 0).then_some((spans, partial.error_message))
}

pub(super) fn spans(sampled: &Sampled) -> Vec<Span> {
    let server = sampled
        .server
        .iter()
        .map(|server| of_server(sampled, server));
    let calls = sampled.calls.iter().map(|call| of_call(sampled, call));
    server.chain(calls).collect()
}

fn of_server(sampled: &Sampled, server: &Server) -> Span {
    let mut attributes = vec![
        text("url.scheme", server.scheme),
        text("url.path", &*server.path),
        text("server.address", &*server.host),
        text("client.address", server.client.to_string()),
        text("network.peer.address", server.peer.to_string()),
        text("network.protocol.version", server.version),
        text("synod.request_id", &*server.request_id),
        number("synod.revision", server.revision as i64),
    ];
    if !server.user_agent.is_empty() {
        attributes.push(text("user_agent.original", &*server.user_agent));
    }
    if server.reason != COMPLETE {
        attributes.push(text("synod.reason", server.reason));
    }
    let mut name = method(&server.method, &mut attributes).to_owned();
    if let Some(route) = &server.route {
        attributes.push(text("http.route", &**route));
        name = format!("{name} {route}");
    }
    let failed = match server.status {
        500.. if server.reason != COMPLETE => Some(server.reason.to_owned()),
        status @ 500.. => Some(status.to_string()),
        _ if server.broken => Some(server.reason.to_owned()),
        _ => None,
    };
    let status = ended(server.status, failed, &mut attributes);
    Span {
        name,
        parent_span_id: server.parent.map_or(Vec::new(), bytes),
        flags: flags(server.parent.is_some()),
        status,
        attributes,
        ..span(
            sampled,
            SpanKind::Server,
            sampled.span,
            (Duration::ZERO, server.took),
        )
    }
}

fn of_call(sampled: &Sampled, call: &Call) -> Span {
    let url = format!("{}://{}{}", call.scheme, call.authority, call.path);
    let mut attributes = vec![
        text("url.full", url),
        text("server.address", &*call.host),
        text("network.protocol.version", call.version),
        text("synod.pool", &*call.pool),
        text("synod.backend", &*call.backend),
    ];
    if let Some(port) = call.port {
        attributes.push(number("server.port", port.into()));
    }
    if call.resend > 0 {
        attributes.push(number("http.request.resend_count", call.resend.into()));
    }
    let name = method(&call.method, &mut attributes);
    let name = format!("{name} {}", call.pool);
    let failed = match (call.failure, call.status) {
        (Some(failure), _) => Some(failure.to_owned()),
        (None, status @ 500..) => Some(status.to_string()),
        (None, _) => None,
    };
    let status = ended(call.status, failed, &mut attributes);
    Span {
        name,
        parent_span_id: bytes(sampled.span),
        flags: flags(false),
        status,
        attributes,
        ..span(
            sampled,
            SpanKind::Client,
            call.span,
            (call.after, call.took),
        )
    }
}

/// The reason of a request that went well.
const COMPLETE: &str = "complete";

fn span(
    sampled: &Sampled,
    kind: SpanKind,
    id: SpanId,
    (after, took): (Duration, Duration),
) -> Span {
    Span {
        trace_id: sampled.trace.to_bytes().to_vec(),
        span_id: bytes(id),
        trace_state: sampled.state.to_string(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(sampled.began, after),
        end_time_unix_nano: nanoseconds(sampled.began, after + took),
        ..Span::default()
    }
}

/// Says that the trace is sampled, and where the parent is.
fn flags(of_another: bool) -> u32 {
    let remote = match of_another {
        true => SpanFlags::ContextIsRemoteMask as u32,
        false => 0,
    };
    1 | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

/// The word for a method in a span's name; told as it is only if that is one of a few.
fn method(method: &str, attributes: &mut Vec<KeyValue>) -> &'static str {
    if let Some(known) = METHODS.iter().find(|known| **known == method) {
        attributes.push(text("http.request.method", *known));
        return known;
    }
    attributes.push(text("http.request.method", "_OTHER"));
    attributes.push(text("http.request.method_original", method));
    "HTTP"
}

fn ended(status: u16, failed: Option<String>, attributes: &mut Vec<KeyValue>) -> Option<Status> {
    if status > 0 {
        attributes.push(number("http.response.status_code", status.into()));
    }
    let failed = failed?;
    attributes.push(text("error.type", failed));
    Some(Status {
        code: StatusCode::Error.into(),
        ..Status::default()
    })
}

fn bytes(id: SpanId) -> Vec<u8> {
    id.to_bytes().to_vec()
}

fn nanoseconds(began: SystemTime, after: Duration) -> u64 {
    let since = began.duration_since(UNIX_EPOCH).unwrap_or_default() + after;
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
