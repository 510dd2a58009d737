//! The backend's answer on its way to the client: interim heads, the head, the body.
//!
//! Each piece is written before the next is read, so a slow client slows its backend and nothing piles up. A small
//! answer is one read and one write.

use std::cell::Cell;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::buffers::Buffer;
use super::deadlines::Deadline;
use super::exchange::Reply;
use super::failure::Failure;
use super::record::Record;
use super::transfer::write_all;
use super::worker::Worker;
use crate::wire::body::{BodyKind, Relay};
use crate::wire::field::Known;
use crate::wire::head::{RequestHead, ResponseHead, Version};
use crate::wire::http1::{
    BodyReader, MAX_HEAD, Parsed, Return, Scan, Step, encode_response, parse_response,
};

/// Up to so many body bytes are copied behind the head, to go in one plain write.
const COPIED: usize = 4 * 1024;

/// How the answer is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// The revision to name, if the listener says so.
    pub(crate) revision: Option<u64>,
    pub(crate) answer_within: Duration,
    pub(crate) idle: Duration,
}

/// What came of the answer, while it is under way.
#[derive(Debug, Default)]
pub(crate) struct Progress {
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
    /// Whether the backend's connection can be used again.
    pub(crate) reusable: bool,
    /// Whether the client's connection ends.
    pub(crate) close: bool,
    /// When the last byte was written.
    pub(crate) at: Instant,
}

/// The two ends and what is noted.
pub(crate) struct Way<'a, 'b> {
    pub(crate) backend: &'a mut ReadHalf<'b>,
    pub(crate) client: &'a mut WriteHalf<'b>,
    pub(crate) deadline: &'a Deadline,
    pub(crate) record: &'a Record,
    pub(crate) progress: &'a Progress,
    pub(crate) worker: &'a Worker,
}

/// Reads the answer to `request` and writes it to the client.
pub(crate) async fn run(
    request: &RequestHead,
    manner: Manner,
    mut way: Way<'_, '_>,
) -> Result<Answered, Failure> {
    // Nothing is held while the backend thinks. An error shows when it is read.
    let _ = poll_fn(|cx| way.backend.as_ref().poll_read_ready(cx)).await;
    let mut reply = way.worker.replies.lease();
    let Reply {
        inbound: buffer,
        head,
        out,
    } = &mut **reply;
    loop {
        read_head(request, head, buffer, &mut way).await?;
        if head.status() == 101 {
            // Nobody asked: Upgrade is not passed on.
            return Err(Failure::BackendGone);
        }
        if !head.is_interim() {
            break;
        }
        way.deadline.set(manner.answer_within);
        if request.version() == Version::Http11 {
            let back = Return {
                client: Version::Http11,
                close: false,
                upgrade: false,
            };
            out.clear();
            encode_response(head, &back, out);
            way.write(out, &[]).await?;
        }
    }
    let now = Instant::now();
    way.record.first_byte.set(Some(now));
    way.record.status.set(head.status());
    way.progress.answering.set(true);
    relay(request, head, buffer, out, manner, now, way).await
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
                    return Ok(());
                }
                Parsed::Incomplete => {}
            }
        }
        // The parser refuses a head of that size, so there is room for more of any other.
        buffer.make_room(MAX_HEAD + 1);
        match poll_fn(|cx| buffer.poll_fill(way.backend, cx)).await {
            Ok(1..) => way.progress.heard.set(true),
            Ok(0) | Err(_) => return Err(Failure::BackendGone),
        }
    }
}

/// Passes the final head and the body on. The head is read.
async fn relay(
    request: &RequestHead,
    head: &mut ResponseHead,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
    manner: Manner,
    now: Instant,
    mut way: Way<'_, '_>,
) -> Result<Answered, Failure> {
    let (kind, client) = (head.body(), request.version());
    let relay = kind.relay(client);
    let draining = way.worker.is_draining();
    let close = draining || !request.keep_alive() || !kind.delimited_for(client);
    if let Some(revision) = manner.revision {
        head.fields_mut().skip_named("synod-revision");
        // Digits are a valid value.
        let _ = head
            .fields_mut()
            .append("Synod-Revision", revision.to_string().as_bytes());
    }
    if head.fields().value(Known::Date).is_none() {
        // RFC 9110, 6.6.1: who has a clock adds it for a sender that had none. A date is a valid value.
        way.worker.date.with(|date| {
            let _ = head.fields_mut().append("Date", date.as_bytes());
        });
    }
    out.clear();
    let back = Return {
        client,
        close,
        upgrade: false,
    };
    encode_response(head, &back, out);
    let mut reader = BodyReader::response(kind);
    let step = take(&mut reader, buffer, relay, out)?;
    let mut behind = if relay == Relay::Pass {
        step.consumed
    } else {
        0
    };
    if behind <= COPIED {
        out.extend_from_slice(&buffer.filled()[..behind]);
        behind = 0;
    }
    way.write(out, &buffer.filled()[..behind]).await?;
    way.sent(step.consumed);
    buffer.consume(step.consumed);
    let (at, extra) = if step.done {
        (now, !buffer.is_empty())
    } else {
        let to_the_end = kind == BodyKind::UntilClose && client == Version::Http10;
        let hidden = relay == Relay::Dechunk || to_the_end;
        way.progress.ambiguous.set(hidden);
        let extra = stream(&mut reader, relay, out, manner.idle, way).await?;
        (Instant::now(), extra)
    };
    Ok(Answered {
        status: head.status(),
        reusable: head.keep_alive() && !extra,
        close,
        at,
    })
}

/// Passes the rest of a body on, which did not come with its head. Tells whether more than the body was read.
async fn stream(
    reader: &mut BodyReader,
    relay: Relay,
    out: &mut Vec<u8>,
    idle: Duration,
    mut way: Way<'_, '_>,
) -> Result<bool, Failure> {
    let mut large = way.worker.large.lease();
    let buffer = &mut large.0;
    loop {
        way.deadline.set(idle);
        out.clear();
        let step = match poll_fn(|cx| buffer.poll_fill(way.backend, cx)).await {
            Ok(0) => {
                reader.end(relay, out).map_err(|_| Failure::BackendGone)?;
                Step {
                    consumed: 0,
                    done: true,
                }
            }
            Ok(_) => take(reader, buffer, relay, out)?,
            Err(_) => return Err(Failure::BackendGone),
        };
        let piece = if relay == Relay::Pass {
            &buffer.filled()[..step.consumed]
        } else {
            &[]
        };
        way.deadline.set(idle);
        way.write(out, piece).await?;
        way.sent(step.consumed);
        buffer.consume(step.consumed);
        if step.done {
            return Ok(!buffer.is_empty());
        }
    }
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

impl Way<'_, '_> {
    async fn write(&mut self, first: &[u8], second: &[u8]) -> Result<(), Failure> {
        self.record.answered.set(true);
        write_all(self.client, first, second)
            .await
            .map_err(|_| Failure::ClientGone)
    }

    fn sent(&self, n: usize) {
        self.record.sent.set(self.record.sent.get() + n as u64);
    }
}
