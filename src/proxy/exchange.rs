//! What a request under way needs room for; recycled whole, so that a warm one allocates nothing.

use std::fmt::Write;
use std::net::IpAddr;

use super::buffers::{Buffer, Recycled};
use crate::wire::head::{RequestHead, ResponseHead};

/// The client's side: kept until the request is answered.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Read from the client: behind the head, its body, and what was sent ahead. Without room while nothing is.
    pub(crate) inbound: Buffer,
    pub(crate) request: RequestHead,
    /// The client's address as text.
    pub(crate) peer: String,
    peer_is: Option<IpAddr>,
}

/// The backend's side: kept while its answer passes through.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Read from the backend. Without room while the body streams.
    pub(crate) inbound: Buffer,
    pub(crate) head: ResponseHead,
    /// Made here, to be written to the client.
    pub(crate) out: Vec<u8>,
}

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

    /// Takes the buffer if anything is in it.
    pub(crate) fn take_inbound(&mut self) -> Buffer {
        match self.inbound.is_empty() {
            true => Buffer::default(),
            false => std::mem::take(&mut self.inbound),
        }
    }
}

impl Recycled for Box<Exchange> {
    fn fresh() -> Self {
        Self::default()
    }

    fn reset(&mut self) {
        self.inbound = Buffer::default();
    }
}

impl Recycled for Box<Reply> {
    fn fresh() -> Self {
        Box::new(Reply {
            inbound: Buffer::default(),
            head: ResponseHead::new(),
            out: Vec::new(),
        })
    }

    fn reset(&mut self) {
        if self.inbound.has_room() {
            self.inbound.reset();
        }
        self.out.reset();
    }
}
