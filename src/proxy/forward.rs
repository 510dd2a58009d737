//! One try: a request given to one backend, over one connection that is reused or new.
//!
//! Body and answer move at the same time, each at the pace of its slower side; the answer decides when the try ends.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::connection::Client;
use super::dial;
use super::download::{self, Answered, Manner, Progress, Sent};
use super::exchange::Exchange;
use super::failure::{Failure, Unheard};
use super::fence::Pass;
use super::policy::Ruling;
use super::proxied::Telling;
use super::record::{Record, client_of};
use super::retry::Declining;
use super::trace::{self, Trace};
use super::transfer::poll_write_two;
use super::upgrade::{self, Switched};
use super::upload::{self, Cut, Unsent, Upload};
use crate::backend::{Answer, Backend, InFlight};
use crate::config::Policy;
use crate::routing::{PoolEntry, RouteEntry};
use crate::wire::http1::{Forward, encode_request};
use crate::wire::stream::Stream;
use crate::wire::websocket;

/// A request under way, as the tries see it.
pub(crate) struct Job<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) exchange: &'a mut Exchange,
    pub(crate) upload: &'a mut Upload,
    pub(crate) record: &'a Record,
    pub(crate) pass: Pass<'a>,
    pub(crate) request_id: &'a str,
    /// The revision to name in the answer, if the listener says so.
    pub(crate) revision: Option<u64>,
    /// Where the backend is put if it switches protocols.
    pub(crate) switched: &'a mut Option<Switched>,
    /// What the route does besides, if anything.
    pub(crate) policy: Option<&'a Policy>,
    /// What that made of the request.
    pub(crate) ruling: &'a Ruling,
    /// Whether doing it twice is doing it once (RFC 9110, 9.2.2).
    pub(crate) idempotent: bool,
    /// Whether the route bounds the time of a try.
    pub(crate) bounded_try: bool,
    /// How long its client waits, if it says so.
    pub(crate) grpc_timeout: Option<Duration>,
    /// Whether the client is at the backend of this try because it was there before.
    pub(crate) sticks: bool,
    /// What brings it back to that backend, if it is to be told.
    pub(crate) cookie: Option<Box<str>>,
}

impl Job<'_> {
    /// The time in which `route` and the client want it done, from its start.
    pub(crate) fn within(&self, route: &RouteEntry) -> Option<Duration> {
        let total = route.timeouts().and_then(|timeouts| timeouts.total);
        total.into_iter().chain(self.grpc_timeout).min()
    }

    /// What is left of that.
    pub(crate) fn left(&self, route: &RouteEntry) -> Option<Duration> {
        let within = self.within(route)?;
        Some(within.saturating_sub(self.record.started.elapsed()))
    }

    /// What X-Real-IP is to say, if the listener says that it is to: whom this proxy takes for the client.
    pub(crate) fn real_ip(&self) -> Option<Cow<'_, str>> {
        let Client { listener, peer, .. } = &*self.client;
        if !listener.real_ip_header {
            return None;
        }
        let client = client_of(&self.exchange.request, *peer, listener);
        Some(match client == *peer {
            true => self.exchange.peer.as_str().into(),
            false => client.to_string().into(),
        })
    }

    /// A failure as it is, or, where the client gave no more time, as nobody else's.
    pub(crate) fn blamed(&self, failure: Failure) -> Failure {
        let spent = self.record.started.elapsed();
        let late = self.grpc_timeout.is_some_and(|timeout| timeout <= spent);
        match failure {
            Failure::ConnectTimeout
            | Failure::WriteTimeout
            | Failure::AnswerTimeout
            | Failure::QueueTimeout
                if late =>
            {
                Failure::DeadlinePassed
            }
            failure => failure,
        }
    }
}

/// Why a try came to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// The backend stopped admitting before the first byte was sent. It saw nothing.
    Closed,
    /// It failed.
    Failed {
        failure: Failure,
        /// Whether the backend may have seen any of the request.
        sent: bool,
        /// The client could take what it has for the whole answer.
        ambiguous: bool,
    },
}

impl Lost {
    fn first_write(failure: Failure, sent: bool) -> Self {
        Self::Failed {
            failure,
            sent,
            ambiguous: false,
        }
    }
}

/// Gives the request to `backend`, where it is in flight to the end of the answer's body.
pub(crate) async fn attempt(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    in_flight: InFlight,
    declining: Option<&Declining<'_>>,
) -> Result<Answered, Lost> {
    let new_progress = || Progress {
        declining,
        ..Progress::default()
    };
    let worker = job.client.worker.clone();
    let telling = pool.proxy_protocol.map(|version| Telling {
        version,
        origin: job.client.origin(),
    });
    if let Some(mut connection) =
        dial::reuse(&worker, pool, backend, telling.as_ref(), job.record.started)
    {
        // What cannot be sent twice is not sent into a connection that has ended unnoticed.
        let repeatable = job.idempotent && job.upload.is_whole();
        if repeatable || connection.is_open_and_empty() {
            let progress = new_progress();
            let result = converse(job, pool, backend, &mut connection, &progress).await;
            match unheard(&result, &progress) {
                None => return settle(result, pool, in_flight, (connection, telling), job),
                Some(_) if job.upload.spent => return result,
                Some(Unheard::MaybeSeen) if !job.idempotent => return result,
                Some(_) => {}
            }
        }
    }
    let mut connection = dial::connect(
        &worker,
        pool,
        backend,
        telling.as_ref(),
        job.client,
        job.record,
    )
    .await
    .map_err(|failure| failed(job, backend, Lost::first_write(failure, false)))?;
    let result = converse(job, pool, backend, &mut connection, &new_progress()).await;
    settle(result, pool, in_flight, (connection, telling), job)
}

