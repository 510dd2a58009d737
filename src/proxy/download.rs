//! The backend's answer on its way to the client: interim heads, the head, the body.
//!
//! Each piece is written before the next is read, so a slow client slows its backend and nothing piles up. A small
//! answer is one read and one write.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::buffers::{Buffer, LargeBuffer, Lease};
use super::compress::{self, Encoder};
use super::deadlines::Deadline;
use super::exchange::Reply;
use super::failure::Failure;
use super::policy::Ruling;
use super::record::Record;
use super::retry::Declining;
use super::splice::{Broken, Moved, Splice};
use super::transfer::{write_all, write_telling};
use super::upgrade;
use super::worker::Worker;
use crate::config::Policy;
use crate::wire::body::{BodyKind, Relay};
use crate::wire::field::Known;
use crate::wire::head::{RequestHead, ResponseHead, Version};
use crate::wire::http1::{
    BodyReader, MAX_HEAD, Parsed, Return, Scan, Step, encode_response, parse_response,
};
use crate::wire::stream::{ReadHalf, WriteHalf};

/// Up to so many bytes of a body are copied behind the head, to go in one plain write.
const COPIED: usize = 4 * 1024;

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

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Some of its body is to go. It is the upload that sees the client's end, behind all that it sent.
    Part,
    /// All has gone, and the client [may send more](super::connection::Client::stays), or may not.
    Whole { stays: bool },
}

