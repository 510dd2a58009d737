//! The shapes on the wire, and how messages become them. Tags are never reused.
#![allow(
    missing_docs,
    reason = "each shape is that of the type in `paxos` of the same name"
)]

use bytes::Bytes;

use crate::paxos::{self, Message};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(
        oneof = "Kind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 30, 40, 41, 42"
    )]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "1")]
    Ask(Ask),
    #[prost(message, tag = "2")]
    Answer(Answer),
    #[prost(message, tag = "3")]
    Prepare(Prepare),
    #[prost(message, tag = "4")]
    Promise(Promise),
    #[prost(message, tag = "5")]
    Pull(Pull),
    #[prost(message, tag = "6")]
    Chunk(Chunk),
    #[prost(message, tag = "7")]
    Behind(Behind),
    #[prost(message, tag = "8")]
    Sync(Sync),
    #[prost(message, tag = "9")]
    Staged(Staged),
    #[prost(message, tag = "10")]
    Accept(Accept),
    #[prost(message, tag = "11")]
    Accepted(Accepted),
    #[prost(message, tag = "12")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "13")]
    Heard(Heard),
    #[prost(message, tag = "14")]
    Reject(Reject),
    #[prost(message, tag = "15")]
    Stand(Stand),
    #[prost(message, tag = "40")]
    Outdated(Outdated),
    #[prost(message, tag = "41")]
    Sealed(Sealed),
    #[prost(message, tag = "30")]
    Fetch(Fetch),
    #[prost(message, tag = "42")]
    Compacted(Compacted),
}