fn unheard(result: &Result<Answered, Lost>, progress: &Progress<'_>) -> Option<Unheard> {
    match *result {
        Err(Lost::Failed { failure, sent, .. }) => failure.unheard(sent, progress.heard.get()),
        _ => None,
    }
}

fn settle(
    result: Result<Answered, Lost>,
    pool: &PoolEntry,
    in_flight: InFlight,
    (connection, telling): (Stream, Option<Telling>),
    job: &mut Job<'_>,
) -> Result<Answered, Lost> {
    let backend = in_flight.backend();
    let status = match &result {
        Ok(answered) => Some(answered.status),
        Err(Lost::Failed {
            failure: Failure::Declined(status),
            ..
        }) => Some(*status),
        Err(_) => None,
    };
    if let Some((first_byte, status)) = job.record.first_byte.get().zip(status) {
        backend.answered(Answer {
            status,
            at: first_byte,
            first_byte: first_byte.saturating_duration_since(job.record.asked.get()),
            retry_after: job.record.retry_after.get(),
        });
    }
    if let Err(Lost::Failed { failure, .. }) = &result {
        let waited = || job.record.asked.get().elapsed();
        // Most clients are out of patience before the pool is. In the time given here another connection can be made.
        let left = *failure == Failure::ClientGone && waited() >= pool.timeouts.connect;
        if left || failure.is_timeout() {
            connection.give_up();
        }
    }
    let answered = result.map_err(|lost| failed(job, backend, lost))?;
    if answered.switched {
        *job.switched = Some(Switched {
            backend: connection,
            in_flight,
            idle: pool.timeouts.tunnel_idle,
        });
    } else if answered.reusable && !connection.is_http2() {
        let (worker, at) = (&job.client.worker, answered.at);
        dial::keep(worker, pool, backend, connection, telling, at);
    }
    Ok(answered)
}

fn failed(job: &Job<'_>, backend: &Backend, mut lost: Lost) -> Lost {
    if let Lost::Failed { failure, .. } = &mut lost {
        *failure = job.blamed(*failure);
        if let Some(error) = failure.of_backend() {
            backend.failed(error);
        }
    }
    lost
}

/// Sends the request over `connection` and passes the answer on.
async fn converse(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    connection: &mut Stream,
    progress: &Progress<'_>,
) -> Result<Answered, Lost> {
    let handshake = websocket::key_of(&job.exchange.request).is_some();
    if handshake && !connection.takes_tunnels() {
        return Err(Lost::first_write(Failure::NoTunnels, false));
    }
    let worker = job.client.worker.clone();
    let mut head = worker.staging.lease();
    encode(job, backend, &mut head);
    job.record.tries.set(job.record.tries.get() + 1);
    let written = send(job, pool, backend, connection, &head).await?;
    let of_prefix = written.saturating_sub(head.len());
    // Mostly all of it went, and the buffer is free for others at once.
    let head = (written < head.len()).then_some(head);
    let unsent = Unsent {
        head: head.as_ref().map_or(&[], |head| &head[written..]),
        of_prefix,
    };
    let moved = move_both(job, pool, connection, progress, unsent).await;
    let (answered, uploaded) = moved.map_err(|failure| Lost::Failed {
        failure,
        sent: true,
        ambiguous: progress.ambiguous.get(),
    })?;
    // A body cut off: neither side's next message would begin where it is looked for.
    let apart = uploaded && !job.exchange.request.has_unexpected_content();
    Ok(Answered {
        switched: answered.switched && uploaded,
        reusable: answered.reusable && apart,
        close: answered.close || !uploaded,
        ..answered
    })
}

/// Writes the head for `backend`.
pub(super) fn encode(job: &Job<'_>, backend: &Backend, out: &mut Vec<u8>) {
    let Exchange { request, peer, .. } = &*job.exchange;
    let host = if request.authority().is_empty() {
        backend.address.authority()
    } else {
        String::new()
    };
    let trace = job.record.trace.as_deref();
    let edits = |name| says(job.policy, name);
    let trace = trace.filter(|_| !edits("traceparent")).map(Trace::field);
    let real_ip = job.real_ip().filter(|_| !edits("x-real-ip"));
    let certificate = job.client.certificate().filter(|_| !edits("client-cert"));
    let forward = Forward {
        client: peer,
        https: job.client.stream.is_tls(),
        real_ip: real_ip.as_deref().unwrap_or_default(),
        certificate: certificate.unwrap_or_default(),
        trusted: job.client.listener.trusts(job.client.peer),
        host: &host,
        request_id: job.request_id,
        traceparent: trace::text(trace.as_ref()),
        upgrade: upgrade::asks(request),
        instead: job.ruling.instead(),
    };
    encode_request(request, &forward, out);
}

