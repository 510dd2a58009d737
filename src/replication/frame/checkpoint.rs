//! What is said on the connection that carries a checkpoint.

use bytes::Bytes;
use prost::Message;

use crate::replication::codec::WireBallot;

/// A checkpoint is wanted.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in crate::replication) struct Fetch {
    #[prost(uint32, tag = "1")]
    pub(in crate::replication) version: u32,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub(in crate::replication) cluster: Bytes,
    /// It must reach this slot.
    #[prost(uint64, tag = "3")]
    pub(in crate::replication) slot: u64,
    /// So many bytes of the checkpoint of this slot are there already; 0: of none.
    #[prost(uint64, tag = "4")]
    pub(in crate::replication) resume: u64,
    #[prost(uint64, tag = "5")]
    pub(in crate::replication) offset: u64,
    /// Who wants it.
    #[prost(string, tag = "6")]
    pub(in crate::replication) name: String,
}

/// A checkpoint, whose bytes follow in pieces.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in crate::replication) struct Offer {
    #[prost(uint64, tag = "1")]
    pub(in crate::replication) slot: u64,
    /// That the entry of the slot was first proposed in.
    #[prost(message, optional, tag = "2")]
    pub(in crate::replication) ballot: Option<WireBallot>,
    /// Bytes of it.
    #[prost(uint64, tag = "3")]
    pub(in crate::replication) size: u64,
    /// CRC32C of them all.
    #[prost(fixed32, tag = "4")]
    pub(in crate::replication) sum: u32,
    /// Where the first piece begins.
    #[prost(uint64, tag = "5")]
    pub(in crate::replication) offset: u64,
    /// Bytes at its beginning that tell who votes.
    #[prost(uint32, tag = "6")]
    pub(in crate::replication) head: u32,
}

/// A part of a checkpoint.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in crate::replication) struct Piece {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in crate::replication) bytes: Bytes,
    /// CRC32C of them.
    #[prost(fixed32, tag = "2")]
    pub(in crate::replication) sum: u32,
}
