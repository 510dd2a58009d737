//! Everything a request under way needs room for; recycled whole, so that a warm one allocates nothing.

use std::fmt::Write;
use std::net::IpAddr;

use super::buffers::Buffer;
use crate::wire::head::{RequestHead, ResponseHead};

/// Buffers and heads of one request and its answer.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Read from the client: behind the head, its body, and what was sent ahead.
    pub(crate) inbound: Buffer,
    /// Read from the backend.
    pub(crate) outbound: Buffer,
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    /// Made here, to be written to the backend.
    pub(crate) to_backend: Vec<u8>,
    /// Made here, to be written to the client.
    pub(crate) to_client: Vec<u8>,
    /// The client's address as text.
    pub(crate) peer: String,
    peer_is: Option<IpAddr>,
}

/// More room than this in a staging buffer is not kept.
const STAGING_KEPT: usize = 16 * 1024;

impl Exchange {
    /// Sets the client's address. Clients behind one address, of a proxy in front say, need it formatted once.
    pub(crate) fn write_peer(&mut self, peer: IpAddr) {
        if self.peer_is != Some(peer) {
            self.peer_is = Some(peer);
            self.peer.clear();
            // Writing to a String cannot fail.
            let _ = write!(self.peer, "{peer}");
        }
    }

    /// Ready for another connection.
    pub(crate) fn reset(&mut self) {
        self.inbound.reset();
        self.outbound.reset();
        for staging in [&mut self.to_backend, &mut self.to_client] {
            staging.clear();
            staging.shrink_to(STAGING_KEPT);
        }
    }
}
