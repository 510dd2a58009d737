//! The request's body on its way to the backend.
//!
//! The head, and what of the body came with it, are one write. As long as the body fits the buffer that its head was
//! read into (16 KiB), it is kept there, and the request can be sent again elsewhere.

use std::cell::Cell;
use std::future::poll_fn;
use std::time::Duration;

use super::buffers::Buffer;
use super::deadlines::Deadline;
use super::failure::Failure;
use super::record::Record;
use super::splice::{Broken, Moved, Pipes, Splice};
use super::transfer::write_telling;
use crate::wire::body::BodyKind;
use crate::wire::http1::{BodyReader, Refusal};
use crate::wire::stream::{ReadHalf, WriteHalf};

/// How far the body of a request has come.
#[derive(Debug)]
pub(crate) struct Upload {
    reader: BodyReader,
    /// Bytes at the start of the read buffer that belong to the body and are kept.
    prefix: usize,
    /// Bytes of data read so far, without framing.
    pub(crate) data: u64,
    /// As many there may be.
    pub(crate) most: u64,
    /// Whether some of it is not kept any more: the request cannot be sent again.
    pub(crate) spent: bool,
}

impl Upload {
    /// Of a request whose head was just taken from the buffer.
    ///
    /// # Errors
    /// When what came with the head is no such body.
    pub(crate) fn new(kind: BodyKind, inbound: &Buffer) -> Result<Self, Refusal> {
        let mut reader = BodyReader::request(kind);
        let mut data = 0;
        let prefix = if kind == BodyKind::None {
            0
        } else {
            let count = |run: &[u8]| data += run.len() as u64;
            reader.advance_with(inbound.filled(), count)?.consumed
        };
        Ok(Self {
            reader,
            prefix,
            data,
            most: u64::MAX,
            spent: false,
        })
    }

    /// Of a request that is not passed on.
    pub(crate) fn none() -> Self {
        Self {
            reader: BodyReader::request(BodyKind::None),
            prefix: 0,
            data: 0,
            most: u64::MAX,
            spent: false,
        }
    }

    /// The part of the body that is read and kept.
    pub(crate) fn prefix<'a>(&self, inbound: &'a Buffer) -> &'a [u8] {
        &inbound.filled()[..self.prefix]
    }

    /// Whether no more has to be read from the client.
    pub(crate) fn is_whole(&self) -> bool {
        self.reader.is_done()
    }

    /// Sees to room for more behind what is kept, or keeps it no longer; tells whether it is now that it is given up.
    fn make_room(&mut self, inbound: &mut Buffer, record: &Record) -> bool {
        let full = !inbound.make_room(0);
        if full {
            self.spent = true;
            self.forget(inbound, record);
        }
        full
    }

    /// For what is left of a body that is not kept: nothing of it need be read. As long as it says it was allowed to be
    /// when its head came.
    fn splice<'a>(&self, way: &'a Way<'_, '_>) -> Option<Splice<'a>> {
        let left = self.reader.remaining()?;
        Splice::between(way.client, way.backend, left, way.pipes)
    }

    /// What was kept is not needed again.
    pub(crate) fn forget(&mut self, inbound: &mut Buffer, record: &Record) {
        inbound.consume(self.prefix);
        record
            .received
            .set(record.received.get() + self.prefix as u64);
        self.prefix = 0;
    }
}

/// Why the body did not reach the backend whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// By the client, or by what it sent.
    Client(Failure),
    /// The backend reads no more; its answer may be there all the same.
    Backend,
}

/// Where the body goes, and how long it may stand still: whatever is read or written, if only a byte, its time begins
/// anew.
pub(crate) struct Way<'a, 'b> {
    pub(crate) client: &'a mut ReadHalf<'b>,
    pub(crate) backend: &'a mut WriteHalf<'b>,
    pub(crate) deadline: &'a Deadline,
    pub(crate) idle: Duration,
    pub(crate) record: &'a Record,
    pub(crate) pipes: &'a Pipes,
    /// Whether the client is waited for; tells whose fault a timeout is.
    pub(crate) waits: &'a Cell<bool>,
}

/// What the first write left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsent<'a> {
    /// Of the head.
    pub(crate) head: &'a [u8],
    /// How much of the body's prefix did go.
    pub(crate) of_prefix: usize,
}

/// Writes what is left of head and prefix, then reads and writes the rest of the body. Tells whether the client sent
/// more behind it.
pub(crate) async fn run(
    upload: &mut Upload,
    unsent: Unsent<'_>,
    inbound: &mut Buffer,
    way: Way<'_, '_>,
) -> Result<bool, Cut> {
    let moved = |_| way.deadline.set(way.idle);
    let prefix = &upload.prefix(inbound)[unsent.of_prefix..];
    let written = write_telling(way.backend, unsent.head, prefix, moved).await;
    written.map_err(|_| Cut::Backend)?;
    while !upload.reader.is_done() {
        if upload.prefix == inbound.filled().len() {
            if upload.make_room(inbound, way.record)
                && let Some(splice) = upload.splice(&way)
            {
                // Rare enough to have its room elsewhere.
                return Box::pin(pass(upload, splice, &way)).await.map(|()| false);
            }
            way.waits.set(true);
            let read = poll_fn(|cx| inbound.poll_fill(way.client, cx)).await;
            way.waits.set(false);
            if !matches!(read, Ok(1..)) {
                return Err(Cut::Client(Failure::ClientGone));
            }
            way.deadline.set(way.idle);
        }
        let from = upload.prefix;
        let Upload { reader, data, .. } = &mut *upload;
        let count = |run: &[u8]| *data += run.len() as u64;
        let step = reader.advance_with(&inbound.filled()[from..], count);
        let step = step.map_err(|refusal| Cut::Client(Failure::Refused(refusal)))?;
        // Before it is written: a write that fails has the whole of it sent again. And before anything is refused: what
        // is left in the buffer behind the body is read as the next request.
        upload.prefix += step.consumed;
        if upload.data > upload.most {
            return Err(Cut::Client(Failure::BodyTooLarge));
        }
        let piece = &inbound.filled()[from..upload.prefix];
        let written = write_telling(way.backend, piece, &[], moved).await;
        written.map_err(|_| Cut::Backend)?;
        if upload.spent {
            upload.forget(inbound, way.record);
        }
    }
    Ok(upload.prefix < inbound.filled().len())
}

/// Has the kernel pass on what is left of the body.
async fn pass(upload: &mut Upload, mut splice: Splice<'_>, way: &Way<'_, '_>) -> Result<(), Cut> {
    while !splice.is_over() {
        let moved = poll_fn(|cx| {
            let moved = splice.poll_step(cx);
            way.waits.set(moved.is_pending() && splice.awaits_source());
            moved
        });
        let moved = moved.await.map_err(|broken| match broken {
            Broken::SourceEnded | Broken::Source(_) => Cut::Client(Failure::ClientGone),
            Broken::Sink => Cut::Backend,
        })?;
        way.deadline.set(way.idle);
        if let Moved::In(taken) = moved {
            upload.reader.pass(taken as u64);
            upload.data += taken as u64;
            let received = &way.record.received;
            received.set(received.get() + taken as u64);
        }
    }
    Ok(())
}
