//! The backend's answer on its way to the client: interim heads, the head, the body.
//!
//! Each piece is written before the next is read, so a slow client slows its backend and nothing piles up. A small
//! answer is one read and one write.

mod body;
mod way;

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use super::buffers::Buffer;
use super::compress::{self, Encoder};
use super::exchange::Reply;
use super::failure::Failure;
use super::policy::Ruling;
use super::retry::Declining;
use super::upgrade;
use super::worker::Worker;
use crate::config::Policy;
use crate::wire::body::BodyKind;
use crate::wire::field::Known;
use crate::wire::head::{RequestHead, ResponseHead, Version};
use crate::wire::http1::{
    BodyReader, MAX_HEAD, Parsed, Return, Scan, encode_response, parse_response,
};
pub(crate) use way::{Sent, Way};

/// Interim answers to one request. Over HTTP/2 they wait for no window, so this bounds what a client that does not read
/// has waiting for it.
const MOST_INTERIM: usize = 64;

/// How the answer is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    /// What the route does to answers, if anything.
    pub(crate) policy: Option<(&'a Policy, &'a Ruling)>,
    /// The revision to name, if the listener says so.
    pub(crate) revision: Option<u64>,
    /// By which the client comes back to this backend, if it is to be told.
    pub(crate) cookie: Option<&'a str>,
    pub(crate) answer_within: Duration,
    /// Whether the time of a try is bounded.
    pub(crate) bounded_try: bool,
}

/// What came of the answer, while it is under way.
#[derive(Debug, Default)]
pub(crate) struct Progress<'a> {
    /// Which answers to take for failures, if another try may follow.
    pub(crate) declining: Option<&'a Declining<'a>>,
    /// Any byte from the backend.
    pub(crate) heard: Cell<bool>,
    /// The final head is read.
    pub(crate) answering: Cell<bool>,
    /// The client could take what it has for the whole answer, though it is not.
    pub(crate) ambiguous: Cell<bool>,
}

/// An answer that reached the client whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// Whether the connection is a tunnel now.
    pub(crate) switched: bool,
    /// Whether the backend's connection can be used again.
    pub(crate) reusable: bool,
    /// Whether the client's connection ends.
    pub(crate) close: bool,
    /// When the last byte was written.
    pub(crate) at: Instant,
}

/// Reads the answer to `request` and writes it to the client.
pub(crate) async fn run(
    request: &RequestHead,
    manner: &Manner<'_>,
    way: &mut Way<'_, '_>,
) -> Result<Answered, Failure> {
    // Nothing is held while the backend thinks. An error shows when it is read.
    poll_fn(|cx| match way.backend.poll_read_ready(cx) {
        Poll::Ready(_) => Poll::Ready(Ok(())),
        Poll::Pending => way.poll_gone(cx),
    })
    .await?;
    let mut reply = way.worker.replies.lease();
    let Reply {
        inbound: buffer,
        head,
        out,
    } = &mut **reply;
    buffer.take_room(&way.worker.buffers);
    let mut interim = 0;
    loop {
        read_head(request, head, buffer, way).await?;
        if head.status() == 101 {
            return switch(request, head, buffer, out, manner, way).await;
        }
        if upgrade::is_extended(request) && (200..300).contains(&head.status()) {
            return Err(Failure::Unswitched);
        }
        if !head.is_interim() {
            break;
        }
        interim += 1;
        if interim > MOST_INTERIM {
            return Err(Failure::InterimFlood);
        }
        // The deadline stays: an interim answer is no answer, however many there are.
        if request.version() >= Version::Http11 {
            let back = Return {
                client: request.version(),
                close: false,
                upgrade: false,
            };
            out.clear();
            encode_response(head, &back, out);
            way.write_interim(out).await?;
        }
    }
    let now = Instant::now();
    if manner.bounded_try {
        way.deadline.end_try();
    }
    way.deadline.set(way.idle);
    way.record.first_byte.set(Some(now));
    way.record.status.set(head.status());
    way.record.retry_after.set(retry_after(head));
    if let Some(declining) = way.progress.declining
        && !way.record.answered.get()
        && declining.declines(head.status())
    {
        return Err(Failure::Declined(head.status()));
    }
    way.progress.answering.set(true);
    relay(request, head, buffer, out, manner, now, way).await
}

/// Of an answer that tells of a failure: seconds, or a date that is not over (RFC 9110, 10.2.3).
fn retry_after(head: &ResponseHead) -> Option<Duration> {
    if head.status() < 500 && head.status() != 429 {
        return None;
    }
    let told = std::str::from_utf8(head.fields().named("retry-after")?).ok()?;
    let until = || {
        httpdate::parse_http_date(told)
            .ok()?
            .duration_since(SystemTime::now())
            .ok()
    };
    told.parse().ok().map(Duration::from_secs).or_else(until)
}

