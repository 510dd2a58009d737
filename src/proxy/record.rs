//! What is noted of a request on its way, and where it ends up: metrics always, the access log if there is one.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::failure::Failure;
use super::forwarded;
use super::trace::Trace;
use super::worker::{ListenerState, Worker};
use crate::config::Name;
use crate::routing::RouteEntry;
use crate::telemetry::access_log::Access;
use crate::telemetry::metrics::Finished;
use crate::wire::field::Known;
use crate::wire::head::{RequestHead, Version};

/// Bytes that are told of anything a client writes: many requests may wait for who writes or sends it on.
const MOST_TOLD: usize = 1_024;

/// The notes of one request. Both directions of its body write them at once, hence the cells.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) started: Instant,
    /// Tries given to backends.
    pub(crate) tries: Cell<u32>,
    /// Since when the backend is waited for: from the start of the last try, or from the end of the body it was sent.
    pub(crate) asked: Cell<Instant>,
    /// Time in the queue of the pool.
    pub(crate) queue: Cell<Option<Duration>>,
    /// Time the last try took to connect; `None` if it reused a connection.
    pub(crate) connect: Cell<Option<Duration>>,
    /// When the head of the final answer had been read.
    pub(crate) first_byte: Cell<Option<Instant>>,
    /// For how long the backend asks to be left alone, in an answer that says it failed.
    pub(crate) retry_after: Cell<Option<Duration>>,
    /// The status of that head; 0 before.
    pub(crate) status: Cell<u16>,
    /// Body bytes from the client.
    pub(crate) received: Cell<u64>,
    /// Body bytes to the client.
    pub(crate) sent: Cell<u64>,
    /// Whether any byte of an answer, interim ones too, may have reached the client: then there is no second try.
    pub(crate) answered: Cell<bool>,
    /// Whether what was written to the client last is no whole message yet: nothing else may follow it.
    pub(crate) within: Cell<bool>,
    /// Its place in a trace, if requests are traced.
    pub(crate) trace: Option<Box<Trace>>,
}

/// What the request was given to, by name, for the access log; collected only if there is one.
#[derive(Debug, Default)]
pub(crate) struct Picked {
    pub(crate) pool: Option<Name>,
    pub(crate) backend: Option<Name>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) detail: Option<&'static str>,
    pub(crate) revision: u64,
}

impl Ending {
    pub(crate) fn complete(status: u16, revision: u64) -> Self {
        Self {
            status,
            reason: "complete",
            detail: None,
            revision,
        }
    }

    pub(crate) fn failed(status: u16, failure: Failure, revision: u64) -> Self {
        Self {
            status,
            reason: failure.name(),
            detail: failure.details(),
            revision,
        }
    }
}

impl Record {
    pub(crate) fn begin() -> Self {
        let started = Instant::now();
        Self {
            started,
            asked: Cell::new(started),
            retry_after: Cell::new(None),
            tries: Cell::new(0),
            queue: Cell::new(None),
            connect: Cell::new(None),
            first_byte: Cell::new(None),
            status: Cell::new(0),
            received: Cell::new(0),
            sent: Cell::new(0),
            answered: Cell::new(false),
            within: Cell::new(false),
            trace: None,
        }
    }

    /// What went before was no backend's time.
    pub(crate) fn ask_from_now(&self) {
        self.asked.set(Instant::now());
    }

    /// Another try begins.
    pub(crate) fn try_again(&self) {
        self.ask_from_now();
        self.first_byte.set(None);
        self.retry_after.set(None);
        self.status.set(0);
    }

    /// Counts the request on its route.
    pub(crate) fn count(&self, route: &RouteEntry, status: u16, now: Instant) {
        route.metrics.finished(Finished {
            status,
            total: now.saturating_duration_since(self.started),
            received: self.received.get(),
            sent: self.sent.get(),
        });
    }

    /// The line for the access log. `made_id` is the request's id if it came with none.
    pub(crate) fn access<'a>(
        &self,
        client: IpAddr,
        request: &'a RequestHead,
        made_id: &'a str,
        route: Option<&'a RouteEntry>,
        picked: &'a Picked,
        ending: Ending,
    ) -> Access<'a> {
        let total = self.started.elapsed();
        let since_start = |at: Instant| at.saturating_duration_since(self.started);
        let named = |name: &'a Name| Cow::Borrowed(name.as_str());
        Access {
            time: SystemTime::now() - total,
            client,
            method: request.method().into(),
            host: told(request.host()).into(),
            // Its own bound is near, and cut it would be another.
            target: request.target().into(),
            protocol: match request.version() {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
                Version::Http2 => "HTTP/2.0",
            },
            status: ending.status,
            request_id: told(request_id(request, made_id)).into(),
            referer: "".into(),
            user_agent: "".into(),
            route: route.map(|route| route.name.as_str().into()),
            pool: picked.pool.as_ref().map(named),
            backend: picked.backend.as_ref().map(named),
            tries: self.tries.get(),
            queue: self.queue.get(),
            connect: self.connect.get(),
            first_byte: self.first_byte.get().map(since_start),
            total: Some(total),
            received: self.received.get(),
            sent: self.sent.get(),
            revision: ending.revision,
            reason: ending.reason,
            detail: ending.detail,
        }
    }
}

/// The id that a request goes by: its own, or else the one that was made for it.
pub(crate) fn request_id<'a>(request: &'a RequestHead, made: &'a str) -> &'a str {
    let kept = request.fields().value(Known::XRequestId);
    kept.and_then(|id| std::str::from_utf8(id).ok())
        .unwrap_or(made)
}

/// What a client wrote, or the beginning of it.
pub(crate) fn told(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_TOLD)]
}

/// Likewise, of what may not be text.
pub(crate) fn told_lossy(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_TOLD)]) {
        Cow::Owned(text) => told(&text).to_owned().into(),
        text => text,
    }
}

/// The client of a request: the peer, or, where that one is trusted, the last address in X-Forwarded-For, or else in
/// Forwarded, that is not itself trusted. Read from the right: what stands further left is what a stranger claims.
pub(crate) fn client_of(request: &RequestHead, peer: IpAddr, listener: &ListenerState) -> IpAddr {
    if !listener.trusts(peer) {
        return peer;
    }
    let mut client = peer;
    for hop in forwarded::hops(request).iter().rev() {
        let Some(address) = hop else {
            return client;
        };
        client = *address;
        if !listener.trusts(client) {
            return client;
        }
    }
    client
}

/// Adds what a line in the combined format has besides.
pub(crate) fn add_agent<'a>(line: &mut Access<'a>, request: &'a RequestHead) {
    let text = |name| told_lossy(request.fields().named(name).unwrap_or_default());
    line.referer = text("referer");
    line.user_agent = text("user-agent");
}

/// Counts and logs a request that was not understood: of its head nothing is known.
pub(crate) fn refused(worker: &Worker, peer: IpAddr, record: &Record, ending: Ending) {
    worker.shared.listener.unrouted(ending.status);
    if let Some(log) = &worker.access_log {
        let (unknown, nowhere) = (RequestHead::new(), Picked::default());
        log.record(&record.access(peer, &unknown, "", None, &nowhere, ending));
    }
}
