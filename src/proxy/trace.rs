//! What is noted of a request for its trace: its place there, and the calls that it leads to.
//!
//! There is none without a tracer. Of a request that is not sampled only its place is kept, which those called are
//! told. What a client says of its trace is kept, whoever it is; whether the trace is recorded only those say that the
//! listener trusts: a stranger could have every request recorded, here and behind.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use super::connection::Client;
use super::download::Answered;
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::{Job, Lost};
use super::policy::is_https;
use super::record::{self, Ending, Record, client_of, told, told_lossy};
use crate::backend::Backend;
use crate::config::{Address, Protocol};
use crate::routing::{PoolEntry, RouteEntry};
use crate::telemetry::traces::{Call, Context, LENGTH, Sampled, Server, SpanId, Tracer};
use crate::wire::field::Known;
use crate::wire::fields::Fields;
use crate::wire::head::{RequestHead, Version};

/// The place of one request in a trace, while it is under way.
#[derive(Debug)]
pub(crate) struct Trace {
    /// With this node's own span.
    context: Context,
    /// The client's span.
    parent: Option<SpanId>,
    /// The span that is told to whom is called next.
    caller: Cell<SpanId>,
    /// Those begun, the last perhaps under way. None unless the trace is recorded.
    calls: RefCell<Vec<Call>>,
}

/// Whom a call goes to, and with what.
#[derive(Clone, Copy)]
pub(crate) struct Callee<'a> {
    pub(crate) pool: &'a PoolEntry,
    pub(crate) backend: &'a Backend,
    pub(crate) method: &'a str,
    /// Perhaps with a query.
    pub(crate) target: &'a str,
    /// Tries before.
    pub(crate) resend: usize,
}

impl Trace {
    /// Finds the place of a request that was just read.
    pub(crate) fn begin(tracer: &Tracer, client: &Client, request: &mut RequestHead) -> Box<Self> {
        let parent = parent(request.fields());
        if parent.is_none() {
            // Of no use without the other.
            request.fields_mut().skip(Known::Tracestate);
        }
        let sampled = match &parent {
            Some(parent) if client.listener.trusts(client.peer) => parent.is_sampled(),
            _ => tracer.share().draw(),
        };
        let context = Context::within(parent.as_ref(), sampled);
        Box::new(Self {
            context,
            parent: parent.map(|parent| parent.span),
            caller: Cell::new(context.span),
            calls: RefCell::default(),
        })
    }

    /// The field for whom is called next.
    pub(crate) fn field(&self) -> [u8; LENGTH] {
        self.context.field(self.caller.get())
    }

    /// Begins a call.
    pub(crate) fn call(&self, callee: Callee<'_>, record: &Record) {
        if self.context.is_sampled() {
            let call = new_call(callee, record.started.elapsed());
            self.caller.set(call.span);
            self.calls.borrow_mut().push(call);
        }
    }

    /// Ends the call that began last.
    pub(crate) fn called(&self, status: u16, failure: Option<Failure>, record: &Record) {
        if let Some(call) = self.calls.borrow_mut().last_mut() {
            call.took = record.started.elapsed().saturating_sub(call.after);
            call.status = status;
            call.failure = failure.map(Failure::name);
        }
    }

    /// Forgets the call that began last: nothing of it was sent.
    pub(crate) fn uncalled(&self) {
        self.calls.borrow_mut().pop();
    }

    /// A call that the request does not wait for, told apart from it.
    pub(crate) fn aside(&self, callee: Callee<'_>) -> Option<Box<Sampled>> {
        if !self.context.is_sampled() {
            return None;
        }
        let call = new_call(callee, Duration::ZERO);
        self.caller.set(call.span);
        Some(Box::new(Sampled {
            trace: self.context.trace,
            state: "".into(),
            began: SystemTime::now(),
            span: self.context.span,
            server: None,
            calls: vec![call],
        }))
    }
}

/// What a field says; empty for none.
pub(crate) fn text(field: Option<&[u8; LENGTH]>) -> &str {
    let text = field.and_then(|field| std::str::from_utf8(field).ok());
    text.unwrap_or_default()
}

/// The client's own place, if it tells one, and only one.
fn parent(fields: &Fields) -> Option<Context> {
    let mut told = fields.values(Known::Traceparent);
    let parent = Context::parse(told.next()?)?;
    told.next().is_none().then_some(parent)
}

