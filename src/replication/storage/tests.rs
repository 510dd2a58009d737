//! One conformance suite over every disk, and the rules of recovery over the simulated one.

use bytes::Bytes;

use super::*;
use crate::paxos::{Ballot, Entry, Epoch, LogChange, NodeId, Payload, Recovered, Slot};

mod checkpoints;
mod conformance;
mod damaged;
mod faults;

const SEGMENT: u64 = 8 << 10;

fn initial() -> Ballot {
    Ballot::initial(Epoch(0))
}

fn ballot(round: u64, node: u32) -> Ballot {
    Ballot {
        epoch: Epoch(0),
        round,
        node: Some(NodeId(node)),
    }
}

fn options(create: bool) -> WalOptions {
    WalOptions {
        segment_bytes: SEGMENT,
        ..WalOptions::new(initial(), create)
    }
}

fn open<D: Disk>(disk: D, create: bool) -> Result<(Wal<D>, Recovered), Error> {
    let (wal, recovered, _) = Wal::open(disk, options(create), |_| Ok(()))?;
    Ok((wal, recovered))
}

fn entry(round: u64, text: &str) -> Entry {
    Entry {
        ballot: ballot(round, 1),
        payload: Payload::Command(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn append(first: u64, entries: &[Entry]) -> Batch {
    let log = LogChange::Append {
        first: Slot(first),
        entries: entries.to_vec(),
    };
    Batch {
        log: Some(log),
        ..Batch::default()
    }
}

fn adopt(first: u64, entries: &[Entry], synced: Ballot) -> Batch {
    let log = LogChange::Adopt {
        base: None,
        first: Slot(first),
        entries: entries.to_vec(),
        synced,
    };
    Batch {
        log: Some(log),
        ..Batch::default()
    }
}

fn promise(promised: Ballot) -> Batch {
    Batch {
        promised: Some(promised),
        ..Batch::default()
    }
}

/// A voter that was elected and wrote its barrier and one command.
fn led(wal: &mut dyn Storage) {
    let barrier = Entry {
        ballot: ballot(1, 1),
        payload: Payload::Barrier,
    };
    wal.write(&[promise(ballot(1, 1)), adopt(1, &[barrier], ballot(1, 1))])
        .expect("a good disk");
    wal.write(&[append(2, &[entry(1, "one")])])
        .expect("a good disk");
}

fn texts(recovered: &Recovered) -> Vec<String> {
    let text = |entry: &Entry| match &entry.payload {
        Payload::Barrier => "-".to_owned(),
        Payload::Seal(_) => "#".to_owned(),
        Payload::Command(command) => String::from_utf8_lossy(command).into_owned(),
    };
    recovered.entries.iter().map(text).collect()
}
