//! One try: a request given to one backend, over one connection that is reused or new.
//!
//! Body and answer move at the same time, each at the pace of its slower side; the answer decides when the try ends.

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
use super::upload::{self, Cut, Upload};
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
        if job.idempotent || dial::is_open_and_empty(&connection) {
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
    let Job {
        client,
        exchange,
        upload,
        record,
        ..
    } = job;
    let Client {
        worker,
        stream,
        deadline,
        listener,
        peer,
    } = &mut **client;
    let (deadline, upload) = (&*deadline, &mut **upload);
    let Exchange {
        inbound,
        outbound,
        request,
        response,
        to_backend,
        to_client,
        peer: peer_text,
    } = &mut **exchange;
    let (mut client_read, mut client_write) = stream.split();
    let (mut backend_read, mut backend_write) = connection.split();

    let host = if request.authority().is_empty() {
        backend.address.to_string()
    } else {
        String::new()
    };
    let forward = Forward {
        client: peer_text,
        https: false,
        trusted: listener.trusts(*peer),
        host: &host,
        request_id: job.request_id,
        upgrade: false,
    };
    to_backend.clear();
    encode_request(request, &forward, to_backend);
    outbound.clear();
    record.tries.set(record.tries.get() + 1);

    deadline.set(pool.timeouts.stream_idle);
    let first = deadline.bound(|cx| {
        // Read behind the last await before the first byte: whoever waits for a change to be applied may rely on it.
        if !backend.admits() {
            return Poll::Ready(Err(Lost::Closed));
        }
        let written = poll_write_two(&mut backend_write, cx, to_backend, upload.prefix(inbound));
        written.map_err(|_| Lost::unsent(Failure::BackendGone))
    });
    let done = first
        .await
        .unwrap_or(Err(Lost::unsent(Failure::WriteTimeout)))?;

    let manner = Manner {
        revision: job.revision,
        answer_within: pool.timeouts.response_headers,
        idle: pool.timeouts.stream_idle,
    };
    let mut uploaded = None;
    if upload.is_whole() && done == to_backend.len() + upload.prefix(inbound).len() {
        deadline.set(manner.answer_within);
        uploaded = Some(Ok(()));
    }
    let down = download::Way {
        backend: &mut backend_read,
        client: &mut client_write,
        deadline,
        record,
        progress,
        worker,
    };
    let mut down = pin!(download::run(
        request, response, outbound, to_client, manner, down
    ));
    let waits_for_client = std::cell::Cell::new(false);
    let result = {
        let up = upload::Way {
            client: &mut client_read,
            backend: &mut backend_write,
            deadline,
            idle: manner.idle,
            record,
            waits: &waits_for_client,
        };
        let mut up = pin!(upload::run(upload, to_backend, done, inbound, up));
        poll_fn(|cx| {
            if uploaded.is_none()
                && let Poll::Ready(result) = up.as_mut().poll(cx)
            {
                match result {
                    Err(Cut::Client(failure)) => return Poll::Ready(Err(failure)),
                    // Its answer may be there all the same.
                    Err(Cut::Backend) => {}
                    Ok(()) if progress.answering.get() => {}
                    Ok(()) => deadline.set(manner.answer_within),
                }
                uploaded = Some(result);
            }
            if let Poll::Ready(result) = down.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if !deadline.poll_expired(cx) {
                return Poll::Pending;
            }
            Poll::Ready(Err(match uploaded {
                _ if progress.answering.get() => Failure::Stalled,
                Some(_) => Failure::AnswerTimeout,
                None if waits_for_client.get() => Failure::BodyTimeout,
                None => Failure::WriteTimeout,
            }))
        })
        .await
    };
    match result {
        Ok(answered) => {
            let whole = uploaded == Some(Ok(()));
            let close = answered.close || !whole;
            Ok(Answered {
                reusable: answered.reusable && whole,
                close,
                ..answered
            })
        }
        Err(failure) => Err(Lost::Failed {
            failure,
            sent: true,
            ambiguous: progress.ambiguous.get(),
        }),
    }
}
