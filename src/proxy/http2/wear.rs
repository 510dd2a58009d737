//! How many streams of a connection the h2 crate has reset itself: it ends the connection for the 1,025th.

use h2::Reason;

/// Beyond this many another connection is to follow. The rest is for requests already on their way.
const MOST: u32 = 800;

/// What has been counted by the crate, as far as that can be told.
#[derive(Debug, Default)]
pub(super) struct Wear(u32);

impl Wear {
    /// Counts one that the other side is not told of.
    pub(super) fn add(&mut self) {
        self.0 += 1;
    }

    /// Counts one that the other side is told of, with this code.
    pub(super) fn sent(&mut self, code: u32) {
        // With these the crate drops a message; with any other code it counts the stream.
        let of_crate = [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR];
        self.0 += u32::from(!of_crate.contains(&code.into()));
    }

    /// Whether the crate may soon end the connection for all of them.
    pub(super) fn is_through(&self) -> bool {
        self.0 > MOST
    }
}