fn new_call(callee: Callee<'_>, after: Duration) -> Call {
    let Callee { pool, backend, .. } = callee;
    let (host, port) = match &backend.address {
        Address::Socket(socket) => (socket.ip().to_string().into(), Some(socket.port())),
        Address::Name { host, port } => (host.clone(), Some(*port)),
        Address::Unix(path) => (path.clone(), None),
    };
    Call {
        span: SpanId::random(),
        after,
        took: Duration::ZERO,
        method: told(callee.method).into(),
        scheme: if pool.tls.is_some() { "https" } else { "http" },
        authority: backend.address.authority().into(),
        host,
        port,
        path: told(without_query(callee.target)).into(),
        version: match pool.protocol {
            Protocol::Http1 => "1.1",
            Protocol::Http2 => "2",
        },
        pool: pool.name.as_str().into(),
        backend: backend.id.as_str().into(),
        resend: u32::try_from(callee.resend).unwrap_or(u32::MAX),
        status: 0,
        failure: None,
    }
}

fn without_query(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// What is sent to backends as the job stands.
pub(crate) fn callee<'a>(
    job: &'a Job<'_>,
    pool: &'a PoolEntry,
    backend: &'a Backend,
    resend: usize,
) -> Callee<'a> {
    let request = &job.exchange.request;
    Callee {
        pool,
        backend,
        method: request.method(),
        target: job.ruling.instead().target.unwrap_or(request.path()),
        resend,
    }
}

/// A try begins.
pub(crate) fn begin_try(job: &Job<'_>, pool: &PoolEntry, backend: &Backend, tries: usize) {
    if let Some(trace) = &job.record.trace {
        trace.call(callee(job, pool, backend, tries), job.record);
    }
}

/// A try has ended so.
pub(crate) fn end_try(job: &Job<'_>, result: &Result<Answered, Lost>) {
    let Some(trace) = &job.record.trace else {
        return;
    };
    match result {
        Ok(answered) => trace.called(answered.status, None, job.record),
        Err(Lost::Closed) => trace.uncalled(),
        Err(Lost::Failed { failure, .. }) => {
            let status = match failure {
                Failure::Declined(status) => *status,
                _ => job.record.status.get(),
            };
            trace.called(status, Some(*failure), job.record);
        }
    }
}

/// What is told of a request that has ended, if it is sampled.
pub(crate) fn ended(
    record: &mut Record,
    client: &Client,
    exchange: &Exchange,
    made_id: &str,
    route: Option<&RouteEntry>,
    ending: Ending,
) -> Option<Box<Sampled>> {
    let trace = record.trace.take()?;
    if !trace.context.is_sampled() {
        return None;
    }
    let request = &exchange.request;
    let agent = request.fields().named("user-agent").unwrap_or_default();
    let took = record.started.elapsed();
    let server = Server {
        parent: trace.parent,
        took,
        method: told(request.method()).into(),
        scheme: if is_https(request, client) {
            "https"
        } else {
            "http"
        },
        host: told(request.host()).into(),
        path: told(request.path()).into(),
        version: match request.version() {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        },
        client: client_of(request, client.peer, &client.listener),
        peer: client.peer,
        user_agent: told_lossy(agent).into(),
        request_id: told(record::request_id(request, made_id)).into(),
        route: route.map(|route| route.name.as_str().into()),
        status: ending.status,
        reason: ending.reason,
        broken: record.within.get() && !matches!(ending.reason, "complete" | "client_gone"),
        revision: ending.revision,
    };
    let states: Vec<&[u8]> = request.fields().values(Known::Tracestate).collect();
    let state = match trace.parent {
        Some(_) => told_lossy(&states.join(&b',')).into(),
        None => "".into(),
    };
    Some(Box::new(Sampled {
        trace: trace.context.trace,
        state,
        began: SystemTime::now() - took,
        span: trace.context.span,
        server: Some(server),
        calls: trace.calls.into_inner(),
    }))
}

/// Adds what came of a call that is told by itself.
pub(crate) fn asked(sampled: &mut Sampled, took: Duration, status: u16, failure: Option<Failure>) {
    for call in &mut sampled.calls {
        call.took = took;
        call.status = status;
        call.failure = failure.map(Failure::name);
    }
}

/// Adds what became of the tunnel that a request became.
pub(crate) fn tunnelled(sampled: &mut Sampled, took: Duration, reason: &'static str) {
    if let Some(server) = &mut sampled.server {
        server.took = took;
        server.reason = reason;
    }
    if let Some(call) = sampled.calls.last_mut() {
        call.took = took.saturating_sub(call.after);
    }
}
