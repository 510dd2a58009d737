//! Read buffers, and the thread's free list of them.
//!
//! A connection holds a buffer only while something is in it: one that is idle, or waits for its backend, has given
//! it back. The lists are last in, first out, so that under load the same few stay in the cache.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of room in a fresh buffer: a head and a small body in one read.
const SMALL: usize = 16 * 1024;

/// Bytes of room while a large body streams: fewer, larger reads.
const LARGE: usize = 128 * 1024;

/// Bytes read and not yet consumed. The default one has no room at all, and costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(room: usize) -> Self {
        Self {
            bytes: vec![0; room],
            start: 0,
            end: 0,
        }
    }

    /// What was read and not yet consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Forgets the first `n` bytes of what is filled.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Copies what is filled, and clears it.
    pub(crate) fn take_filled(&mut self) -> Box<[u8]> {
        let filled = self.filled().into();
        self.clear();
        filled
    }

    /// Sees to it that there is room, from the free list if need be.
    pub(crate) fn take_room(&mut self, free: &FreeList<Buffer>) {
        if !self.has_room() {
            *self = free.take();
        }
    }

    /// Gives the room back if nothing is in it.
    pub(crate) fn give_room(&mut self, free: &FreeList<Buffer>) {
        if self.is_empty() && self.has_room() {
            free.give(std::mem::take(self));
        }
    }

    /// Makes room for at least one byte: moves what is filled to the front, and doubles up to `limit` when even that
    /// leaves none. False when `limit` bytes are filled.
    pub(crate) fn make_room(&mut self, limit: usize) -> bool {
        if self.end < self.bytes.len() {
            return true;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else if self.bytes.len() < limit {
            self.bytes.resize((self.bytes.len() * 2).min(limit), 0);
        }
        self.end < self.bytes.len()
    }

    /// Reads once into the free room behind what is filled; 0 is the end of the stream, or that there is no room.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll_fill_most(usize::MAX, source, cx)
    }

    /// As [`poll_fill`](Self::poll_fill), but no more than `most` bytes, which are some.
    pub(crate) fn poll_fill_most<R: AsyncRead + Unpin>(
        &mut self,
        most: usize,
        source: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let spare = &mut self.bytes[self.end..];
        let most = most.min(spare.len());
        debug_assert!(most > 0, "nothing read would look like the end");
        let mut spare = ReadBuf::new(&mut spare[..most]);
        ready!(Pin::new(source).poll_read(cx, &mut spare))?;
        let n = spare.filled().len();
        self.end += n;
        Poll::Ready(Ok(n))
    }
}

impl Recycled for Buffer {
    fn fresh() -> Self {
        Self::new(SMALL)
    }

    fn reset(&mut self) {
        self.clear();
        if self.bytes.len() > SMALL {
            self.bytes.truncate(SMALL);
            self.bytes.shrink_to_fit();
        }
    }
}

/// A buffer for large bodies.
#[derive(Debug)]
pub(crate) struct LargeBuffer(pub(crate) Buffer);

impl Recycled for LargeBuffer {
    fn fresh() -> Self {
        Self(Buffer::new(LARGE))
    }

    fn reset(&mut self) {
        self.0.clear();
        if self.0.bytes.len() != LARGE {
            self.0.bytes.resize(LARGE, 0);
        }
    }
}

/// More bytes of room than this in a staging buffer is not kept.
const STAGING_KEPT: usize = 16 * 1024;

impl Recycled for Vec<u8> {
    fn fresh() -> Self {
        Self::new()
    }

    fn reset(&mut self) {
        self.clear();
        self.shrink_to(STAGING_KEPT);
    }
}

/// What a [`FreeList`] holds.
pub(crate) trait Recycled {
    /// When the list has none.
    fn fresh() -> Self;

    /// Makes it as good as fresh, but for what is worth keeping.
    fn reset(&mut self);
}

/// The free items of one thread.
#[derive(Debug)]
pub(crate) struct FreeList<T> {
    free: RefCell<Vec<T>>,
    /// More than this are given back to the allocator.
    kept: usize,
}

impl<T: Recycled> FreeList<T> {
    pub(crate) fn new(kept: usize) -> Self {
        Self {
            free: RefCell::default(),
            kept,
        }
    }

    pub(crate) fn take(&self) -> T {
        let free = self.free.borrow_mut().pop();
        free.unwrap_or_else(T::fresh)
    }

    pub(crate) fn give(&self, mut item: T) {
        let mut free = self.free.borrow_mut();
        if free.len() < self.kept {
            item.reset();
            free.push(item);
        }
    }

    /// As [`take`](Self::take), to be given back when dropped.
    pub(crate) fn lease(&self) -> Lease<'_, T> {
        Lease {
            item: Some(self.take()),
            list: self,
        }
    }
}

/// An item on loan.
#[derive(Debug)]
pub(crate) struct Lease<'a, T: Recycled> {
    /// `None` only while it is dropped or kept.
    item: Option<T>,
    list: &'a FreeList<T>,
}

impl<T: Recycled> Lease<'_, T> {
    /// Keeps the item off the list.
    pub(crate) fn keep(mut self) -> T {
        self.item.take().expect("only drop and `keep` take it")
    }
}

impl<T: Recycled> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect("only drop and `keep` take it")
    }
}

impl<T: Recycled> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("only drop and `keep` take it")
    }
}

impl<T: Recycled> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.list.give(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, mut bytes: &[u8]) -> usize {
        match buffer.poll_fill(
            &mut bytes,
            &mut Context::from_waker(std::task::Waker::noop()),
        ) {
            Poll::Ready(Ok(n)) => n,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn room_is_made_by_moving_before_growing() {
        let mut buffer = Buffer::new(4);
        assert_eq!(fill(&mut buffer, b"abcdef"), 4);
        buffer.consume(3);
        assert!(buffer.make_room(8));
        assert_eq!((buffer.filled(), buffer.bytes.len()), (&b"d"[..], 4));
        fill(&mut buffer, b"efg");
        assert!(buffer.make_room(8));
        assert_eq!((buffer.filled(), buffer.bytes.len()), (&b"defg"[..], 8));
        fill(&mut buffer, b"hijk");
        assert!(!buffer.make_room(8));
    }

    #[test]
    fn a_reset_buffer_is_small_again() {
        let mut buffer = Buffer::new(LARGE);
        fill(&mut buffer, b"abc");
        buffer.reset();
        assert!(buffer.is_empty());
        assert_eq!(buffer.bytes.len(), SMALL);
    }
}
