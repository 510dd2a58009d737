//! How much of what the h2 crate bears a number of times has come of a connection: it ends one for the 1,025th stream
//! that it resets itself (`max_local_error_reset_streams`), and for the 101st DATA without any (0.4.20, fixed there).

use h2::Reason;

/// Beyond this many resets another connection is to follow. The rest is for requests already on their way.
const MOST: u32 = 800;

/// DATA of padding alone wears as much as so many resets.
const PADDING: u32 = 10;

/// What has been counted by the crate, as far as that can be told.
#[derive(Debug, Default)]
pub(super) struct Wear(u32);

impl Wear {
    /// Counts a reset that the other side is not told of.
    pub(super) fn add(&mut self) {
        self.0 += 1;
    }

    /// Counts DATA of padding alone.
    pub(super) fn add_padding(&mut self) {
        self.0 += PADDING;
    }

    /// Counts one that the other side is told of, with this code.
    pub(super) fn sent(&mut self, code: u32) {
        // With these the crate drops a message; with any other code it counts the stream.
        let uncounted = [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR];
        self.0 += u32::from(!uncounted.contains(&code.into()));
    }

    /// Whether the crate may soon end the connection for all of them.
    pub(super) fn is_through(&self) -> bool {
        self.0 > MOST
    }
}
