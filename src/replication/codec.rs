//! Messages of the consensus core as bytes, by prost.
//!
//! Total: any bytes decode to a message or to a refusal. Bounded: what is longer than [`MAX_MESSAGE_BYTES`], lists more
//! than the core would, or counts to where arithmetic could overflow is refused. Fields are only ever added.

mod wire;

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use crate::paxos::{
    Attempt, Ballot, ENTRY_OVERHEAD_BYTES, Entry, Epoch, MAX_CHUNK_BYTES, MAX_COMMAND_BYTES,
    MAX_RUNS, MAX_VOTERS, Message, NodeId, Payload, Position, Round, Run, Seal, Slot, Summary,
    SyncId,
};
pub(super) use wire::Ballot as WireBallot;
use wire::Kind;

/// Most bytes of an encoded message: one entry with the largest command, and what goes around it.
pub const MAX_MESSAGE_BYTES: usize = MAX_COMMAND_BYTES + (256 << 10);
/// Most entries of one message.
const MAX_ENTRIES: usize = MAX_CHUNK_BYTES / ENTRY_OVERHEAD_BYTES;
/// Slots, rounds and counters beyond this are refused: nothing can be added to them safely.
const MAX_COUNT: u64 = 1 << 62;

/// Why bytes are no message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("a message of {0} bytes, more than {MAX_MESSAGE_BYTES}")]
    TooLong(usize),
    /// Not the encoding.
    #[error("not a message of this protocol")]
    Malformed(#[from] prost::DecodeError),
    /// A part that every message of its kind has is not there, or the kind is of a later version.
    #[error("{0} is missing or unknown")]
    Missing(&'static str),
    /// A value out of its bounds.
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
}

/// Encodes a message.
pub fn encode(message: &Message) -> Bytes {
    wire::Envelope {
        kind: Some(Kind::from(message)),
    }
    .encode_to_vec()
    .into()
}

/// Decodes a message; commands share the memory of `bytes`.
///
/// # Errors
/// When `bytes` are not what [`encode`] makes of a message the core could send.
pub fn decode(bytes: Bytes) -> Result<Message, DecodeError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let kind = wire::Envelope::decode(bytes)?
        .kind
        .ok_or(DecodeError::Missing("the kind of message"))?;
    Ok(match kind {
        Kind::Ask(m) => Message::Ask {
            attempt: Attempt(m.attempt),
        },
        Kind::Answer(m) => Message::Answer {
            attempt: Attempt(m.attempt),
            support: m.support,
            promised: ballot(m.promised)?,
        },
        Kind::Prepare(m) => Message::Prepare {
            ballot: ballot(m.ballot)?,
        },
        Kind::Promise(m) => Message::Promise {
            ballot: ballot(m.ballot)?,
            synced: ballot(m.synced)?,
            log: summary(m.log)?,
        },
        Kind::Pull(m) => Message::Pull {
            ballot: ballot(m.ballot)?,
            first: slot(m.first)?,
        },
        Kind::Chunk(m) => Message::Chunk {
            ballot: ballot(m.ballot)?,
            first: slot(m.first)?,
            entries: entries(m.entries)?,
        },
        Kind::Behind(m) => Message::Behind {
            ballot: ballot(m.ballot)?,
            log: summary(m.log)?,
        },
        Kind::Sync(m) => Message::Sync {
            ballot: ballot(m.ballot)?,
            sync: SyncId(m.sync),
            from: slot(m.from)?,
            through: slot(m.through)?,
            first: slot(m.first)?,
            entries: entries(m.entries)?,
        },
        Kind::Staged(m) => Message::Staged {
            ballot: ballot(m.ballot)?,
            sync: SyncId(m.sync),
            next: slot(m.next)?,
        },
        Kind::Accept(m) => Message::Accept {
            ballot: ballot(m.ballot)?,
            first: slot(m.first)?,
            payloads: bounded(m.payloads)?
                .into_iter()
                .map(payload)
                .collect::<Result<_, _>>()?,
            decided: slot(m.decided)?,
        },
        Kind::Accepted(m) => Message::Accepted {
            ballot: ballot(m.ballot)?,
            last: slot(m.last)?,
        },
        Kind::Heartbeat(m) => Message::Heartbeat {
            ballot: ballot(m.ballot)?,
            round: Round(count(m.round, "the round")?),
            decided: slot(m.decided)?,
        },
        Kind::Heard(m) => Message::Heard {
            ballot: ballot(m.ballot)?,
            round: Round(count(m.round, "the round")?),
            position: m.position.map(position).transpose()?,
        },
        Kind::Outdated(m) => Message::Outdated {
            epoch: Epoch(m.epoch),
            log: summary(m.log)?,
            next: m.next.map(slot).transpose()?,
        },
        Kind::Sealed(m) => Message::Sealed {
            epoch: Epoch(m.epoch),
            sync: SyncId(m.sync),
            from: slot(m.from)?,
            through: slot(m.through)?,
            first: slot(m.first)?,
            entries: entries(m.entries)?,
        },
        Kind::Compacted(m) => Message::Compacted {
            epoch: Epoch(m.epoch),
            start: slot(m.start)?,
        },
        Kind::Fetch(m) => Message::Fetch {
            ballot: ballot(m.ballot)?,
            start: slot(m.start)?,
        },
        Kind::Stand(m) => Message::Stand {
            ballot: ballot(m.ballot)?,
        },
        Kind::Reject(m) => Message::Reject {
            ballot: ballot(m.ballot)?,
            promised: ballot(m.promised)?,
        },
    })
}

