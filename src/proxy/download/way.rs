//! Between the backend and the client: an answer is read here, and written, with its time and its count.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Progress;
use crate::proxy::buffers::{Buffer, LargeBuffer, Lease};
use crate::proxy::deadlines::Deadline;
use crate::proxy::failure::Failure;
use crate::proxy::record::Record;
use crate::proxy::splice::Splice;
use crate::proxy::transfer::{write_all, write_telling};
use crate::proxy::worker::Worker;
use crate::wire::stream::{ReadHalf, WriteHalf};

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Some of its body is to go. It is the upload that sees the client's end, behind all that it sent.
    Part,
    /// All has gone, and the client [may send more](crate::proxy::connection::Client::stays), or may not.
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

impl<'a> Way<'a, '_> {
    pub(super) fn splice(&self, left: u64) -> Option<Splice<'_>> {
        Splice::between(self.backend, self.client, left, &self.worker.pipes)
    }

    /// Reads the next piece of a body, as much as the client has room for; nothing of it is its end. While either side
    /// is waited for, no buffer is held, nor room that others could use.
    pub(super) async fn next(&mut self) -> Result<(Lease<'a, LargeBuffer>, usize), Failure> {
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
    pub(crate) async fn fill(&mut self, buffer: &mut Buffer) -> Result<usize, Failure> {
        poll_fn(|cx| self.poll_fill(buffer, cx)).await
    }

    /// As [`fill`](Self::fill), of what is there.
    pub(crate) fn poll_fill(
        &mut self,
        buffer: &mut Buffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Failure>> {
        match buffer.poll_fill(self.backend, cx) {
            Poll::Ready(read) => Poll::Ready(read.map_err(|error| Failure::of_connection(&error))),
            Poll::Pending => self.poll_gone(cx),
        }
    }

    pub(super) fn poll_gone<T>(&self, cx: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        let stays = self.upload.get() == Sent::Whole { stays: true };
        let gone = self.client.poll_gone(stays, cx);
        gone.map(|()| Err(Failure::ClientGone))
    }

    /// Writes an interim answer.
    pub(super) async fn write_interim(&mut self, head: &[u8]) -> Result<(), Failure> {
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
    pub(crate) async fn write_body(
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

    pub(super) fn sent(&self, n: usize) {
        self.record.sent.set(self.record.sent.get() + n as u64);
    }
}