/// Whether the route itself says what becomes of a field that this proxy would write.
fn says(policy: Option<&Policy>, name: &str) -> bool {
    let edits = policy.and_then(|policy| policy.headers.as_ref());
    edits.is_some_and(|edits| edits.request.names(name))
}

/// Writes head and what came of the body, once. Tells how many bytes went.
async fn send(
    job: &Job<'_>,
    pool: &PoolEntry,
    backend: &Backend,
    connection: &mut Stream,
    head: &[u8],
) -> Result<usize, Lost> {
    let prefix = job.upload.prefix(&job.exchange.inbound);
    let deadline = &job.client.deadline;
    deadline.set(pool.timeouts.stream_idle);
    let written = deadline.bound(|cx| {
        let begun = connection.is_writing();
        // Read behind the last await before the first byte: whoever waits for a change to be applied may rely on it.
        let admits = backend.admits() || job.sticks && backend.admits_stuck();
        if !begun && !admits {
            return Poll::Ready(Err(Lost::Closed));
        }
        if !begun && let Err(failure) = job.pass.check() {
            return Poll::Ready(Err(Lost::first_write(failure, false)));
        }
        poll_write_two(connection, cx, head, prefix)
            .map_err(|error| Lost::first_write(Failure::of_connection(&error), begun))
    });
    match written.await {
        Ok(written) => written,
        Err(_) => Err(Lost::first_write(
            Failure::WriteTimeout,
            connection.is_writing(),
        )),
    }
}

/// Moves the rest of the body and the answer at the same time, until the answer has ended. Also tells whether the
/// body went whole.
async fn move_both(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    connection: &mut Stream,
    progress: &Progress<'_>,
    unsent: Unsent<'_>,
) -> Result<(Answered, bool), Failure> {
    let Client {
        worker,
        stream,
        deadline,
        stays,
        ..
    } = &mut *job.client;
    let (deadline, record) = (&*deadline, job.record);
    let exchange = &mut *job.exchange;
    let (mut client_read, mut client_write) = stream.split();
    let (mut backend_read, mut backend_write) = connection.split();
    let manner = Manner {
        revision: job.revision,
        cookie: job.cookie.as_deref(),
        policy: job.policy.map(|policy| (policy, job.ruling)),
        answer_within: pool.timeouts.response_headers,
        bounded_try: job.bounded_try,
    };
    let sent = unsent.head.is_empty()
        && unsent.of_prefix == job.upload.prefix(&exchange.inbound).len()
        && job.upload.is_whole();
    let mut uploaded = sent.then_some(Ok(()));
    if sent {
        deadline.set(manner.answer_within);
        exchange.inbound.give_room(&worker.buffers);
    }
    let upload = Cell::new(match sent {
        true => Sent::Whole { stays: *stays },
        false => Sent::Part,
    });
    let mut down = download::Way {
        backend: &mut backend_read,
        client: &mut client_write,
        upload: &upload,
        deadline,
        idle: pool.timeouts.stream_idle,
        record,
        progress,
        worker,
    };
    let waits_for_client = Cell::new(false);
    let up = upload::Way {
        client: &mut client_read,
        backend: &mut backend_write,
        deadline,
        idle: pool.timeouts.stream_idle,
        record,
        pipes: &worker.pipes,
        waits: &waits_for_client,
    };
    let mut down = pin!(download::run(&exchange.request, &manner, &mut down));
    let mut up = pin!(upload::run(job.upload, unsent, &mut exchange.inbound, up));
    let answered = poll_fn(|cx| {
        if uploaded.is_none()
            && let Poll::Ready(result) = up.as_mut().poll(cx)
        {
            if let Err(Cut::Client(failure)) = result {
                return Poll::Ready(Err(failure));
            }
            if result.is_ok() && !progress.answering.get() {
                deadline.set(manner.answer_within);
                record.ask_from_now();
            }
            if let Ok(more) = result {
                // What it sent behind may be its last request.
                let stays = *stays && !more;
                upload.set(Sent::Whole { stays });
            }
            // A backend that reads no more may have answered all the same.
            uploaded = Some(result.map(drop));
        }
        match down.as_mut().poll(cx) {
            Poll::Pending if deadline.poll_expired(cx) => {
                let waits = waits_for_client.get();
                Poll::Ready(Err(late(progress, uploaded.is_some(), waits)))
            }
            moved => moved,
        }
    });
    let answered = answered.await?;
    Ok((answered, uploaded == Some(Ok(()))))
}

/// Whose fault it is that nothing moved for too long.
fn late(progress: &Progress<'_>, uploaded: bool, waits_for_client: bool) -> Failure {
    match (progress.answering.get(), uploaded) {
        (true, _) => Failure::Stalled,
        (false, true) => Failure::AnswerTimeout,
        (false, false) if waits_for_client => Failure::BodyTimeout,
        (false, false) => Failure::WriteTimeout,
    }
}
