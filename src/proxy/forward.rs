//! One try: a request given to one backend, over one connection that is reused or new.
//!
//! Body and answer move at the same time, each at the pace of its slower side; the answer decides when the try ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;

use super::connection::Client;
use super::dial;
use super::download::{self, Answered, Manner, Progress};
use super::exchange::Exchange;
use super::failure::Failure;
use super::record::Record;
use super::transfer::poll_write_two;
use super::upload::{self, Cut, Unsent, Upload};
use crate::backend::Backend;
use crate::routing::PoolEntry;
use crate::wire::http1::{Forward, encode_request};

/// A request under way, as the tries see it.
pub(crate) struct Job<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) exchange: &'a mut Exchange,
    pub(crate) upload: &'a mut Upload,
    pub(crate) record: &'a Record,
    pub(crate) request_id: &'a str,
    /// The revision to name in the answer, if the listener says so.
    pub(crate) revision: Option<u64>,
    /// Whether doing it twice is doing it once (RFC 9110, 9.2.2).
    pub(crate) idempotent: bool,
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
    fn unsent(failure: Failure) -> Self {
        Self::Failed {
            failure,
            sent: false,
            ambiguous: false,
        }
    }
}

/// Gives the request to `backend`.
pub(crate) async fn attempt(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
) -> Result<Answered, Lost> {
    // Kept to the end of the answer's body.
    let _in_flight = backend.begin();
    let worker = job.client.worker.clone();
    if let Some(mut connection) = dial::reuse(&worker, backend, job.record.started) {
        // What cannot be sent twice is not sent into a connection that has ended unnoticed.
        let repeatable = job.idempotent && job.upload.is_whole();
        if repeatable || dial::is_open_and_empty(&connection) {
            let progress = Progress::default();
            let result = converse(job, pool, backend, &mut connection, &progress).await;
            if !died_idle(&result, &progress, job) {
                return settle(result, pool, backend, connection, job);
            }
        }
    }
    let mut connection = dial::connect(pool, backend, &job.client.deadline, job.record)
        .await
        .map_err(|failure| failed(backend, Lost::unsent(failure)))?;
    let result = converse(job, pool, backend, &mut connection, &Progress::default()).await;
    settle(result, pool, backend, connection, job)
}

/// Whether a reused connection was dead before this request: its end is nobody's failure, and the request is sent
/// once more over a fresh one. Not if it cannot be repeated and the backend may have seen it.
fn died_idle(result: &Result<Answered, Lost>, progress: &Progress, job: &Job<'_>) -> bool {
    match result {
        Err(Lost::Failed {
            failure: Failure::BackendGone,
            sent,
            ..
        }) => !progress.heard.get() && !job.upload.begun && (job.idempotent || !sent),
        _ => false,
    }
}

fn settle(
    result: Result<Answered, Lost>,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    connection: TcpStream,
    job: &Job<'_>,
) -> Result<Answered, Lost> {
    let answered = result.map_err(|lost| failed(backend, lost))?;
    if let Some(first_byte) = job.record.first_byte.get() {
        backend.metrics().answered(
            answered.status,
            first_byte.saturating_duration_since(job.record.started),
        );
    }
    if answered.reusable {
        job.client
            .worker
            .idle
            .put(backend, connection, answered.at, pool.timeouts.idle);
    }
    Ok(answered)
}

fn failed(backend: &Backend, lost: Lost) -> Lost {
    if let Lost::Failed { failure, .. } = lost
        && let Some(error) = failure.of_backend()
    {
        backend.metrics().failed(error);
    }
    lost
}

/// Sends the request over `connection` and passes the answer on.
async fn converse(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    connection: &mut TcpStream,
    progress: &Progress,
) -> Result<Answered, Lost> {
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
    Ok(Answered {
        reusable: answered.reusable && uploaded,
        close: answered.close || !uploaded,
        ..answered
    })
}

