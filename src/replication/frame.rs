//! What two voters say to each other over their connection, as prost messages in length-delimited frames.
//!
//! A connection opens with a [`Hello`] each way, or a [`Refusal`]. Paxos messages travel as opaque bytes: their form is
//! `codec`'s. Fields may be added; none is ever given another meaning.

use bytes::Bytes;
use prost::{Message, Oneof};

/// What this build speaks. Another version is refused until there is one that can be spoken with.
pub(super) const VERSION: u32 = 1;

/// The largest frame: a message of the core or a command, which are smaller, or an outcome with very many faults.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// One frame.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    /// `None` is a body that this build does not know: it is skipped.
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub(super) body: Option<Body>,
}

/// The kinds of frame.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Body {
    /// Who speaks: the first frame each way, and again when the sender came to know its cluster.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// Why the other end's hello is not accepted; the connection ends.
    #[prost(message, tag = "2")]
    Refusal(Refusal),
    /// A message of the Paxos core.
    #[prost(bytes = "bytes", tag = "3")]
    Paxos(Bytes),
    /// To the leader: propose this.
    #[prost(message, tag = "4")]
    Forward(Forward),
    /// From the leader: what became of a [`Forward`].
    #[prost(message, tag = "5")]
    Answer(Answer),
    /// To the leader: up to which slot must a read that begins now see?
    #[prost(message, tag = "6")]
    Read(Read),
    /// From the leader: the slot of a [`Read`].
    #[prost(message, tag = "7")]
    ReadAnswer(ReadAnswer),
    /// What the sender serves.
    #[prost(message, tag = "8")]
    Report(Report),
}

/// Who speaks.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    /// Drawn once for each data directory: 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) instance: Bytes,
    /// Raised durably by each start.
    #[prost(uint64, tag = "4")]
    pub(super) incarnation: u64,
    /// Drawn by each process: tells a reconnect from a new start of a rolled-back directory.
    #[prost(uint64, tag = "5")]
    pub(super) process: u64,
    /// 16 bytes; empty while the sender knows no membership. Saying it means: it is durable here.
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) cluster: Bytes,
    /// The first voters' names as the sender was told them, while it knows no membership.
    #[prost(string, repeated, tag = "7")]
    pub(super) voters: Vec<String>,
    /// Whom the dialling side means to reach; empty in the reply.
    #[prost(string, tag = "8")]
    pub(super) to: String,
}

/// Why a hello is not accepted.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Refusal {
    /// The refused directory lost what it had promised: it must not vote.
    #[prost(bool, tag = "1")]
    pub(super) wiped: bool,
    /// Worded for an operator of the refused side.
    #[prost(string, tag = "2")]
    pub(super) reason: String,
    /// The refusing side's cluster; empty while it knows none.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) cluster: Bytes,
}

/// A command for the leader.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Forward {
    /// Unique in the connection.
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) command: Bytes,
}

/// What became of a forwarded command.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    #[prost(oneof = "Fate", tags = "2, 3, 4")]
    pub(super) fate: Option<Fate>,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub(super) enum Fate {
    /// Chosen and applied: the encoded outcome.
    #[prost(bytes = "bytes", tag = "2")]
    Applied(Bytes),
    /// Never proposed here: why.
    #[prost(string, tag = "3")]
    NotProposed(String),
    /// It may still commit: why that is not known.
    #[prost(string, tag = "4")]
    Unknown(String),
}

/// A read's question.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Read {
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
}

/// A read's answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ReadAnswer {
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    /// `None`: this node could not confirm that it leads.
    #[prost(uint64, optional, tag = "2")]
    pub(super) slot: Option<u64>,
}

/// What a node serves, and where its state machine stands.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Report {
    /// The revision its data plane serves.
    #[prost(uint64, tag = "1")]
    pub(super) applied: u64,
    /// The digest of what it serves.
    #[prost(uint64, tag = "2")]
    pub(super) digest: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) rejected: Option<RejectedRevision>,
    /// Executed by its state machine.
    #[prost(uint64, tag = "4")]
    pub(super) slot: u64,
    #[prost(bool, tag = "5")]
    pub(super) leads: bool,
    /// Why its replica takes no part; empty where it does.
    #[prost(string, tag = "6")]
    pub(super) failed: String,
    /// Where its admin API listens; empty if it has none.
    #[prost(string, tag = "7")]
    pub(super) admin: String,
}

/// A revision that the sender's data plane could not build.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RejectedRevision {
    #[prost(uint64, tag = "1")]
    pub(super) revision: u64,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

impl From<Body> for Frame {
    fn from(body: Body) -> Self {
        Self { body: Some(body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_from_a_newer_build_is_skipped_not_an_error() {
        let unknown = [0x9a, 0x06, 1, 7];
        assert_eq!(
            Frame::decode(unknown.as_slice()).map(|frame| frame.body),
            Ok(None)
        );
    }

    #[test]
    fn a_frame_comes_back_as_it_went() {
        let body = Body::Answer(Answer {
            request: 7,
            fate: Some(Fate::Applied(Bytes::from_static(b"done"))),
        });
        let bytes = Frame::from(body.clone()).encode_to_vec();
        assert_eq!(
            Frame::decode(bytes.as_slice()).map(|frame| frame.body),
            Ok(Some(body))
        );
    }
}
