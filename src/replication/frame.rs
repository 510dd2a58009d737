//! What two voters say to each other over their connection, as prost messages in length-delimited frames.
//!
//! A connection opens with a [`Hello`] each way, or a [`Refusal`]. Paxos messages travel as opaque bytes: their form is
//! `codec`'s. Fields may be added; none is ever given another meaning.

mod checkpoint;

use bytes::Bytes;
use prost::{Message, Oneof};

pub(super) use checkpoint::{Fetch, Offer, Piece};

/// What this build speaks. Another version is refused until there is one that can be spoken with.
pub(super) const VERSION: u32 = 1;

/// The largest frame: a message of the core or a command, which are smaller, or an outcome with very many faults.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// One frame.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    /// `None` is a body that this build does not know: it is skipped.
    #[prost(
        oneof = "Body",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22, 23, 24, 25, 26, 27, 30, 31, 32, 40, 41, 60, 61"
    )]
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
    /// From a node without a vote: the first frame of a connection of its own.
    #[prost(message, tag = "20")]
    Follow(Follow),
    /// To a follower: the group, at first and whenever it has changed.
    #[prost(message, tag = "21")]
    Welcome(Welcome),
    /// To a follower: decided entries, as a `Chunk` of the core's codec.
    #[prost(bytes = "bytes", tag = "22")]
    Entries(Bytes),
    /// To a follower: the sender lives, and where it stands.
    #[prost(message, tag = "23")]
    Beat(Beat),
    /// Between voters: what the followers of the sender serve.
    #[prost(message, tag = "24")]
    Followers(Followers),
    /// From a follower: which nodes are there?
    #[prost(message, tag = "25")]
    Ask(Read),
    /// To a follower: the answer to an [`Body::Ask`].
    #[prost(message, tag = "26")]
    Nodes(Nodes),
    /// From a follower: it stops, and is no longer to be waited for.
    #[prost(message, tag = "27")]
    Leave(Leave),
    /// On a connection of its own, the first frame: send a checkpoint. To a follower: fetch one from the sender.
    #[prost(message, tag = "30")]
    Fetch(Fetch),
    /// Which checkpoint comes now.
    #[prost(message, tag = "31")]
    Offer(Offer),
    /// The next bytes of it.
    #[prost(message, tag = "32")]
    Piece(Piece),
    /// To the leader: an operator's order.
    #[prost(message, tag = "40")]
    Order(Order),
    /// From the leader: what became of an [`Order`].
    #[prost(message, tag = "41")]
    Ordered(Ordered),
    /// To the leader: these sessions are to be kept alive.
    #[prost(message, tag = "60")]
    KeepAlive(KeepAlive),
    /// From the leader: what became of a [`KeepAlive`].
    #[prost(message, tag = "61")]
    KeptAlive(KeptAlive),
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
    /// Of a follower, which has no vote, or not yet: what its data directory drew.
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) follower: Bytes,
    /// To one that has no vote: the membership that says so; else 0.
    #[prost(uint32, tag = "5")]
    pub(super) moved: u32,
    /// Of one that has no vote: who has, as far as it knows.
    #[prost(message, optional, boxed, tag = "6")]
    pub(super) known: Option<Box<Welcome>>,
}

impl Refusal {
    /// For nothing but this.
    pub(super) fn because(reason: String) -> Self {
        Self {
            reason,
            ..Self::default()
        }
    }
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

/// An operator's order to the leader: to change who votes where it names any that come or leave, else to hand over.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Order {
    /// Unique in the connection.
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    /// To the voter of this name; to the most advanced one where it is empty.
    #[prost(string, tag = "2")]
    pub(super) transfer: String,
    /// Followers that are to vote.
    #[prost(string, repeated, tag = "3")]
    pub(super) add: Vec<String>,
    /// Voters that are no longer to.
    #[prost(string, repeated, tag = "4")]
    pub(super) remove: Vec<String>,
    /// In milliseconds, how long whoever ordered it waits.
    #[prost(uint64, tag = "5")]
    pub(super) within: u64,
}

/// What became of an order.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Ordered {
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    #[prost(oneof = "Verdict", tags = "2, 3, 4, 5")]
    pub(super) verdict: Option<Verdict>,
}

