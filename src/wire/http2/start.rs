//! A head that is written in pieces, until it is whole.

use std::io;

use crate::wire::http1::{Parsed, Refusal};

/// What came of a head so far. Nearly always it comes in one write, and nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Start(Vec<u8>);

impl Start {
    /// Parses `bytes` behind what came before them. Tells how many of them were taken, and whether the head is whole.
    ///
    /// # Errors
    /// When it is no head.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<Parsed, Refusal>,
    ) -> io::Result<(usize, bool)> {
        let before = self.0.len();
        let all = match before {
            0 => bytes,
            _ => {
                self.0.extend_from_slice(bytes);
                &self.0
            }
        };
        match parse(all).map_err(io::Error::other)? {
            Parsed::Head { len } => {
                self.0.clear();
                Ok((len - before, true))
            }
            Parsed::Incomplete => {
                if before == 0 {
                    self.0.extend_from_slice(bytes);
                }
                Ok((bytes.len(), false))
            }
        }
    }
}
