//! Writing to a socket, the few ways the request path does it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Writes once from `first`, then `second`, as if they were one: a plain write when one of them is empty.
pub(crate) fn poll_write_two<W: AsyncWrite + Unpin>(
    sink: &mut W,
    cx: &mut Context<'_>,
    first: &[u8],
    second: &[u8],
) -> Poll<io::Result<usize>> {
    let sink = Pin::new(sink);
    let written = match (first, second) {
        (all, []) | ([], all) => ready!(sink.poll_write(cx, all))?,
        _ => ready!(sink.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]))?,
    };
    Poll::Ready(if written == 0 {
        Err(io::ErrorKind::WriteZero.into())
    } else {
        Ok(written)
    })
}

/// Writes all of `first`, then all of `second`.
pub(crate) fn write_all<'a, W: AsyncWrite + Unpin>(
    sink: &'a mut W,
    first: &'a [u8],
    second: &'a [u8],
) -> impl Future<Output = io::Result<()>> {
    write_telling(sink, first, second, |_| {})
}

/// As [`write_all`], and tells of each write how many bytes went.
pub(crate) fn write_telling<'a, W: AsyncWrite + Unpin>(
    sink: &'a mut W,
    mut first: &'a [u8],
    mut second: &'a [u8],
    mut wrote: impl FnMut(usize),
) -> impl Future<Output = io::Result<()>> {
    // One closure, for each future within the next holds what it is given once more.
    poll_fn(move |cx| {
        while !(first.is_empty() && second.is_empty()) {
            let n = ready!(poll_write_two(sink, cx, first, second))?;
            wrote(n);
            (first, second) = rest(first, second, n);
        }
        Poll::Ready(Ok(()))
    })
}

/// What is left of the two behind their first `n` bytes.
pub(crate) fn rest<'a>(first: &'a [u8], second: &'a [u8], n: usize) -> (&'a [u8], &'a [u8]) {
    let of_first = n.min(first.len());
    (&first[of_first..], &second[n - of_first..])
}