/// What became of an order.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub(super) enum Verdict {
    /// Carried out; of a transfer, who leads now, of a change, the number of the membership.
    #[prost(string, tag = "2")]
    Done(String),
    /// It cannot be done now: why.
    #[prost(string, tag = "3")]
    Refused(String),
    /// No leader took it: why.
    #[prost(string, tag = "4")]
    NotTaken(String),
    /// It may have been done: why that is not known.
    #[prost(string, tag = "5")]
    Unknown(String),
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
    /// Its data plane refuses tokens that are old as of this slot.
    #[prost(uint64, tag = "60")]
    pub(super) fenced: u64,
    /// The feature level that its build knows.
    #[prost(uint32, tag = "61")]
    pub(super) level: u32,
    /// What keeps its replica from its full part, for people; empty where nothing does.
    #[prost(string, tag = "62")]
    pub(super) trouble: String,
    /// It stores nothing that is proposed now.
    #[prost(bool, tag = "63")]
    pub(super) unable: bool,
}

/// A revision that the sender's data plane could not build.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RejectedRevision {
    #[prost(uint64, tag = "1")]
    pub(super) revision: u64,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

/// Who wants to be told what is decided.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Follow {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    /// Drawn once for each data directory, 16 bytes: its identity until it has a vote.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) instance: Bytes,
    /// 16 bytes; empty while it has never been welcomed.
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) cluster: Bytes,
    /// Applied there: what follows is wanted.
    #[prost(uint64, tag = "5")]
    pub(super) slot: u64,
    /// The newest membership it was told of.
    #[prost(uint32, tag = "6")]
    pub(super) epoch: u32,
    /// Where it listens for peers, for the day it is given a vote.
    #[prost(string, tag = "7")]
    pub(super) peer: String,
}

/// The group as the voter that is followed knows it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Welcome {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) cluster: Bytes,
    #[prost(uint32, tag = "2")]
    pub(super) epoch: u32,
    #[prost(message, repeated, tag = "3")]
    pub(super) voters: Vec<Voter>,
    /// The number of the voter that speaks.
    #[prost(uint32, tag = "4")]
    pub(super) me: u32,
    /// Its name: one that was removed is none of the voters, and still hands over what it knows.
    #[prost(string, tag = "5")]
    pub(super) name: String,
}

impl Welcome {
    /// The name of who speaks, if it says who that is.
    pub(super) fn speaker(&self) -> Option<&str> {
        let listed = self.voters.iter().find(|voter| voter.id == self.me);
        let name = listed.map_or(&self.name, |voter| &voter.name);
        Some(name.as_str()).filter(|name| !name.is_empty())
    }
}

/// One voter, as followers know it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Voter {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) address: String,
}

/// Where the voter that is followed stands.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Beat {
    /// Applied there.
    #[prost(uint64, tag = "1")]
    pub(super) slot: u64,
    /// Of its state machine at that slot.
    #[prost(fixed64, tag = "2")]
    pub(super) digest: u64,
    #[prost(uint32, tag = "3")]
    pub(super) epoch: u32,
    /// The leader it follows; 0 without one.
    #[prost(uint32, tag = "4")]
    pub(super) leader: u32,
    /// How long ago it heard of that leader, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub(super) age: u64,
}

/// What followers serve.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Followers {
    #[prost(message, repeated, tag = "1")]
    pub(super) heard: Vec<Follower>,
    /// The instances of those that stopped.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) left: Vec<Bytes>,
}

/// One follower.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Follower {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) instance: Bytes,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) report: Option<Report>,
    /// Where it listens for peers.
    #[prost(string, tag = "4")]
    pub(super) peer: String,
}

/// All nodes, as the sender last heard of them.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Nodes {
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) nodes: Vec<Node>,
}

/// One node, as another last heard of it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Node {
    /// 0 for a follower.
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    /// Of a follower.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) instance: Bytes,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(message, optional, tag = "4")]
    pub(super) report: Option<Report>,
    #[prost(uint64, tag = "5")]
    pub(super) lag: u64,
    /// How long ago it was heard, in milliseconds; absent: never.
    #[prost(uint64, optional, tag = "6")]
    pub(super) heard: Option<u64>,
    #[prost(string, tag = "7")]
    pub(super) peer: String,
}

/// Sessions to be kept alive.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct KeepAlive {
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) sessions: Vec<u64>,
}

/// Which sessions live.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct KeptAlive {
    #[prost(uint64, tag = "1")]
    pub(super) request: u64,
    /// False: this node could not confirm that it leads.
    #[prost(bool, tag = "2")]
    pub(super) confirmed: bool,
    #[prost(message, repeated, tag = "3")]
    pub(super) sessions: Vec<KeptSession>,
}

/// One session.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct KeptSession {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    /// How long it lives; absent: it has ended.
    #[prost(uint64, optional, tag = "2")]
    pub(super) lease_ms: Option<u64>,
}

/// A follower stops.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Leave {}

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