async fn read_head(
    request: &RequestHead,
    head: &mut ResponseHead,
    buffer: &mut Buffer,
    way: &mut Way<'_, '_>,
) -> Result<(), Failure> {
    let mut scan = Scan::default();
    loop {
        if !buffer.is_empty() {
            match parse_response(buffer.filled(), &mut scan, request.method(), head)
                .map_err(Failure::Malformed)?
            {
                Parsed::Head { len } => {
                    buffer.consume(len);
                    if way.backend.is_http2() {
                        head.set_http2();
                    }
                    return Ok(());
                }
                Parsed::Incomplete => {}
            }
        }
        // The parser refuses a head of that size, so there is room for more of any other.
        buffer.make_room(MAX_HEAD + 1);
        match way.fill(buffer).await? {
            1.. => way.progress.heard.set(true),
            0 => return Err(Failure::BackendGone),
        }
    }
}

/// Passes a 101 on, and what came behind it. Both heads agree on what is switched to.
async fn switch(
    request: &RequestHead,
    head: &mut ResponseHead,
    buffer: &Buffer,
    out: &mut Vec<u8>,
    manner: &Manner<'_>,
    way: &mut Way<'_, '_>,
) -> Result<Answered, Failure> {
    if !upgrade::accepts(request, head) {
        return Err(Failure::UnaskedUpgrade);
    }
    let at = Instant::now();
    way.record.first_byte.set(Some(at));
    way.record.status.set(head.status());
    way.progress.answering.set(true);
    name_revision(head, manner);
    give_cookie(head, manner);
    out.clear();
    let back = Return {
        client: request.version(),
        close: false,
        upgrade: true,
    };
    encode_response(head, &back, out);
    let of_head = out.len();
    way.write_body(of_head, out, buffer.filled()).await?;
    Ok(Answered {
        status: head.status(),
        switched: true,
        reusable: false,
        close: true,
        at,
    })
}

fn name_revision(head: &mut ResponseHead, manner: &Manner<'_>) {
    if let Some(revision) = manner.revision {
        head.fields_mut().skip_named("synod-revision");
        // Digits are a valid value.
        let _ = head
            .fields_mut()
            .append("Synod-Revision", revision.to_string().as_bytes());
    }
}

fn give_cookie(head: &mut ResponseHead, manner: &Manner<'_>) {
    if let Some(cookie) = manner.cookie {
        // A valid value: names that the config takes, and hexadecimal digits.
        let _ = head.fields_mut().append("Set-Cookie", cookie.as_bytes());
    }
}

/// Passes the final head and the body on. The head is read.
async fn relay(
    request: &RequestHead,
    head: &mut ResponseHead,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
    manner: &Manner<'_>,
    now: Instant,
    way: &mut Way<'_, '_>,
) -> Result<Answered, Failure> {
    let (kind, client) = (head.body(), request.version());
    let ends = way.worker.is_draining() || is_early(kind, buffer, way);
    let close = ends || !request.keep_alive() || !kind.delimited_for(client);
    let encoder = edit_answer(request, head, manner, way.worker);
    out.clear();
    let back = Return {
        client,
        close,
        upgrade: false,
    };
    encode_response(head, &back, out);
    let (at, extra) = if let Some(encoder) = encoder {
        // Rare enough to have its room elsewhere.
        let compressing = compress::stream(encoder, kind, buffer, out, way);
        let extra = Box::pin(compressing).await?;
        (Instant::now(), extra)
    } else {
        way.progress.ambiguous.set(!kind.delimited_for(client));
        let mut reader = BodyReader::response(kind);
        let relay = kind.relay(client);
        match body::begin(&mut reader, relay, buffer, out, way).await? {
            true => (now, !buffer.is_empty()),
            false => {
                buffer.give_room(&way.worker.buffers);
                let extra = body::stream(&mut reader, relay, out, way).await?;
                (Instant::now(), extra)
            }
        }
    };
    Ok(Answered {
        status: head.status(),
        switched: false,
        reusable: head.keep_alive() && !extra,
        close,
        at,
    })
}

/// Whether the answer is sure to end before its request does: nobody will read the rest of that, and the connection is
/// closed (RFC 9112, 9.3).
fn is_early(kind: BodyKind, buffer: &Buffer, way: &Way<'_, '_>) -> bool {
    let is_here = match kind {
        BodyKind::None => true,
        BodyKind::Length(length) => length <= buffer.filled().len() as u64,
        BodyKind::Chunked | BodyKind::UntilClose => false,
    };
    is_here && way.upload.get() == Sent::Part
}

/// Makes of the head what the route, the listener and the client are to have; tells what compresses the body, if it is
/// to be.
fn edit_answer(
    request: &RequestHead,
    head: &mut ResponseHead,
    manner: &Manner<'_>,
    worker: &Worker,
) -> Option<Encoder> {
    let mut encoder = None;
    if let Some((policy, ruling)) = manner.policy {
        ruling.edit_answer(policy, head);
        let compress = policy.compress.as_ref();
        encoder = compress.and_then(|policy| compress::begin(policy, request, head, worker));
    }
    name_revision(head, manner);
    give_cookie(head, manner);
    if !head.fields().has(Known::Date) {
        // RFC 9110, 6.6.1: who has a clock adds it for a sender that had none. A date is a valid value.
        worker.date.with(|date| {
            let _ = head.fields_mut().append("Date", date.as_bytes());
        });
    }
    encoder
}
