//! Tunnels: what a connection becomes when its backend answers 101 to a request that asked to switch protocols.
//!
//! From then on bytes pass both ways unread, each way at the pace of its slower side, and each side may end its own.
//! A tunnel counts as in flight here and at its backend for as long as it lasts, which every change of the config lets
//! it but the removal of that backend. It holds a buffer only while bytes are in it.
//!
//! Over HTTP/2 it is a stream that began with an extended CONNECT (RFC 8441), on either side: [`http2`] has it read as
//! the upgrade of HTTP/1.1 that is meant by it, so there is one kind of tunnel. An orderly end of one way is
//! END_STREAM, any other end a reset.
//!
//! [`http2`]: crate::wire::http2

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::buffers::{Buffer, FreeList, LargeBuffer};
use super::connection::Client;
use super::overload::UnderWay;
use super::trace;
use super::transfer::poll_write_two;
use crate::backend::InFlight;
use crate::telemetry::access_log::Access;
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::traces::Sampled;
use crate::wire::body::BodyKind;
use crate::wire::field::Known;
use crate::wire::fields::members;
use crate::wire::head::{RequestHead, ResponseHead, Version};
use crate::wire::stream::Stream;
use crate::wire::websocket;

/// The backend's side of a connection that has switched.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) backend: Stream,
    pub(crate) in_flight: InFlight,
    /// Without movement either way it ends after this.
    pub(crate) idle: Duration,
}

/// A tunnel whose request is over and counted.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) switched: Switched,
    /// Counts it at this node for as long as it lasts, as the backend does.
    pub(crate) under_way: Option<UnderWay>,
    /// What the client sent behind its request.
    pub(crate) ahead: Buffer,
    pub(crate) started: Instant,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// The request's line in the access log, to be finished with the tunnel.
    pub(crate) line: Option<Box<Access<'static>>>,
    /// What is told of the request to a collector of traces, likewise.
    pub(crate) traced: Option<Box<Sampled>>,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Both sides ended their way.
    Complete,
    ClientGone,
    BackendGone,
    /// Nothing moved for too long.
    Idle,
    /// The config no longer has the backend.
    Removed,
    /// The drain's time is over.
    Drained,
}

/// Whether `request` asks for a switch that is passed on: one with a body is answered like any other, because where
/// the body ends and the tunnel begins two readers may see differently.
pub(crate) fn asks(request: &RequestHead) -> bool {
    request.body() == BodyKind::None && request.upgrade().is_some()
}

/// Whether `request` came as an extended CONNECT: over HTTP/2 nothing else has an Upgrade.
pub(crate) fn is_extended(request: &RequestHead) -> bool {
    request.version() == Version::Http2 && request.fields().has(Known::Upgrade)
}

/// Whether it is one for a protocol that nobody here knows how to begin over HTTP/1.1.
pub(crate) fn is_of_unknown_protocol(request: &RequestHead) -> bool {
    let name = request.fields().value(Known::Upgrade);
    is_extended(request) && !name.is_some_and(websocket::is_named)
}

/// Whether a 101 switches to something that `request` asked for (RFC 9110, 7.8). Whoever asked for WebSocket sees to
/// it that its own key is accepted; where the key is ours, so do we.
pub(crate) fn accepts(request: &RequestHead, answer: &ResponseHead) -> bool {
    let (Some(asked), Some(chosen)) = (request.upgrade(), answer.upgrade()) else {
        return false;
    };
    let asked_for = |protocol: &[u8]| {
        members(asked.as_bytes()).any(|offered| offered.eq_ignore_ascii_case(protocol))
    };
    let mut chosen = members(chosen.as_bytes());
    let asked = asks(request) && chosen.next().is_some_and(asked_for) && chosen.all(asked_for);
    asked && (!is_extended(request) || accepts_key(request, answer))
}

fn accepts_key(request: &RequestHead, answer: &ResponseHead) -> bool {
    let accept = websocket::key_of(request).map(websocket::accept);
    accept.is_some_and(|accept| answer.fields().named(websocket::ACCEPT) == Some(accept.as_bytes()))
}