/// The two ends and what is noted.
pub(crate) struct Way<'a, 'b> {
    pub(crate) backend: &'a mut ReadHalf<'b>,
    pub(crate) client: &'a mut WriteHalf<'b>,
    pub(crate) upload: &'a Cell<Sent>,
    pub(crate) deadline: &'a Deadline,
    /// How long a body may stand still: whatever is read or written of it, if only a byte, its time begins anew.
    pub(crate) idle: Duration,
    pub(crate) record: &'a Record,
    pub(crate) progress: &'a Progress<'a>,
    pub(crate) worker: &'a Worker,
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

/// Of an answer that tells of a failure, where it says seconds (a date is for browsers).
fn retry_after(head: &ResponseHead) -> Option<Duration> {
    if head.status() < 500 && head.status() != 429 {
        return None;
    }
    let seconds = std::str::from_utf8(head.fields().named("retry-after")?).ok()?;
    seconds.parse().ok().map(Duration::from_secs)
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
        match begin(&mut reader, relay, buffer, out, way).await? {
            true => (now, !buffer.is_empty()),
            false => {
                buffer.give_room(&way.worker.buffers);
                let extra = stream(&mut reader, relay, out, way).await?;
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

/// Writes the head, which is in `out`, and what came of the body with it. Tells whether that is all.
async fn begin(
    reader: &mut BodyReader,
    relay: Relay,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
    way: &mut Way<'_, '_>,
) -> Result<bool, Failure> {
    let head = out.len();
    let step = take(reader, buffer, relay, out)?;
    let mut behind = match relay {
        Relay::Pass => step.consumed,
        Relay::Chunk | Relay::Dechunk => 0,
    };
    if behind <= COPIED {
        out.extend_from_slice(&buffer.filled()[..behind]);
        behind = 0;
    }
    let behind = &buffer.filled()[..behind];
    way.write_body(head, out, behind).await?;
    buffer.consume(step.consumed);
    Ok(step.done)
}

/// Passes the rest of a body on, which did not come with its head. Tells whether more than the body was read.
async fn stream(
    reader: &mut BodyReader,
    relay: Relay,
    out: &mut Vec<u8>,
    way: &mut Way<'_, '_>,
) -> Result<bool, Failure> {
    let left = reader.remaining().filter(|_| relay == Relay::Pass);
    if let Some(splice) = left.and_then(|left| way.splice(left)) {
        // Rare enough to have its room elsewhere.
        return Box::pin(pass(splice, way)).await.map(|()| false);
    }
    loop {
        out.clear();
        let (piece, read) = way.next().await?;
        let step = match read {
            0 => {
                reader.end(relay, out).map_err(|_| Failure::BackendGone)?;
                Step {
                    consumed: 0,
                    done: true,
                }
            }
            _ => take(reader, &piece.0, relay, out)?,
        };
        let piece = match relay {
            Relay::Pass => &piece.0.filled()[..step.consumed],
            Relay::Chunk | Relay::Dechunk => &[],
        };
        way.write_body(0, out, piece).await?;
        if step.done {
            return Ok(step.consumed < read);
        }
    }
}

/// Has the kernel pass on what is left of a body.
async fn pass(mut splice: Splice<'_>, way: &Way<'_, '_>) -> Result<(), Failure> {
    way.deadline.set(way.idle);
    while !splice.is_over() {
        let moved = poll_fn(|cx| match splice.poll_step(cx) {
            Poll::Ready(moved) => Poll::Ready(moved.map_err(|broken| match broken {
                Broken::SourceEnded => Failure::BackendGone,
                Broken::Source(error) => Failure::of_connection(&error),
                Broken::Sink => Failure::ClientGone,
            })),
            Poll::Pending if splice.awaits_source() => way.poll_gone(cx),
            Poll::Pending => Poll::Pending,
        });
        let moved = moved.await?;
        way.deadline.set(way.idle);
        if let Moved::Out(sent) = moved {
            way.sent(sent);
        }
    }
    Ok(())
}

/// Takes the body's part of what is read; in another form than it came, into `out`.
fn take(
    reader: &mut BodyReader,
    buffer: &Buffer,
    relay: Relay,
    out: &mut Vec<u8>,
) -> Result<Step, Failure> {
    let step = match relay {
        Relay::Pass => reader.advance(buffer.filled()),
        Relay::Chunk | Relay::Dechunk => reader.relay(buffer.filled(), relay, out),
    };
    step.map_err(Failure::Malformed)
}

impl<'a> Way<'a, '_> {
    fn splice(&self, left: u64) -> Option<Splice<'_>> {
        Splice::between(self.backend, self.client, left, &self.worker.pipes)
    }

    /// Reads the next piece of a body, as much as the client has room for; nothing of it is its end. While either side
    /// is waited for, no buffer is held, nor room that others could use.
    async fn next(&mut self) -> Result<(Lease<'a, LargeBuffer>, usize), Failure> {
        poll_fn(|cx| {
            if self.backend.poll_read_ready(cx).is_pending() {
                return self.poll_gone(cx);
            }
            let Poll::Ready(room) = self.client.poll_room(cx) else {
                return self.poll_gone(cx);
            };
            let mut large = self.worker.large.lease();
            match large.0.poll_fill_most(room, self.backend, cx) {
                Poll::Ready(Ok(read)) => Poll::Ready(Ok((large, read))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::of_connection(&error))),
                Poll::Pending => {
                    self.client.leave_room();
                    self.poll_gone(cx)
                }
            }
        })
        .await
    }

    /// Reads from the backend, unless the client gives up while there is nothing.
    pub(super) async fn fill(&mut self, buffer: &mut Buffer) -> Result<usize, Failure> {
        poll_fn(|cx| self.poll_fill(buffer, cx)).await
    }

    /// As [`fill`](Self::fill), of what is there.
    pub(super) fn poll_fill(
        &mut self,
        buffer: &mut Buffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Failure>> {
        match buffer.poll_fill(self.backend, cx) {
            Poll::Ready(read) => Poll::Ready(read.map_err(|error| Failure::of_connection(&error))),
            Poll::Pending => self.poll_gone(cx),
        }
    }

    fn poll_gone<T>(&self, cx: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        let stays = self.upload.get() == Sent::Whole { stays: true };
        let gone = self.client.poll_gone(stays, cx);
        gone.map(|()| Err(Failure::ClientGone))
    }

    /// Writes an interim answer.
    async fn write_interim(&mut self, head: &[u8]) -> Result<(), Failure> {
        self.begin_writing();
        let written = write_all(self.client, head, &[]).await;
        written.map_err(|_| Failure::ClientGone)?;
        self.record.within.set(false);
        Ok(())
    }

    fn begin_writing(&self) {
        self.record.answered.set(true);
        self.record.within.set(true);
    }

    /// Writes a piece of a body, behind `head` bytes of its head, and counts what of it goes. It has its time from now
    /// on, and from each byte that goes.
    pub(super) async fn write_body(
        &mut self,
        head: usize,
        first: &[u8],
        second: &[u8],
    ) -> Result<(), Failure> {
        self.begin_writing();
        self.deadline.set(self.idle);
        let (sent, mut of_head) = (&self.record.sent, head);
        let wrote = |n: usize| {
            self.deadline.set(self.idle);
            sent.set(sent.get() + n.saturating_sub(of_head) as u64);
            of_head = of_head.saturating_sub(n);
        };
        let written = write_telling(self.client, first, second, wrote).await;
        written.map_err(|_| Failure::ClientGone)
    }

    fn sent(&self, n: usize) {
        self.record.sent.set(self.record.sent.get() + n as u64);
    }
}
