//! A request from its first byte to the end of its answer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::asked::{Believed, asked};
use super::connection::{After, Client};
use super::download::Answered;
use super::exchange::Exchange;
use super::failure::Failure;
use super::fence::Pass;
use super::forward::Job;
use super::forward_auth;
use super::forwarded;
use super::grpc;
use super::http2;
use super::injection;
use super::min_revision;
use super::mirror;
use super::overload::{Overload, UnderWay};
use super::policy::{self, Ruling};
use super::rate;
use super::record::{self, Ending, Picked, Record};
use super::respond::{Addressee, refuse};
use super::retry::{self, Unanswered};
use super::sticky;
use super::trace::{self, Trace};
use super::upgrade::{self, Switched, Tunnel};
use super::upload::Upload;
use super::worker::{Loaded, Worker};
use crate::config::{Policy, Revision};
use crate::routing::path::{self, Ambiguous};
use crate::routing::{RouteEntry, Snapshot};
use crate::telemetry::access_log::{Access, Format};
use crate::telemetry::traces::Sampled;
use crate::wire::field::Known;
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
        if !matches!(after, After::Idle) || exchange.inbound.is_empty() {
            break after;
        }
    };
    exchange.inbound.give_room(&worker.buffers);
    after
}

async fn next(client: &mut Client, exchange: &mut Exchange) -> After {
    match read_head(client, exchange).await {
        Ok(()) => answer(client, exchange).await,
        Err(Unread::Nothing) => After::Waiting,
        Err(Unread::Gone) => After::Close,
        // A copy: the buffer is for others again, and such a connection stays for long.
        Err(Unread::Http2) => After::Http2(exchange.inbound.take_filled()),
        Err(Unread::Failed(failure)) => {
            let record = Record::begin();
            let refused = exchange.inbound.filled();
            let to = Addressee {
                grpc: client.stream.is_http2() && grpc::is_spoken_in(refused),
                ..Addressee::unknown()
            };
            let (status, sent, after) = refuse(client, failure, to).await;
            record.sent.set(sent);
            let ending = Ending::failed(status, failure, 0);
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
    /// The client speaks HTTP/2: what is in the buffer begins with its preface.
    Http2,
    Failed(Failure),
}

/// Reads until the head is whole, and takes it from the buffer. Its time begins with its first byte.
async fn read_head(client: &mut Client, exchange: &mut Exchange) -> Result<(), Unread> {
    let Client {
        stream,
        deadline,
        worker,
        begun,
        ..
    } = client;
    exchange.inbound.take_room(&worker.buffers);
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
        let parsed = parsed.map_err(|refusal| match http2::is_preface(inbound.filled()) {
            // Nowhere but at the start: behind a request it would be a second reading of that request's body.
            true if !*begun && !stream.is_tls() => Unread::Http2,
            _ => Unread::Failed(Failure::Refused(refusal)),
        })?;
        if let Parsed::Head { len } = parsed {
            inbound.consume(len);
            *begun = true;
            if stream.is_http2() {
                request.set_http2();
            }
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
    let mut record = Record::begin();
    let worker = client.worker.clone();
    if let Some(tracer) = &worker.shared.tracer {
        record.trace = Some(Trace::begin(tracer, client, &mut exchange.request));
    }
    let request_id = worker.request_ids.next();
    let request_id = std::str::from_utf8(&request_id).unwrap_or_default();
    let mut picked = Picked::default();

    let Prepared {
        mut upload,
        broken,
        mut refused,
        under_way,
    } = prepare(client, exchange);
    if refused.is_none() && exchange.request.fields().has(Known::SynodMinRevision) {
        // Rare enough to have its room elsewhere.
        let waiting = Box::pin(min_revision::wait(client, &exchange.request));
        refused = waiting.await.err();
        record.ask_from_now();
    }
    let mut switched = None;
    let mut ruling = Ruling::default();
    let mut snapshot = worker.snapshot();
    let (route, result) = loop {
        let request = &exchange.request;
        let route = snapshot.route(&asked(request, &Believed::of(request, client)));
        let result = match (refused, route) {
            (Some(refused), _) => Err(Unanswered::unasked(refused)),
            (None, None) => Err(Unanswered::unasked(unmatched(&snapshot))),
            (None, Some(route)) => {
                let ruled = policy::rule(route, client, exchange, &mut upload, &mut ruling);
                let mut job = Job {
                    pass: Pass::default(),
                    idempotent: is_idempotent(exchange.request.method())
                        || route.repeats_any_method(),
                    bounded_try: route.bounds_tries(),
                    revision: client.listener.shown(snapshot.revision.0),
                    grpc_timeout: grpc::timeout(&exchange.request),
                    client,
                    exchange,
                    upload: &mut upload,
                    record: &record,
                    request_id,
                    switched: &mut switched,
                    policy: route.policy(),
                    ruling: &ruling,
                    sticks: false,
                    cookie: None,
                };
                match ruled {
                    None => forward(&mut job, &snapshot, route, &mut picked).await,
                    Some(failure) => Err(Unanswered::unasked(failure)),
                }
            }
        };
        let Some(newer) = newer(&result, &worker, &snapshot) else {
            break (route, result);
        };
        let rate = route.and_then(|route| route.rate());
        let meter = rate.map(|(_, meter)| meter.clone());
        snapshot = newer;
        ruling.undo(exchange, &mut upload, meter);
    };

    let revision = snapshot.revision.0;
    let whole = broken.is_none() && upload.is_whole();
    upload.forget(&mut exchange.inbound, &record);
    let (ending, after, at) = match result {
        Ok(answered) => {
            let after = after(&answered, &exchange.request, whole);
            let ending = Ending::complete(answered.status, revision);
            (ending, after, answered.at)
        }
        Err(lost) => {
            let to = Addressee {
                keep: whole && keeps(&exchange.request, lost.failure),
                revision: client.listener.shown(revision),
                policy: route.and_then(|route| route.policy()),
                ..Addressee::of(&exchange.request, &ruling)
            };
            let (status, after) = fail(client, &record, lost, to).await;
            let ending = Ending::failed(status, lost.failure, revision);
            (ending, after, Instant::now())
        }
    };
    let outcome = Outcome {
        route: route.map(|route| &**route),
        picked,
        request_id,
        at,
        ending,
    };
    let switched = switched.map(|switched| (switched, under_way));
    conclude(client, exchange, &mut record, &outcome, switched, after)
}

/// Why a request that no route matches goes nowhere.
fn unmatched(snapshot: &Snapshot) -> Failure {
    match snapshot.revision {
        // A node that waits for its group, or lost what it knew, must not deny that there is anything.
        Revision(0) => Failure::NoConfig,
        _ => Failure::NoRoute,
    }
}

/// A change may have closed every backend of the snapshot that the request had loaded: then it goes the way of the
/// newer one, as long as no backend has its answer.
fn newer(
    result: &Result<Answered, Unanswered>,
    worker: &Worker,
    loaded: &Rc<Loaded>,
) -> Option<Rc<Loaded>> {
    if !matches!(result, Err(Unanswered { again: true, .. })) {
        return None;
    }
    let newer = worker.snapshot();
    (!Rc::ptr_eq(&newer, loaded)).then_some(newer)
}

/// What there is of a request before it is routed.
struct Prepared {
    upload: Upload,
    /// Why its body cannot be read.
    broken: Option<Failure>,
    /// Why it goes nowhere.
    refused: Option<Failure>,
    /// Counts it until its answer has ended, or the tunnel that it has become.
    under_way: Option<UnderWay>,
}

fn prepare(client: &mut Client, exchange: &mut Exchange) -> Prepared {
    let upload = Upload::new(exchange.request.body(), &exchange.inbound);
    let (upload, broken) = match upload {
        Ok(upload) => (upload, None),
        Err(refusal) => (Upload::none(), Some(Failure::Refused(refusal))),
    };
    // What it sent ahead may be its last request.
    client.stays = exchange.request.keep_alive()
        && exchange.inbound.filled().len() == upload.prefix(&exchange.inbound).len();
    let under_way = client.worker.shared.overload.as_ref().map(Overload::begin);
    let mut refused = broken.or_else(|| unroutable(&mut exchange.request));
    if let Some(None) = under_way {
        refused = refused.or(Some(Failure::Overloaded));
    }
    if client.listener.forwarded_header {
        let https = client.stream.is_tls();
        forwarded::append(&mut exchange.request, &exchange.peer, https);
    }
    // What is appended from here on is taken back if the request goes another way.
    exchange.request.fields_mut().begin_edits();
    Prepared {
        upload,
        broken,
        refused,
        under_way: under_way.flatten(),
    }
}

/// What became of a request.
struct Outcome<'a> {
    route: Option<&'a RouteEntry>,
    picked: Picked,
    request_id: &'a str,
    at: Instant,
    ending: Ending,
}

/// Counts and records what became of the request. The record of a tunnel is made once that has ended.
fn conclude(
    client: &Client,
    exchange: &mut Exchange,
    record: &mut Record,
    outcome: &Outcome<'_>,
    switched: Option<(Switched, Option<UnderWay>)>,
    after: After,
) -> After {
    let (line, traced) = word(client, exchange, record, outcome);
    if let (Some((switched, under_way)), Some(route)) = (switched, outcome.route) {
        let line = line.map(|line| Box::new(line.into_owned()));
        return After::Tunnel(Box::new(Tunnel {
            switched,
            under_way,
            ahead: exchange.take_inbound(),
            started: record.started,
            metrics: route.metrics.clone(),
            line,
            traced,
        }));
    }
    if let (Some(log), Some(line)) = (&client.worker.access_log, line) {
        log.record(&line);
    }
    if let (Some(tracer), Some(traced)) = (&client.worker.shared.tracer, traced) {
        tracer.record(traced);
    }
    after
}

/// Counts what became of the request, and words it for the access log and for the collector of traces.
fn word<'a>(
    client: &Client,
    exchange: &'a Exchange,
    record: &mut Record,
    outcome: &'a Outcome<'a>,
) -> (Option<Access<'a>>, Option<Box<Sampled>>) {
    let Outcome {
        route,
        request_id,
        at,
        ending,
        ..
    } = *outcome;
    match route {
        Some(route) => record.count(route, ending.status, at),
        None => client.worker.shared.listener.unrouted(ending.status),
    }
    let request = &exchange.request;
    let line = client.worker.access_log.as_ref().map(|log| {
        let from = record::client_of(request, client.peer, &client.listener);
        let mut line = record.access(from, request, request_id, route, &outcome.picked, ending);
        if log.format() == Format::Combined {
            record::add_agent(&mut line, request);
        }
        line
    });
    let traced = trace::ended(record, client, exchange, request_id, route, ending);
    (line, traced)
}

async fn forward<'a>(
    job: &mut Job<'a>,
    snapshot: &'a Snapshot,
    route: &'a RouteEntry,
    picked: &mut Picked,
) -> Result<Answered, Unanswered> {
    let (request, now) = (&job.exchange.request, job.record.started);
    let counted = rate::take(route, job.client, request, job.ruling, now);
    counted.map_err(Unanswered::unasked)?;
    job.pass = Pass::of(route, &job.exchange.request).map_err(Unanswered::unasked)?;
    if route.policy().is_some_and(Policy::holds_up) {
        // Rare enough to have its room elsewhere.
        let held = Box::pin(hold_up(job, snapshot, route)).await;
        held.map_err(Unanswered::unasked)?;
        job.record.ask_from_now();
    }
    if let Some(respond) = route.policy().and_then(|policy| policy.respond.as_ref()) {
        let switches = upgrade::is_extended(&job.exchange.request);
        // Any success would be read as the switch of protocols that it asks for.
        let failure = match switches && respond.status < 300 {
            true => Failure::Unswitched,
            false => Failure::Responded(respond.status),
        };
        return Err(Unanswered::unasked(failure));
    }
    let stuck = sticky::pool(snapshot, route, &job.exchange.request);
    let Some(pool) = stuck.or_else(|| snapshot.pool_of(route)) else {
        return Err(Unanswered::unasked(Failure::NoBackend));
    };
    if job.client.worker.access_log.is_some() {
        picked.pool = Some(pool.name.clone());
    }
    let mirror = snapshot.mirror_of(route);
    let copies_later = mirror::begin(job, route, mirror);
    let result = retry::forward(job, route, pool, picked).await;
    if copies_later {
        mirror::finish(job, route, mirror);
    }
    result
}