/// A ballot, as messages and files hold it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(in crate::replication) struct Ballot {
    #[prost(uint32, tag = "1")]
    pub(in crate::replication) epoch: u32,
    #[prost(uint64, tag = "2")]
    pub(in crate::replication) round: u64,
    #[prost(uint32, optional, tag = "3")]
    pub(in crate::replication) node: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payload {
    #[prost(oneof = "PayloadKind", tags = "1, 2, 3")]
    pub(super) kind: Option<PayloadKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum PayloadKind {
    #[prost(bytes = "bytes", tag = "1")]
    Command(Bytes),
    #[prost(message, tag = "2")]
    Barrier(Barrier),
    #[prost(message, tag = "3")]
    Seal(Seal),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Seal {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) voters: Vec<u32>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) details: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Barrier {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(message, optional, tag = "2")]
    pub(super) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Run {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) first: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Summary {
    #[prost(fixed64, tag = "1")]
    pub(super) sync: u64,
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) last: u64,
    #[prost(uint64, tag = "4")]
    pub(super) decided: u64,
    #[prost(message, repeated, tag = "5")]
    pub(super) runs: Vec<Run>,
    #[prost(message, optional, tag = "6")]
    pub(super) base: Option<Ballot>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Compacted {
    #[prost(uint32, tag = "1")]
    pub(super) epoch: u32,
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Fetch {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Position {
    #[prost(uint64, tag = "1")]
    pub(super) accepted: u64,
    #[prost(uint64, tag = "2")]
    pub(super) received: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ask {
    #[prost(uint64, tag = "1")]
    pub(super) attempt: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(super) attempt: u64,
    #[prost(bool, tag = "2")]
    pub(super) support: bool,
    #[prost(message, optional, tag = "3")]
    pub(super) promised: Option<Ballot>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Prepare {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Promise {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(message, optional, tag = "2")]
    pub(super) synced: Option<Ballot>,
    #[prost(message, optional, tag = "3")]
    pub(super) log: Option<Summary>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pull {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) first: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Chunk {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) first: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Behind {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(message, optional, tag = "2")]
    pub(super) log: Option<Summary>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sync {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(fixed64, tag = "2")]
    pub(super) sync: u64,
    #[prost(uint64, tag = "3")]
    pub(super) from: u64,
    #[prost(uint64, tag = "4")]
    pub(super) through: u64,
    #[prost(uint64, tag = "5")]
    pub(super) first: u64,
    #[prost(message, repeated, tag = "6")]
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Staged {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(fixed64, tag = "2")]
    pub(super) sync: u64,
    #[prost(uint64, tag = "3")]
    pub(super) next: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Accept {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) first: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) payloads: Vec<Payload>,
    #[prost(uint64, tag = "4")]
    pub(super) decided: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Accepted {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) last: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Heartbeat {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) round: u64,
    #[prost(uint64, tag = "3")]
    pub(super) decided: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Heard {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(uint64, tag = "2")]
    pub(super) round: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) position: Option<Position>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Reject {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
    #[prost(message, optional, tag = "2")]
    pub(super) promised: Option<Ballot>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stand {
    #[prost(message, optional, tag = "1")]
    pub(super) ballot: Option<Ballot>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Outdated {
    #[prost(uint32, tag = "1")]
    pub(super) epoch: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) log: Option<Summary>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) next: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sealed {
    #[prost(uint32, tag = "1")]
    pub(super) epoch: u32,
    #[prost(fixed64, tag = "2")]
    pub(super) sync: u64,
    #[prost(uint64, tag = "3")]
    pub(super) from: u64,
    #[prost(uint64, tag = "4")]
    pub(super) through: u64,
    #[prost(uint64, tag = "5")]
    pub(super) first: u64,
    #[prost(message, repeated, tag = "6")]
    pub(super) entries: Vec<Entry>,
}

impl From<&Message> for Kind {
    fn from(message: &Message) -> Self {
        match message {
            Message::Ask { attempt } => Kind::Ask(Ask { attempt: attempt.0 }),
            Message::Answer {
                attempt,
                support,
                promised,
            } => Kind::Answer(Answer {
                attempt: attempt.0,
                support: *support,
                promised: some(*promised),
            }),
            Message::Prepare { ballot } => Kind::Prepare(Prepare {
                ballot: some(*ballot),
            }),
            Message::Promise {
                ballot,
                synced,
                log,
            } => Kind::Promise(Promise {
                ballot: some(*ballot),
                synced: some(*synced),
                log: Some(log.into()),
            }),
            Message::Pull { ballot, first } => Kind::Pull(Pull {
                ballot: some(*ballot),
                first: first.0,
            }),
            Message::Chunk {
                ballot,
                first,
                entries,
            } => Kind::Chunk(Chunk {
                ballot: some(*ballot),
                first: first.0,
                entries: list(entries),
            }),
            Message::Behind { ballot, log } => Kind::Behind(Behind {
                ballot: some(*ballot),
                log: Some(log.into()),
            }),
            Message::Sync {
                ballot,
                sync,
                from,
                through,
                first,
                entries,
            } => Kind::Sync(Sync {
                ballot: some(*ballot),
                sync: sync.0,
                from: from.0,
                through: through.0,
                first: first.0,
                entries: list(entries),
            }),
            Message::Staged { ballot, sync, next } => Kind::Staged(Staged {
                ballot: some(*ballot),
                sync: sync.0,
                next: next.0,
            }),
            Message::Accept {
                ballot,
                first,
                payloads,
                decided,
            } => Kind::Accept(Accept {
                ballot: some(*ballot),
                first: first.0,
                payloads: payloads.iter().map(Payload::from).collect(),
                decided: decided.0,
            }),
            Message::Accepted { ballot, last } => Kind::Accepted(Accepted {
                ballot: some(*ballot),
                last: last.0,
            }),
            Message::Heartbeat {
                ballot,
                round,
                decided,
            } => Kind::Heartbeat(Heartbeat {
                ballot: some(*ballot),
                round: round.0,
                decided: decided.0,
            }),
            Message::Heard {
                ballot,
                round,
                position,
            } => Kind::Heard(Heard {
                ballot: some(*ballot),
                round: round.0,
                position: position.map(|p| Position {
                    accepted: p.accepted.0,
                    received: p.received.0,
                }),
            }),
            Message::Outdated { epoch, log, next } => Kind::Outdated(Outdated {
                epoch: epoch.0,
                log: Some(log.into()),
                next: next.map(|slot| slot.0),
            }),
            Message::Sealed {
                epoch,
                sync,
                from,
                through,
                first,
                entries,
            } => Kind::Sealed(Sealed {
                epoch: epoch.0,
                sync: sync.0,
                from: from.0,
                through: through.0,
                first: first.0,
                entries: list(entries),
            }),
            Message::Compacted { epoch, start } => Kind::Compacted(Compacted {
                epoch: epoch.0,
                start: start.0,
            }),
            Message::Fetch { ballot, start } => Kind::Fetch(Fetch {
                ballot: some(*ballot),
                start: start.0,
            }),
            Message::Stand { ballot } => Kind::Stand(Stand {
                ballot: some(*ballot),
            }),
            Message::Reject { ballot, promised } => Kind::Reject(Reject {
                ballot: some(*ballot),
                promised: some(*promised),
            }),
        }
    }
}

fn some(ballot: paxos::Ballot) -> Option<Ballot> {
    Some(ballot.into())
}

impl From<paxos::Ballot> for Ballot {
    fn from(ballot: paxos::Ballot) -> Self {
        Ballot {
            epoch: ballot.epoch.0,
            round: ballot.round,
            node: ballot.node.map(|node| node.0),
        }
    }
}

impl From<Ballot> for paxos::Ballot {
    fn from(ballot: Ballot) -> Self {
        paxos::Ballot {
            epoch: paxos::Epoch(ballot.epoch),
            round: ballot.round,
            node: ballot.node.map(paxos::NodeId),
        }
    }
}

fn list(entries: &[paxos::Entry]) -> Vec<Entry> {
    let entry = |entry: &paxos::Entry| Entry {
        ballot: some(entry.ballot),
        payload: Some((&entry.payload).into()),
    };
    entries.iter().map(entry).collect()
}

impl From<&paxos::Payload> for Payload {
    fn from(payload: &paxos::Payload) -> Self {
        let kind = match payload {
            paxos::Payload::Barrier => PayloadKind::Barrier(Barrier {}),
            paxos::Payload::Command(command) => PayloadKind::Command(command.clone()),
            paxos::Payload::Seal(seal) => PayloadKind::Seal(Seal {
                voters: seal.voters.iter().map(|voter| voter.0).collect(),
                details: seal.details.clone(),
            }),
        };
        Payload { kind: Some(kind) }
    }
}

impl From<&paxos::Summary> for Summary {
    fn from(log: &paxos::Summary) -> Self {
        Summary {
            sync: log.sync.0,
            start: log.start.0,
            last: log.last.0,
            decided: log.decided.0,
            base: some(log.base),
            runs: log
                .runs
                .iter()
                .map(|run| Run {
                    ballot: some(run.ballot),
                    first: run.first.0,
                })
                .collect(),
        }
    }
}
