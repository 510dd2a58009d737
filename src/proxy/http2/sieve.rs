//! Frames on their way to the h2 crate, which are read as they come, and in whose place something else may go on.
//!
//! What is not looked at goes on where it lies. What is looked at as a whole is held back until it is.

use std::io;
use std::task::{Poll, ready};

use tokio::io::ReadBuf;

use super::frame::{HEAD, Head};

/// Bytes that are kept room for when nothing is held back.
const KEPT: usize = 64;

/// What became of bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// So many of them go on.
    pub(super) passed: usize,
    /// So many are done with. If these are more, [`Sieve::instead`] goes on in the place of the others. The rest is to
    /// be read again, with what follows it.
    pub(super) done: usize,
}

/// Who reads the frames.
pub(super) trait Sieve {
    /// What ends the connection.
    type Fault;

    /// Bytes to pass over: what is not looked at of a frame.
    fn skip(&mut self) -> &mut usize;

    /// How many bytes from a frame's head on are looked at; none if they have not come yet, or are to wait.
    fn looked_at(&mut self, head: Head, bytes: &[u8]) -> Result<Option<usize>, Self::Fault>;

    /// Takes these bytes of a frame, or of the frames of a block. Whether something else goes on in their place.
    fn frame(&mut self, head: Head, bytes: &mut [u8]) -> Result<bool, Self::Fault>;

    /// Goes on in the place of what came.
    fn instead(&mut self) -> &mut Vec<u8>;

    fn read(&mut self, bytes: &mut [u8]) -> Result<Share, Self::Fault> {
        let mut at = 0;
        loop {
            let skip = self.skip();
            let skipped = (*skip).min(bytes.len() - at);
            *skip -= skipped;
            at += skipped;
            let rest = &mut bytes[at..];
            let passed = Share {
                passed: at,
                done: at,
            };
            let Some(head) = Head::read(rest) else {
                return Ok(passed);
            };
            let Some(length) = self.looked_at(head, rest)? else {
                return Ok(passed);
            };
            let replaced = self.frame(head, &mut rest[..length])?;
            at += length;
            if replaced {
                return Ok(Share { done: at, ..passed });
            }
        }
    }
}

/// What is between a connection and the h2 crate.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    /// What came, and is not looked at yet, because it is not whole.
    held: Vec<u8>,
    /// What goes on in front of anything else, and how much of it has gone.
    ready: Vec<u8>,
    gone: usize,
}

