//! A request from its first byte to the end of its answer.

use std::fmt::Write;
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
    let mut exchange = worker.exchanges.take().unwrap_or_default();
    exchange.peer.clear();
    // Writing to a String cannot fail.
    let _ = write!(exchange.peer, "{}", client.peer);
    let after = loop {
        let after = next(client, &mut exchange).await;
        // What was sent ahead is the next request, or its beginning.
        if after != After::Idle || exchange.inbound.is_empty() {
            break after;
        }
    };
    exchange.reset();
    worker.exchanges.give(exchange);
    after
}

async fn next(client: &mut Client, exchange: &mut Exchange) -> After {
    client
        .deadline
        .set(client.worker.shared.timeouts.client_headers);
    match read_head(client, exchange).await {
        Ok(()) => answer(client, exchange).await,
        Err(None) => After::Close,
        Err(Some(failure)) => {
            let record = Record::begin();
            let (status, sent, after) =
                refuse(client, exchange, failure, Addressee::unknown()).await;
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

/// Reads until the head is whole, and takes it from the buffer. `None`: the client left between two requests, or
/// said nothing at all.
async fn read_head(client: &mut Client, exchange: &mut Exchange) -> Result<(), Option<Failure>> {
    let Client {
        stream, deadline, ..
    } = client;
    let Exchange {
        inbound, request, ..
    } = exchange;
    let mut scan = Scan::default();
    loop {
        if !inbound.is_empty() {
            let parsed = parse_request(inbound.filled(), &mut scan, request);
            if let Parsed::Head { len } =
                parsed.map_err(|refusal| Some(Failure::Refused(refusal)))?
            {
                inbound.consume(len);
                return Ok(());
            }
        }
        // One CRLF may stand before it. The parser refuses a head that fills all of this.
        inbound.make_room(MAX_HEAD + 2);
        match deadline.bound(|cx| inbound.poll_fill(stream, cx)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(None),
            Err(_) if inbound.is_empty() => return Err(None),
            Err(_) => return Err(Some(Failure::HeadTimeout)),
        }
    }
}

/// Routes the request, has it answered, and records it.
async fn answer(client: &mut Client, exchange: &mut Exchange) -> After {
    let record = Record::begin();
    let worker = client.worker.clone();
    let snapshot = worker.snapshot();
    let revision = snapshot.revision.0;
    let request_id = worker.request_ids.next();
    let request_id = std::str::from_utf8(&request_id).unwrap_or_default();
    let mut path = Path::default();

    let request = &exchange.request;
    let route = snapshot.route(request.method(), request.host(), request.path());
    let upload = Upload::new(request.body(), &exchange.inbound);
    let shown = client.listener.revision_header.then_some(revision);
    let (mut upload, result) = match upload {
        Err(refusal) => (
            None,
            Err(Unanswered {
                failure: Failure::Refused(refusal),
                ambiguous: false,
            }),
        ),
        Ok(mut upload) => {
            let result = match route {
                None => Err(Unanswered {
                    failure: Failure::NoRoute,
                    ambiguous: false,
                }),
                Some(route) => {
                    let job = Job {
                        idempotent: is_idempotent(request.method()),
                        client,
                        exchange,
                        upload: &mut upload,
                        record: &record,
                        request_id,
                        revision: shown,
                    };
                    forward(job, route, &mut path).await
                }
            };
            (Some(upload), result)
        }
    };

    let whole = upload.as_ref().is_some_and(Upload::is_whole);
    if let Some(upload) = &mut upload {
        upload.forget(&mut exchange.inbound, &record);
    }
    let (status, reason, after, at) = match result {
        Ok(answered) => (
            answered.status,
            "complete",
            after(&answered, &exchange.request, whole),
            answered.at,
        ),
        Err(lost) => {
            let (status, after) = fail(client, exchange, &record, lost, whole, shown).await;
            (status, lost.failure.name(), after, Instant::now())
        }
    };
    if let Some(route) = route {
        record.count(route, status, at);
    }
    if let Some(log) = &worker.shared.access_log {
        let request = &exchange.request;
        let from = record::client_of(request, client.peer, &client.listener);
        let ending = Ending {
            status,
            reason,
            revision,
        };
        log.record(record.access(
            from,
            request,
            request_id,
            route.map(|route| &**route),
            path,
            ending,
        ));
    }
    after
}

async fn forward(
    mut job: Job<'_>,
    route: &RouteEntry,
    path: &mut Path,
) -> Result<Answered, Unanswered> {
    let Some(pool) = route.pool() else {
        return Err(Unanswered {
            failure: Failure::NoBackend,
            ambiguous: false,
        });
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
        let status = if record.first_byte.get().is_some() {
            exchange.response.status()
        } else {
            0
        };
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
    let (status, sent, after) = refuse(client, exchange, lost.failure, to).await;
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