/// Writes the head for `backend`.
fn encode(job: &Job<'_>, backend: &Backend, out: &mut Vec<u8>) {
    let Exchange { request, peer, .. } = &*job.exchange;
    let host = if request.authority().is_empty() {
        backend.address.to_string()
    } else {
        String::new()
    };
    let forward = Forward {
        client: peer,
        https: false,
        trusted: job.client.listener.trusts(job.client.peer),
        host: &host,
        request_id: job.request_id,
        upgrade: false,
    };
    encode_request(request, &forward, out);
}

/// Writes head and what came of the body, once. Tells how many bytes went.
async fn send(
    job: &Job<'_>,
    pool: &PoolEntry,
    backend: &Backend,
    connection: &mut TcpStream,
    head: &[u8],
) -> Result<usize, Lost> {
    let prefix = job.upload.prefix(&job.exchange.inbound);
    let deadline = &job.client.deadline;
    deadline.set(pool.timeouts.stream_idle);
    let written = deadline.bound(|cx| {
        // Read behind the last await before the first byte: whoever waits for a change to be applied may rely on it.
        if !backend.admits() {
            return Poll::Ready(Err(Lost::Closed));
        }
        poll_write_two(connection, cx, head, prefix).map_err(|_| Lost::unsent(Failure::BackendGone))
    });
    written
        .await
        .unwrap_or(Err(Lost::unsent(Failure::WriteTimeout)))
}

/// Moves the rest of the body and the answer at the same time, until the answer has ended. Also tells whether the
/// body went whole.
async fn move_both(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    connection: &mut TcpStream,
    progress: &Progress,
    unsent: Unsent<'_>,
) -> Result<(Answered, bool), Failure> {
    let Client {
        worker,
        stream,
        deadline,
        ..
    } = &mut *job.client;
    let (deadline, record) = (&*deadline, job.record);
    let exchange = &mut *job.exchange;
    let (mut client_read, mut client_write) = stream.split();
    let (mut backend_read, mut backend_write) = connection.split();
    let manner = Manner {
        revision: job.revision,
        answer_within: pool.timeouts.response_headers,
        idle: pool.timeouts.stream_idle,
    };
    let sent = unsent.head.is_empty()
        && unsent.of_prefix == job.upload.prefix(&exchange.inbound).len()
        && job.upload.is_whole();
    let mut uploaded = sent.then_some(Ok(()));
    if sent {
        deadline.set(manner.answer_within);
        exchange.give_room(&worker.buffers);
    }
    let down = download::Way {
        backend: &mut backend_read,
        client: &mut client_write,
        deadline,
        record,
        progress,
        worker,
    };
    let waits_for_client = Cell::new(false);
    let up = upload::Way {
        client: &mut client_read,
        backend: &mut backend_write,
        deadline,
        idle: manner.idle,
        record,
        waits: &waits_for_client,
    };
    let down = download::run(&exchange.request, manner, down);
    let up = upload::run(job.upload, unsent, &mut exchange.inbound, up);
    let (mut down, mut up) = (pin!(down), pin!(up));
    let answered = poll_fn(|cx| {
        if uploaded.is_none()
            && let Poll::Ready(result) = up.as_mut().poll(cx)
        {
            if let Err(Cut::Client(failure)) = result {
                return Poll::Ready(Err(failure));
            }
            if result.is_ok() && !progress.answering.get() {
                deadline.set(manner.answer_within);
            }
            // A backend that reads no more may have answered all the same.
            uploaded = Some(result);
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
fn late(progress: &Progress, uploaded: bool, waits_for_client: bool) -> Failure {
    match (progress.answering.get(), uploaded) {
        (true, _) => Failure::Stalled,
        (false, true) => Failure::AnswerTimeout,
        (false, false) if waits_for_client => Failure::BodyTimeout,
        (false, false) => Failure::WriteTimeout,
    }
}