/// Has the request wait for what the route's policy says, and fails it as that says.
async fn hold_up(
    job: &mut Job<'_>,
    snapshot: &Snapshot,
    route: &RouteEntry,
) -> Result<(), Failure> {
    let Some(policy) = route.policy() else {
        return Ok(());
    };
    if let Some(injection) = &policy.fault_injection {
        let within = job.within(route);
        injection::inject(injection, within, job.client).await?;
    }
    if let Some(auth) = &policy.forward_auth {
        let left = job.left(route);
        forward_auth::ask(auth, left, snapshot.auth_of(route), job).await?;
    }
    Ok(())
}

fn after(answered: &Answered, request: &RequestHead, whole: bool) -> After {
    match answered.close {
        false => After::Idle,
        // It was the client's own wish, and nothing is left to read.
        true if whole && !request.keep_alive() && !request.has_unexpected_content() => After::Close,
        true => After::Linger,
    }
}

/// Answers in the backend's place, behind interim answers too; within an answer, breaks the connection off.
async fn fail(
    client: &mut Client,
    record: &Record,
    lost: Unanswered,
    to: Addressee<'_>,
) -> (u16, After) {
    if record.within.get() {
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
    let (status, sent, after) = refuse(client, lost.failure, to).await;
    record.sent.set(sent);
    (status, after)
}

/// Whether both sides want the connection kept behind the answer to such a failure.
fn keeps(request: &RequestHead, failure: Failure) -> bool {
    request.keep_alive() && !matches!(failure, Failure::Refused(_))
}

/// Why it goes to no route, whichever there are.
fn unroutable(request: &mut RequestHead) -> Option<Failure> {
    let ends = count_forwards(request);
    let unknown = upgrade::is_of_unknown_protocol(request);
    let unknown = unknown.then_some(Failure::UnknownProtocol);
    ends.or(unknown).or_else(|| normalize_path(request))
}

/// Gives the path its normal form, so that whoever reads it behind this proxy reads the same.
fn normalize_path(request: &mut RequestHead) -> Option<Failure> {
    match path::normal(request.path()) {
        Ok(None) => None,
        Ok(Some(normal)) => {
            request.set_path(&normal);
            None
        }
        Err(Ambiguous) => Some(Failure::AmbiguousPath),
    }
}

/// Counts this forwarding where Max-Forwards bounds them (RFC 9110, 7.6.2); the answer, if none is left.
fn count_forwards(request: &mut RequestHead) -> Option<Failure> {
    let left = request.max_forwards()?;
    if let Some(left) = left.checked_sub(1) {
        request.set_max_forwards(left);
        return None;
    }
    Some(match request.method() {
        "TRACE" => Failure::TraceEndsHere,
        _ => Failure::OptionsEndHere,
    })
}

/// RFC 9110, 9.2.2. A method nobody knows is none.
pub(crate) fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}
