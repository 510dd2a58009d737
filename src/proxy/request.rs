//! A request from its first byte to the end of its answer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::connection::{After, Client};
use super::download::Answered;
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::Job;
use super::record::{self, Ending, Path, Record};
use super::respond::{Addressee, refuse};
use super::retry::{self, Unanswered};
use super::upload::Upload;
use crate::routing::RouteEntry;
use crate::wire::head::RequestHead;
use crate::wire::http1::{MAX_HEAD, Parsed, Scan, parse_request};

/// Serves what the client sends until nothing more is there: the next request usually takes its time.
pub(crate) async fn serve(client: &mut Client) -> After {
    let worker = client.worker.clone();
    let mut exchange = worker.exchanges.lease();
    exchange.write_peer(client.peer);
    let after = loop {
        let after = next(client, &mut exchange).await;
        // What was sent ahead is the next request, or its beginning.
        if after != After::Idle || exchange.inbound.is_empty() {
            break after;
        }
    };
    exchange.give_room(&worker.buffers);
    after
}

async fn next(client: &mut Client, exchange: &mut Exchange) -> After {
    match read_head(client, exchange).await {
        Ok(()) => answer(client, exchange).await,
        Err(Unread::Nothing) => After::Waiting,
        Err(Unread::Gone) => After::Close,
        Err(Unread::Failed(failure)) => {
            let record = Record::begin();
            let (status, sent, after) = refuse(client, failure, Addressee::unknown()).await;
            record.sent.set(sent);
            let ending = Ending {
                status,
                reason: failure.name(),
                revision: 0,
            };
            record::refused(&client.worker, client.peer, &record, ending);
            after
        }
    }
}

/// Why there is no head.
enum Unread {
    /// There was nothing to read after all.
    Nothing,
    /// The client left between two requests, or within a head.
    Gone,
    Failed(Failure),
}

/// Reads until the head is whole, and takes it from the buffer. Its time begins with its first byte.
async fn read_head(client: &mut Client, exchange: &mut Exchange) -> Result<(), Unread> {
    let Client {
        stream,
        deadline,
        worker,
        ..
    } = client;
    exchange.make_room(&worker.buffers);
    let Exchange {
        inbound, request, ..
    } = exchange;
    if inbound.is_empty() {
        let first = poll_fn(|cx| Poll::Ready(inbound.poll_fill(stream, cx))).await;
        match first {
            Poll::Pending => return Err(Unread::Nothing),
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0) | Err(_)) => return Err(Unread::Gone),
        }
    }
    deadline.set(worker.shared.timeouts.client_headers);
    let mut scan = Scan::default();
    loop {
        let parsed = parse_request(inbound.filled(), &mut scan, request);
        let parsed = parsed.map_err(|refusal| Unread::Failed(Failure::Refused(refusal)))?;
        if let Parsed::Head { len } = parsed {
            inbound.consume(len);
            return Ok(());
        }
        // One CRLF may stand before it. The parser refuses a head that fills all of this.
        inbound.make_room(MAX_HEAD + 2);
        match deadline.bound(|cx| inbound.poll_fill(stream, cx)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(Unread::Gone),
            Err(_) => return Err(Unread::Failed(Failure::HeadTimeout)),
        }
    }
}

/// Routes the request, has it answered, and records it.
async fn answer(client: &mut Client, exchange: &mut Exchange) -> After {
    let record = Record::begin();
    let worker = client.worker.clone();
    let request_id = worker.request_ids.next();
    let request_id = std::str::from_utf8(&request_id).unwrap_or_default();
    let mut path = Path::default();

    let upload = Upload::new(exchange.request.body(), &exchange.inbound);
    let (mut upload, refused) = match upload {
        Ok(upload) => (upload, None),
        Err(refusal) => (
            Upload::none(),
            Some(Unanswered::unasked(Failure::Refused(refusal))),
        ),
    };
    let mut snapshot = worker.snapshot();
    let (route, result) = loop {
        let request = &exchange.request;
        let route = snapshot.route(request.method(), request.host(), request.path());
        let result = match (refused, route) {
            (Some(refused), _) => Err(refused),
            (None, None) => Err(Unanswered::unasked(Failure::NoRoute)),
            (None, Some(route)) => {
                let job = Job {
                    idempotent: is_idempotent(request.method()),
                    revision: client
                        .listener
                        .revision_header
                        .then_some(snapshot.revision.0),
                    client,
                    exchange,
                    upload: &mut upload,
                    record: &record,
                    request_id,
                };
                forward(job, route, &mut path).await
            }
        };
        // A change may have closed every backend of the snapshot that this request had loaded: then it goes the way
        // of the newer one, as long as no backend has its answer.
        if matches!(result, Err(Unanswered { again: true, .. })) {
            let newer = worker.snapshot();
            if !Rc::ptr_eq(&newer, &snapshot) {
                snapshot = newer;
                continue;
            }
        }
        break (route, result);
    };

    let revision = snapshot.revision.0;
    let whole = refused.is_none() && upload.is_whole();
    upload.forget(&mut exchange.inbound, &record);
    let (status, reason, after, at) = match result {
        Ok(answered) => {
            let after = after(&answered, &exchange.request, whole);
            (answered.status, "complete", after, answered.at)
        }
        Err(lost) => {
            let shown = client.listener.revision_header.then_some(revision);
            let (status, after) = fail(client, exchange, &record, lost, whole, shown).await;
            (status, lost.failure.name(), after, Instant::now())
        }
    };
    let ending = Ending {
        status,
        reason,
        revision,
    };
    let route = route.map(|route| &**route);
    if let Some(route) = route {
        record.count(route, status, at);
    }
    if let Some(log) = &worker.shared.access_log {
        let from = record::client_of(&exchange.request, client.peer, &client.listener);
        log.record(record.access(from, &exchange.request, request_id, route, path, ending));
    }
    after
}

async fn forward(
    mut job: Job<'_>,
    route: &RouteEntry,
    path: &mut Path,
) -> Result<Answered, Unanswered> {
    let Some(pool) = route.pool() else {
        return Err(Unanswered::unasked(Failure::NoBackend));
    };
    if job.client.worker.shared.access_log.is_some() {
        path.pool = Some(pool.name.clone());
    }
    retry::forward(&mut job, route, pool, path).await
}

fn after(answered: &Answered, request: &RequestHead, whole: bool) -> After {
    match answered.close {
        false => After::Idle,
        // It was the client's own wish, and nothing is left to read.
        true if whole && !request.keep_alive() => After::Close,
        true => After::Linger,
    }
}

/// Answers in the backend's place, if the client has not seen any of an answer; else breaks the connection off.
async fn fail(
    client: &mut Client,
    exchange: &mut Exchange,
    record: &Record,
    lost: Unanswered,
    whole: bool,
    revision: Option<u64>,
) -> (u16, After) {
    if record.answered.get() {
        // An interim answer leaves the final one open; whatever follows a final head does not.
        let status = record.status.get();
        return (
            status,
            if lost.ambiguous {
                After::Reset
            } else {
                After::Close
            },
        );
    }
    let request = &exchange.request;
    let to = Addressee {
        version: request.version(),
        head_only: request.method() == "HEAD",
        keep: whole && request.keep_alive() && !matches!(lost.failure, Failure::Refused(_)),
        revision,
    };
    let (status, sent, after) = refuse(client, lost.failure, to).await;
    record.sent.set(sent);
    (status, after)
}

/// RFC 9110, 9.2.2. A method nobody knows is none.
fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}
