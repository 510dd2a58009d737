//! Asks another service whether a request may go on, and does as it says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::aside::{Aside, Recipient, left};
use super::failure::Failure;
use super::forward::Job;
use super::policy::cors;
use super::retry::{self, Tried};
use super::trace::{self, Callee, Trace};
use crate::backend::InFlight;
use crate::backend::balance::draw;
use crate::config::policy::ForwardAuth;
use crate::routing::PoolEntry;
use crate::wire::field::{Known, KnownSet};
use crate::wire::head::ResponseHead;
use crate::wire::http1::{Forward, Instead, encode_question};

/// Longest body of a refusal.
const MOST_BODY: usize = 64 * 1024;

/// Fields of a refusal that the proxy writes itself.
const OWN: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::ContentLength,
    Known::Date,
    Known::KeepAlive,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Via,
]);

/// What the service answered.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) status: u16,
    /// Names and values.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Recipient for Verdict {
    fn head(&mut self, head: &ResponseHead) {
        self.status = head.status();
        for field in head.fields().iter() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
            if !field.skipped
                && !OWN.contains(field.known)
                && !field.name.eq_ignore_ascii_case(b"proxy-status")
                && let (Ok(name), Ok(value)) = (text(field.name), text(field.value))
            {
                self.fields.push((name, value));
            }
        }
    }

    fn body(&mut self, data: &[u8]) -> bool {
        let fits = self.body.len() + data.len() <= MOST_BODY;
        if fits && !self.lets_pass() {
            self.body.extend_from_slice(data);
        }
        fits || self.lets_pass()
    }
}

impl Verdict {
    /// Whether it has such a field, whatever the case of its letters.
    pub(crate) fn names(&self, name: &str) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|(told, _)| told.eq_ignore_ascii_case(name))
    }

    fn lets_pass(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Returns once the request may go on, with what the service says of it. What it answers instead is left in the ruling.
/// The request's own time may have less `left` than the service is given.
pub(crate) async fn ask(
    auth: &ForwardAuth,
    left: Option<Duration>,
    pool: Option<&Arc<PoolEntry>>,
    job: &mut Job<'_>,
) -> Result<(), Failure> {
    let pool = pool.ok_or(Failure::AuthUnavailable)?;
    let mut verdict = match left {
        None => tries(auth, pool, job).await,
        Some(left) => match timeout(left, tries(auth, pool, job)).await {
            Ok(verdict) => verdict,
            Err(_) => {
                called(job, 0, Some(Failure::AnswerTimeout));
                Err(Failure::AnswerTimeout)
            }
        },
    }?;
    if verdict.lets_pass() {
        take_over(auth, &verdict, job);
        return Ok(());
    }
    let refused = Failure::AuthRefused(verdict.status);
    if job.policy.is_some_and(|policy| policy.cors.is_some()) {
        verdict.fields.retain(|(name, _)| !cors::is_of_it(name));
    }
    // Asked once a request; of a second time the first answer would stand.
    let _ = job.ruling.verdict.set(Box::new(verdict));
    Err(refused)
}

/// Asks backends of `pool` until one answers, as for any request that can be repeated: within the pool's limits, in its
/// queue, and out of its budget.
async fn tries(
    auth: &ForwardAuth,
    pool: &Arc<PoolEntry>,
    job: &mut Job<'_>,
) -> Result<Verdict, Failure> {
    let until = Instant::now() + auth.timeout;
    let mut tried = Tried::default();
    // Kept while the try that it is for is under way.
    let mut leave = None;
    loop {
        let admitting = retry::admit_anywhere(job, pool, draw(), &tried);
        let in_flight = match timeout(left(until), admitting).await {
            Ok(Ok(in_flight)) => in_flight,
            Ok(Err(Some(Failure::ClientGone))) => return Err(Failure::ClientGone),
            Ok(Err(_)) | Err(_) => return Err(Failure::AuthUnavailable),
        };
        let backend = in_flight.backend().key;
        let question = question(auth, pool, in_flight, job, tried.len());
        let mut verdict = Verdict::default();
        let asking = question.ask(&mut verdict, left(until));
        let asked = job.client.while_there(asking).await.and_then(|asked| asked);
        called(job, verdict.status, asked.err());
        let again = match asked {
            Ok(()) => return Ok(verdict),
            Err(Failure::ClientGone) => return Err(Failure::ClientGone),
            // It no longer admits, so the next pick passes it by.
            Err(Failure::NoBackend) => continue,
            Err(failure) => failure.is_connect() || failure.of_backend().is_some(),
        };
        tried.add(backend);
        let more = again && tried.len() < retry::most_tries(pool);
        if !more || !retry::another(pool, tried.keys(), backend) {
            return Err(Failure::AuthUnavailable);
        }
        // The try before is over, and with it its leave.
        drop(leave.take());
        leave = pool.withdraw_retry(Instant::now());
        let pause = retry::backoff(tried.len());
        if leave.is_none() || left(until) <= pause {
            return Err(Failure::AuthUnavailable);
        }
        job.client.while_there(sleep(pause)).await?;
    }
}

fn called(job: &Job<'_>, status: u16, failure: Option<Failure>) {
    let Some(trace) = &job.record.trace else {
        return;
    };
    match failure {
        Some(Failure::NoBackend) => trace.uncalled(),
        _ => trace.called(status, failure, job.record),
    }
}

fn question(
    auth: &ForwardAuth,
    pool: &Arc<PoolEntry>,
    in_flight: InFlight,
    job: &Job<'_>,
    resend: usize,
) -> Aside {
    if let Some(trace) = &job.record.trace {
        let callee = Callee {
            pool,
            backend: in_flight.backend(),
            method: "GET",
            target: &auth.path,
            resend,
        };
        trace.call(callee, job.record);
    }
    let trace = job.record.trace.as_deref().map(Trace::field);
    let real_ip = job.real_ip();
    let forward = Forward {
        client: &job.exchange.peer,
        https: job.client.stream.is_tls(),
        real_ip: real_ip.as_deref().unwrap_or_default(),
        certificate: job.client.certificate().unwrap_or_default(),
        trusted: job.client.listener.trusts(job.client.peer),
        host: &in_flight.backend().address.authority(),
        request_id: job.request_id,
        traceparent: trace::text(trace.as_ref()),
        upgrade: false,
        instead: Instead::default(),
    };
    let mut request = Vec::new();
    encode_question(&job.exchange.request, &forward, &auth.path, &mut request);
    Aside::new(job, pool, in_flight, "GET", request)
}

/// Puts the fields that the route wants of the answer in the place of the request's own.
fn take_over(auth: &ForwardAuth, verdict: &Verdict, job: &mut Job<'_>) {
    let fields = job.exchange.request.fields_mut();
    for name in &auth.answer_headers {
        fields.remove_alike(name);
        let told = |(told, _): &&(String, String)| told.eq_ignore_ascii_case(name);
        for (_, value) in verdict.fields.iter().filter(told) {
            // It was a valid field of an answer.
            let _ = fields.append(name, value.as_bytes());
        }
    }
}