fn count(value: u64, what: &'static str) -> Result<u64, DecodeError> {
    if value > MAX_COUNT {
        Err(DecodeError::Bounds(what))
    } else {
        Ok(value)
    }
}

fn slot(value: u64) -> Result<Slot, DecodeError> {
    Ok(Slot(count(value, "a slot")?))
}

fn ballot(ballot: Option<wire::Ballot>) -> Result<Ballot, DecodeError> {
    let ballot = ballot.ok_or(DecodeError::Missing("a ballot"))?;
    count(ballot.round, "the round of a ballot")?;
    Ok(ballot.into())
}

/// The voters that a Seal names, in ascending order, so that it has one encoding.
fn seal(seal: wire::Seal) -> Result<Seal, DecodeError> {
    let ascending = seal.voters.windows(2).all(|pair| pair[0] < pair[1]);
    if seal.voters.is_empty() || seal.voters.len() > MAX_VOTERS || !ascending {
        return Err(DecodeError::Bounds("the voters of a membership"));
    }
    if seal.details.len() > MAX_COMMAND_BYTES {
        return Err(DecodeError::Bounds("the length of a membership"));
    }
    Ok(Seal {
        voters: seal.voters.into_iter().map(NodeId).collect(),
        details: seal.details,
    })
}

fn position(position: wire::Position) -> Result<Position, DecodeError> {
    Ok(Position {
        accepted: slot(position.accepted)?,
        received: slot(position.received)?,
    })
}

fn bounded<T>(list: Vec<T>) -> Result<Vec<T>, DecodeError> {
    if list.len() > MAX_ENTRIES {
        Err(DecodeError::Bounds("the number of entries"))
    } else {
        Ok(list)
    }
}

fn payload(payload: wire::Payload) -> Result<Payload, DecodeError> {
    match payload
        .kind
        .ok_or(DecodeError::Missing("the kind of an entry"))?
    {
        wire::PayloadKind::Barrier(_) => Ok(Payload::Barrier),
        wire::PayloadKind::Command(command) if command.len() > MAX_COMMAND_BYTES => {
            Err(DecodeError::Bounds("the length of a command"))
        }
        wire::PayloadKind::Command(command) => Ok(Payload::Command(command)),
        wire::PayloadKind::Seal(members) => Ok(Payload::Seal(seal(members)?)),
    }
}

fn entries(entries: Vec<wire::Entry>) -> Result<Vec<Entry>, DecodeError> {
    let entry = |entry: wire::Entry| {
        let payload = payload(
            entry
                .payload
                .ok_or(DecodeError::Missing("what an entry says"))?,
        )?;
        Ok(Entry {
            ballot: ballot(entry.ballot)?,
            payload,
        })
    };
    bounded(entries)?.into_iter().map(entry).collect()
}

fn summary(log: Option<wire::Summary>) -> Result<Summary, DecodeError> {
    let log = log.ok_or(DecodeError::Missing("a log's summary"))?;
    if log.runs.len() > MAX_RUNS {
        return Err(DecodeError::Bounds("the number of runs"));
    }
    let run = |run: wire::Run| {
        Ok(Run {
            ballot: ballot(run.ballot)?,
            first: slot(run.first)?,
        })
    };
    let runs = log
        .runs
        .into_iter()
        .map(run)
        .collect::<Result<Vec<_>, DecodeError>>()?;
    let (start, last) = (slot(log.start)?, slot(log.last)?);
    let within = runs
        .iter()
        .all(|run| start <= run.first && run.first <= last);
    let empty = last == start.previous();
    if start == Slot::ZERO || last < start.previous() || empty != runs.is_empty() {
        return Err(DecodeError::Bounds("the ends of a log"));
    }
    if !within || !runs.windows(2).all(|pair| pair[0].first < pair[1].first) {
        return Err(DecodeError::Bounds("the runs of a log"));
    }
    Ok(Summary {
        sync: SyncId(log.sync),
        start,
        last,
        decided: slot(log.decided)?,
        base: match log.base {
            Some(base) => ballot(Some(base))?,
            None => Ballot::initial(Epoch(0)),
        },
        runs,
    })
}

#[cfg(test)]
mod tests;
