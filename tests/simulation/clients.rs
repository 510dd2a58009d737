//! Clients: each does one operation after the other, and retries a write under its key until it knows.

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use synod::config::Transaction;
use synod::paxos::{NodeId, Slot};
use synod::state::{self, Body, Command, Key, SessionId, Stamp};

use crate::mix::{Mix, SECOND};

/// A client and what it is doing.
pub(crate) struct Client {
    pub(crate) operation: Option<Operation>,
    /// Counts its operations.
    pub(crate) nth: u64,
    /// Whom it asks.
    pub(crate) target: NodeId,
}

/// One operation, from its first try to its answer.
pub(crate) struct Operation {
    pub(crate) what: What,
    /// What had been seen when it began.
    pub(crate) floor: Slot,
    pub(crate) tries: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Read,
    /// Keep a session alive.
    Keep(SessionId),
    Write {
        key: String,
        body: Bytes,
    },
}

/// One try of an operation, as it reaches a voter.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) client: usize,
    pub(crate) nth: u64,
    pub(crate) what: What,
}

/// Who asks and does not wait for the answer.
pub(crate) const NOBODY: usize = usize::MAX;

/// What a voter answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Ask elsewhere, or later.
    Elsewhere(Option<NodeId>),
    /// The write is done, at this revision.
    Written(u64),
    /// The read is answered from a state that has applied the slot it had to.
    Read { ready: Slot, applied: Slot },
    /// The session is open.
    Opened(SessionId),
    /// Whether the session lives.
    Kept(bool),
    /// What came of a claim on a lock.
    Locked(state::Answer),
}

/// After this a client gives up waiting and asks again.
pub(crate) const PATIENCE: u64 = 2 * SECOND;

impl Client {
    pub(crate) fn new(rng: &mut StdRng, mix: &Mix) -> Self {
        Client {
            operation: None,
            nth: 0,
            target: NodeId(rng.random_range(1..=mix.voters)),
        }
    }

    /// Begins the next operation.
    pub(crate) fn begin(
        &mut self,
        me: usize,
        rng: &mut StdRng,
        mix: &Mix,
        reachable: &[NodeId],
        floor: Slot,
    ) {
        self.nth += 1;
        if rng.random_bool(0.2) {
            // A voter that was left alone may still think that it leads.
            self.target = reachable[rng.random_range(0..reachable.len())];
        }
        let what = if rng.random_bool(0.3) {
            What::Read
        } else {
            let key = format!("{me}-{}", self.nth);
            let bytes = mix.command_bytes;
            let body = write(rng, bytes, &key, me as u64 * 1_000_000 + self.nth);
            What::Write { key, body }
        };
        self.operation = Some(Operation {
            what,
            floor,
            tries: 0,
        });
    }
}

/// A write to one of three registers, of a value that no other write has.
pub(crate) fn write(rng: &mut StdRng, most: usize, key: &str, unique: u64) -> Bytes {
    let register = format!("r{}", rng.random_range(0..3));
    let octets = unique.to_be_bytes();
    let address = format!("10.{}.{}.{}:80", octets[5], octets[6], octets[7]);
    let value = json!({"name": register, "backends": [{"id": "b", "address": address}]});
    let operations = json!([{"op": "put", "path": format!("/pools/{register}"), "value": value}]);
    let command = Command {
        key: Key::new(key).expect("short and printable"),
        stamp: Stamp(0),
        level: 1,
        sticky_key: None,
        author: "simulation".to_owned(),
        comment: "c".repeat(rng.random_range(0..=most)),
        body: Body::Config(Transaction::from_json(operations).expect("a valid transaction")),
    };
    command.encode()
}
