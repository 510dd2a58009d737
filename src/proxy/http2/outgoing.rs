//! What is written, followed frame by frame.

use std::io::IoSlice;

use super::frame::{CONTINUATION, END_HEADERS, HEAD, HEADERS, Head, RST_STREAM};

/// Bytes of a RST_STREAM, which is looked at as a whole.
const RESET: usize = HEAD + 4;

/// Where the bytes that were written end among the frames.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Bytes of a frame that are still to come.
    skip: usize,
    /// What has come of the next one.
    part: [u8; RESET],
    has: usize,
    /// Whether a block of fields goes on with the next one.
    within_block: bool,
}

impl Outgoing {
    /// So many bytes come before the first frame.
    pub(super) fn behind(bytes: usize) -> Self {
        Self {
            skip: bytes,
            ..Self::default()
        }
    }

    /// Whether a frame that is written now stands between two others, which may have one between them: those of one
    /// block have none (RFC 9113, 4.3).
    pub(super) fn is_between_frames(&self) -> bool {
        self.skip == 0 && self.has == 0 && !self.within_block
    }

    fn follow(&mut self, head: Head) {
        if matches!(head.kind, HEADERS | CONTINUATION) {
            self.within_block = !head.has(END_HEADERS);
        }
    }

    /// Takes note of the first of these bytes, as [`wrote`](Self::wrote) does.
    pub(super) fn wrote_of(
        &mut self,
        pieces: &[IoSlice<'_>],
        mut written: usize,
        mut tell: impl FnMut(Head, u32),
    ) {
        for piece in pieces {
            let n = written.min(piece.len());
            self.wrote(&piece[..n], &mut tell);
            written -= n;
        }
    }

    /// Takes note of `bytes`, and tells of each frame that begins in them; of a reset with its code.
    pub(super) fn wrote(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Head, u32)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            if self.has == 0
                && let Some((head, code)) = looked_at(bytes)
            {
                tell(head, code);
                self.follow(head);
                self.skip = HEAD + head.length;
                continue;
            }
            self.part[self.has] = bytes[0];
            self.has += 1;
            bytes = &bytes[1..];
            if let Some((head, code)) = looked_at(&self.part[..self.has]) {
                tell(head, code);
                self.follow(head);
                self.skip = HEAD + head.length - self.has;
                self.has = 0;
            }
        }
    }
}

/// The head of a frame, and what it is reset for; none if there is not all of that.
fn looked_at(bytes: &[u8]) -> Option<(Head, u32)> {
    let head = Head::read(bytes)?;
    if head.kind != RST_STREAM {
        return Some((head, 0));
    }
    let code = bytes[HEAD..].first_chunk()?;
    Some((head, u32::from_be_bytes(*code)))
}

#[cfg(test)]
mod tests {
    use super::super::frame::*;
    use super::*;

    #[test]
    fn frames_are_told_of_in_any_pieces() {
        let mut bytes = Vec::new();
        write(&mut bytes, SETTINGS, ACK, 0, &[]);
        write(&mut bytes, HEADERS, END_HEADERS, 1, &[0x88]);
        write(&mut bytes, DATA, END_STREAM, 1, &[9; 300]);
        write(&mut bytes, RST_STREAM, 0, 3, &[0, 0, 0, 8]);
        for size in 1..=bytes.len() {
            let (mut outgoing, mut told) = (Outgoing::default(), Vec::new());
            for piece in bytes.chunks(size) {
                outgoing.wrote(piece, |head, code| {
                    told.push((head.kind, head.stream, code));
                });
            }
            assert_eq!(
                told,
                [
                    (SETTINGS, 0, 0),
                    (HEADERS, 1, 0),
                    (DATA, 1, 0),
                    (RST_STREAM, 3, 8)
                ],
                "{size}"
            );
            assert!(outgoing.is_between_frames());
            outgoing.wrote(&bytes[..1], |_, _| {});
            assert!(!outgoing.is_between_frames());
        }
    }

    #[test]
    fn nothing_is_written_within_a_block() {
        let mut outgoing = Outgoing::default();
        let mut wrote = |kind, flags, stream| {
            let mut bytes = Vec::new();
            write(&mut bytes, kind, flags, stream, &[0x88; 40]);
            outgoing.wrote(&bytes, |_, _| {});
            outgoing.is_between_frames()
        };
        assert!(!wrote(HEADERS, END_STREAM, 1));
        assert!(!wrote(CONTINUATION, 0, 1));
        assert!(wrote(CONTINUATION, END_HEADERS, 1));
        assert!(wrote(HEADERS, END_HEADERS, 3));
        assert!(wrote(DATA, 0, 3));
    }
}
