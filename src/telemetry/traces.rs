//! Traces of requests for OpenTelemetry: where a request stands in a trace, and what a collector is told of those that
//! are sampled.
//!
//! The request path hands over a [`Sampled`] request through a bounded queue and never waits: when the exporter is
//! behind, its spans are dropped and counted. All else is the exporter's, on the runtime that started it: the names of
//! attributes, batches, and the collector's moods.

mod context;
mod counts;
mod endpoint;
mod export;
mod otlp;
mod post;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use counts::{Counts, Loss};

pub use context::{Context, LENGTH, Share, SpanId, TraceId};
pub use counts::TracesCollector;
pub use endpoint::{BadEndpoint, Endpoint};
pub use export::{Exporter, Options, start};

/// Takes sampled requests, and says which are; cheap to clone. The exporter ends once the last clone is gone.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: mpsc::Sender<Box<Sampled>>,
    share: Share,
    counts: Arc<Counts>,
}

/// What is told of a request that is over, or of a copy of one.
#[derive(Debug)]
pub struct Sampled {
    /// The trace.
    pub trace: TraceId,
    /// Its `tracestate`; empty if there is none.
    pub state: Box<str>,
    /// When the first byte of the request was read.
    pub began: SystemTime,
    /// This node's own span, of which the calls are parts.
    pub span: SpanId,
    /// What it answered; none for calls that a request did not wait for, which are told apart from it.
    pub server: Option<Server>,
    /// What it asked of others, in order.
    pub calls: Vec<Call>,
}

/// A request as its client saw it.
#[derive(Debug)]
pub struct Server {
    /// The client's span, if it told one.
    pub parent: Option<SpanId>,
    /// From the first byte of the request to the last of the answer, or of the tunnel that it became.
    pub took: Duration,
    /// As the client wrote it.
    pub method: Box<str>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host that was matched.
    pub host: Box<str>,
    /// Without the query, which may hold secrets.
    pub path: Box<str>,
    /// `1.0`, `1.1` or `2`.
    pub version: &'static str,
    /// The client, behind the proxies that are trusted.
    pub client: IpAddr,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// `User-Agent`; empty if there is none.
    pub user_agent: Box<str>,
    /// `X-Request-Id`, made or kept.
    pub request_id: Box<str>,
    /// The route that matched.
    pub route: Option<Box<str>>,
    /// What the client was answered; 0 when it left before that.
    pub status: u16,
    /// Why it ended, as in the access log.
    pub reason: &'static str,
    /// Whether the answer broke off.
    pub broken: bool,
    /// The revision of the snapshot that served it.
    pub revision: u64,
}

/// A request to a backend: a try, a copy, or a question about the request.
#[derive(Debug)]
pub struct Call {
    /// Its span, which the backend was told.
    pub span: SpanId,
    /// When it began, from the beginning of the request.
    pub after: Duration,
    /// From then to the end of the answer, or of the tunnel that it became.
    pub took: Duration,
    /// As it was sent.
    pub method: Box<str>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port as a URL has them.
    pub authority: Box<str>,
    /// Name, address or path of the backend.
    pub host: Box<str>,
    /// None if it is a Unix socket.
    pub port: Option<u16>,
    /// As it was sent, without the query.
    pub path: Box<str>,
    /// `1.1` or `2`.
    pub version: &'static str,
    /// The backend's pool.
    pub pool: Box<str>,
    /// The backend.
    pub backend: Box<str>,
    /// Tries before this one.
    pub resend: u32,
    /// What it answered; 0 if it did not.
    pub status: u16,
    /// Why it failed, as in the access log.
    pub failure: Option<&'static str>,
}

impl Tracer {
    /// Of how many requests spans are told, where nobody who is trusted has decided.
    pub fn share(&self) -> Share {
        self.share
    }

    /// Hands one request over, or drops it and counts that.
    pub fn record(&self, sampled: Box<Sampled>) {
        let spans = sampled.spans();
        if self.queue.try_send(sampled).is_err() {
            self.counts.lost(Loss::Behind, spans);
        }
    }
}

impl Sampled {
    /// How many spans it is.
    fn spans(&self) -> u64 {
        self.calls.len() as u64 + u64::from(self.server.is_some())
    }
}