impl Sifted {
    /// Whether anything is held back.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Forgets what would go on.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.gone = 0;
    }

    /// Has `read` fill `buffer`; behind the start of a frame's head, if that is held back, so that what follows it is
    /// not copied to it. Whether anything came.
    pub(super) fn poll_fill(
        &mut self,
        buffer: &mut ReadBuf<'_>,
        read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        let start = match self.held.len() {
            start @ 1..=HEAD if start < buffer.remaining() => start,
            _ => 0,
        };
        buffer.put_slice(&self.held[..start]);
        let read = read(buffer);
        if buffer.filled().len() == before + start {
            buffer.set_filled(before);
            ready!(read)?;
            return Poll::Ready(Ok(false));
        }
        if start > 0 {
            self.held.clear();
            self.held.shrink_to(KEPT);
        }
        Poll::Ready(Ok(true))
    }

    /// Lets the sieve read what is in `buffer` behind `before`, and leaves there what goes on as it is.
    pub(super) fn sift<S: Sieve>(
        &mut self,
        sieve: &mut S,
        buffer: &mut ReadBuf<'_>,
        before: usize,
    ) -> Result<(), S::Fault> {
        if self.held.is_empty() {
            let bytes = &mut buffer.filled_mut()[before..];
            let share = sieve.read(bytes)?;
            if share.passed == bytes.len() {
                return Ok(());
            }
            self.held.extend_from_slice(&bytes[share.done..]);
            buffer.set_filled(before + share.passed);
            if share.passed == share.done {
                return Ok(());
            }
            self.ready.append(sieve.instead());
        } else {
            self.held.extend_from_slice(&buffer.filled()[before..]);
            buffer.set_filled(before);
        }
        self.sift_held(sieve)
    }

    fn sift_held<S: Sieve>(&mut self, sieve: &mut S) -> Result<(), S::Fault> {
        let mut at = 0;
        loop {
            let bytes = &mut self.held[at..];
            let share = sieve.read(bytes)?;
            self.ready.extend_from_slice(&bytes[..share.passed]);
            at += share.done;
            if share.passed == share.done {
                break;
            }
            self.ready.append(sieve.instead());
        }
        match at == self.held.len() {
            true => self.held = Vec::new(),
            false => drop(self.held.drain(..at)),
        }
        Ok(())
    }

    /// Gives out what is ready; whether there was anything.
    pub(super) fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let ready = &self.ready[self.gone..];
        let n = ready.len().min(buffer.remaining());
        buffer.put_slice(&ready[..n]);
        self.gone += n;
        if self.gone == self.ready.len() {
            (self.ready, self.gone) = (Vec::new(), 0);
        }
        n > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds back what is not whole of ten bytes, and puts `b` in the place of those that begin with `a`.
    #[derive(Default)]
    struct Tens {
        skip: usize,
        instead: Vec<u8>,
    }

    impl Sieve for Tens {
        type Fault = ();

        fn skip(&mut self) -> &mut usize {
            &mut self.skip
        }

        fn looked_at(&mut self, _: Head, bytes: &[u8]) -> Result<Option<usize>, ()> {
            Ok((bytes.len() >= 10).then_some(10))
        }

        fn frame(&mut self, _: Head, bytes: &mut [u8]) -> Result<bool, ()> {
            let replaced = bytes[0] == b'a';
            if replaced {
                self.instead.push(b'b');
            }
            Ok(replaced)
        }

        fn instead(&mut self) -> &mut Vec<u8> {
            &mut self.instead
        }
    }

    #[test]
    fn what_goes_on_is_the_same_in_any_pieces_and_into_any_room() {
        let bytes = b"0123456789axxxxxxxxx0123456789axxxxxxxxxaxxxxxxxxx0123456789";
        for (piece, room) in (1..=bytes.len()).flat_map(|n| [(n, 64), (n, 9), (n, 2)]) {
            let (mut tens, mut sifted, mut out) = (Tens::default(), Sifted::default(), Vec::new());
            let mut left = &bytes[..];
            loop {
                let mut space = vec![0; room];
                let mut buffer = ReadBuf::new(&mut space);
                if !sifted.give(&mut buffer) {
                    let came = sifted.poll_fill(&mut buffer, |buffer| {
                        let n = piece.min(left.len()).min(buffer.remaining());
                        buffer.put_slice(&left[..n]);
                        left = &left[n..];
                        Poll::Ready(Ok(()))
                    });
                    if !matches!(came, Poll::Ready(Ok(true))) {
                        break;
                    }
                    sifted.sift(&mut tens, &mut buffer, 0).unwrap();
                }
                out.extend_from_slice(buffer.filled());
            }
            assert_eq!(out, b"0123456789b0123456789bb0123456789", "{piece} {room}");
            assert!(!sifted.holds() && sifted.held.capacity() <= KEPT);
        }
    }

    #[test]
    fn the_start_of_a_head_is_put_in_front_of_what_follows_and_waits_if_nothing_does() {
        let (mut tens, mut sifted) = (Tens::default(), Sifted::default());
        let mut space = [0; 64];
        let mut buffer = ReadBuf::new(&mut space);
        let mut fill = |sifted: &mut Sifted, buffer: &mut ReadBuf<'_>, bytes: &[u8]| {
            let before = buffer.filled().len();
            let came = sifted.poll_fill(buffer, |buffer| {
                buffer.put_slice(bytes);
                match bytes.is_empty() {
                    true => Poll::Pending,
                    false => Poll::Ready(Ok(())),
                }
            });
            assert_eq!(came.is_pending(), bytes.is_empty());
            sifted.sift(&mut tens, buffer, before).unwrap();
        };
        fill(&mut sifted, &mut buffer, b"0123456789012");
        assert_eq!((buffer.filled().len(), &sifted.held[..]), (10, &b"012"[..]));
        fill(&mut sifted, &mut buffer, b"");
        assert_eq!((buffer.filled().len(), &sifted.held[..]), (10, &b"012"[..]));
        fill(&mut sifted, &mut buffer, b"3456789");
        assert_eq!(buffer.filled(), b"01234567890123456789");
        assert!(!sifted.holds() && sifted.ready.is_empty());
    }
}
