//! The body of an answer on its way to the client, in the form that it came in or that the client reads.

use std::future::poll_fn;
use std::task::Poll;

use super::Way;
use crate::proxy::buffers::Buffer;
use crate::proxy::failure::Failure;
use crate::proxy::splice::{Broken, Moved, Splice};
use crate::wire::body::Relay;
use crate::wire::http1::{BodyReader, Step};

/// Up to so many bytes of a body are copied behind the head, to go in one plain write.
const COPIED: usize = 4 * 1024;

/// Writes the head, which is in `out`, and what came of the body with it. Tells whether that is all.
pub(super) async fn begin(
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
pub(super) async fn stream(
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