/// Passes bytes until both ways have ended or something ends the tunnel, and records it.
pub(crate) async fn run(mut client: Client, tunnel: Box<Tunnel>) {
    let Tunnel {
        mut switched,
        under_way: _until_its_end,
        ahead,
        started,
        metrics,
        line,
        traced,
    } = *tunnel;
    let worker = client.worker.clone();
    let (mut up, mut down) = (Flow::starting_with(ahead), Flow::default());
    client.deadline.set_tunnel(switched.idle);
    // Each of its directions ends by itself.
    client.stays = false;
    let end = poll_fn(|cx| {
        if switched.in_flight.backend().is_removed() {
            return Poll::Ready(End::Removed);
        }
        let before = up.moved + down.moved;
        let (stream, backend) = (&mut client.stream, &mut switched.backend);
        let ended = match (
            up.poll(stream, backend, &worker.large, cx),
            down.poll(backend, stream, &worker.large, cx),
        ) {
            (Poll::Ready(Err(Gone::Source)), _) | (_, Poll::Ready(Err(Gone::Sink))) => {
                return Poll::Ready(End::ClientGone);
            }
            (Poll::Ready(Err(Gone::Sink)), _) | (_, Poll::Ready(Err(Gone::Source))) => {
                return Poll::Ready(End::BackendGone);
            }
            (up, down) => up.is_ready() && down.is_ready(),
        };
        if up.moved + down.moved != before {
            client.deadline.set_tunnel(switched.idle);
        }
        match ended {
            true => Poll::Ready(End::Complete),
            // It may have taken the stream back while nothing can be passed on from it.
            false if client.poll_gone::<()>(cx).is_ready() => Poll::Ready(End::ClientGone),
            false if !client.deadline.poll_expired(cx) => Poll::Pending,
            false if worker.is_draining() => Poll::Ready(End::Drained),
            false => Poll::Ready(End::Idle),
        }
    });
    let end = end.await;
    if end == End::ClientGone {
        switched.backend.reset_on_drop();
    }
    metrics.moved(up.moved, down.moved);
    if let (Some(log), Some(mut line)) = (&worker.access_log, line) {
        line.total = Some(started.elapsed());
        line.received += up.moved;
        line.sent += down.moved;
        line.reason = end.name();
        log.record(&line);
    }
    if let (Some(tracer), Some(mut traced)) = (&worker.shared.tracer, traced) {
        trace::tunnelled(&mut traced, started.elapsed(), end.name());
        tracer.record(traced);
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::BackendGone => "connection_terminated",
            Self::Idle => "tunnel_idle",
            Self::Removed => "backend_removed",
            Self::Drained => "drained",
        }
    }
}

/// Which end of a flow broke.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Source,
    Sink,
}

/// One way of a tunnel.
#[derive(Debug, Default)]
struct Flow {
    /// There only while bytes are in it.
    held: Option<LargeBuffer>,
    state: FlowState,
    moved: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FlowState {
    #[default]
    Open,
    /// The source has ended; the sink is to be told.
    Ending,
    Ended,
}

impl Flow {
    fn starting_with(ahead: Buffer) -> Self {
        Self {
            held: (!ahead.is_empty()).then_some(LargeBuffer(ahead)),
            ..Self::default()
        }
    }

    /// Moves what can be moved; ready when the source has ended and the sink knows.
    fn poll(
        &mut self,
        source: &mut Stream,
        sink: &mut Stream,
        buffers: &FreeList<LargeBuffer>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        loop {
            if let Some(held) = &mut self.held {
                let filled = held.0.filled();
                let n = ready!(poll_write_two(sink, cx, filled, &[])).map_err(|_| Gone::Sink)?;
                held.0.consume(n);
                self.moved += n as u64;
                if held.0.is_empty()
                    && let Some(empty) = self.held.take()
                {
                    buffers.give(empty);
                }
                continue;
            }
            match self.state {
                FlowState::Open => self.fill(ready!(poll_take(source, buffers, cx))?),
                FlowState::Ending => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(|_| Gone::Sink)?;
                    self.state = FlowState::Ended;
                }
                FlowState::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn fill(&mut self, taken: Option<LargeBuffer>) {
        match taken {
            Some(buffer) => self.held = Some(buffer),
            None => self.state = FlowState::Ending,
        }
    }
}

/// Reads once, into a buffer that is taken when there is something to read; none at the end.
fn poll_take(
    source: &mut Stream,
    buffers: &FreeList<LargeBuffer>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<LargeBuffer>, Gone>> {
    // An error shows when it is read.
    let _ = ready!(source.poll_read_ready(cx));
    let mut buffer = buffers.lease();
    match ready!(buffer.0.poll_fill(source, cx)) {
        Ok(0) => Poll::Ready(Ok(None)),
        Ok(_) => Poll::Ready(Ok(Some(buffer.keep()))),
        Err(_) => Poll::Ready(Err(Gone::Source)),
    }
}
