//! One voter, spoken to and heard, with every output in order as a line of text.
//!
//! A ballot reads `round.node`, an entry `command@ballot` with `|` for a barrier. Wishes to be woken and the random
//! names of syncs are left out.

use bytes::Bytes;

use super::network::{HEARTBEAT, TIMEOUT};
use crate::paxos::*;

pub(super) struct Voter {
    pub(super) replica: Replica,
    pub(super) now: Time,
    pub(super) wake_at: Option<Time>,
}

/// The ballot `round.node`; node 0 stands for nobody.
pub(super) fn ballot(round: u64, node: u32) -> Ballot {
    Ballot {
        epoch: Epoch(0),
        round,
        node: (node > 0).then_some(NodeId(node)),
    }
}

pub(super) fn command(text: &str) -> Payload {
    if text == "|" {
        Payload::Barrier
    } else {
        Payload::Command(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// Entries from `a@1.2` and the like.
pub(super) fn entries(texts: &[&str]) -> Vec<Entry> {
    let entry = |text: &&str| {
        let (payload, at) = text.split_once('@').expect("command@ballot");
        let (round, node) = at.split_once('.').expect("round.node");
        let ballot = ballot(
            round.parse().expect("a round"),
            node.parse().expect("a node"),
        );
        Entry {
            ballot,
            payload: command(payload),
        }
    };
    texts.iter().map(entry).collect()
}

/// What a disk holds: promised, synced with, decided through, and these entries.
pub(super) fn held(promised: Ballot, synced: Ballot, decided: u64, texts: &[&str]) -> Recovered {
    let entries = entries(texts);
    Recovered {
        promised,
        synced: Some(synced),
        decided: Slot(decided),
        applied: Slot::ZERO,
        succession: None,
        start: Slot(1),
        base: ballot(0, 0),
        entries,
    }
}

/// The summary of a log of these entries, to be synced by this name.
pub(super) fn summary(sync: u64, texts: &[&str]) -> Summary {
    let log = super::super::log::Log::new(Slot(1), ballot(0, 0), entries(texts));
    let runs = log.runs().to_vec();
    Summary {
        sync: SyncId(sync),
        start: Slot(1),
        last: log.last(),
        decided: Slot::ZERO,
        base: ballot(0, 0),
        runs,
    }
}

impl Voter {
    /// Voter 1 of so many, connected to all others.
    pub(super) fn of(voters: u32, recovered: Recovered) -> Self {
        let membership = Membership {
            epoch: Epoch(0),
            voters: (1..=voters).map(NodeId).collect(),
        };
        let options = Options {
            id: NodeId(1),
            membership,
            heartbeat: HEARTBEAT,
            election_timeout: TIMEOUT,
            window_entries: 3,
            window_bytes: 8 << 20,
            seed: 7,
        };
        let replica = Replica::new(Time::default(), options, recovered);
        let mut voter = Voter {
            replica,
            now: Time::default(),
            wake_at: None,
        };
        for peer in 2..=voters {
            voter.does(Input::Connected(NodeId(peer)));
        }
        voter
    }

    /// Voter 1 of three as leader of ballot 1.1, its barrier in slot 1 decided by itself and voter 2, voter 3 silent.
    pub(super) fn leading() -> Self {
        let mut voter = Voter::of(3, Recovered::empty(ballot(0, 0)));
        voter.stands();
        voter.does(Input::Persisted(PersistId(1)));
        voter.gets(
            2,
            Message::Promise {
                ballot: ballot(1, 1),
                synced: ballot(0, 0),
                log: summary(2, &[]),
            },
        );
        voter.does(Input::Persisted(PersistId(2)));
        voter.gets(
            2,
            Message::Accepted {
                ballot: ballot(1, 1),
                last: Slot(1),
            },
        );
        voter.does(Input::Persisted(PersistId(3)));
        assert!(voter.replica.ready(), "leads");
        voter
    }

    /// What a sync of its log must repeat now.
    pub(super) fn sync(&mut self) -> SyncId {
        let probe = Message::Prepare {
            ballot: Ballot {
                epoch: Epoch(9),
                ..ballot(1, 2)
            },
        };
        let from = NodeId(2);
        let outputs = self.replica.handle(
            self.now,
            Input::Message {
                from,
                message: probe,
            },
        );
        let sync = outputs.into_iter().find_map(|output| match output {
            Output::Send {
                message: Message::Outdated { log, .. },
                ..
            } => Some(log.sync),
            _ => None,
        });
        sync.expect("it asks for the way to a later epoch")
    }

    pub(super) fn does(&mut self, input: Input) -> Vec<String> {
        self.does_all([input])
    }

    /// Takes inputs that come together.
    pub(super) fn does_all(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
        let outputs = self.replica.handle_all(self.now, inputs);
        outputs
            .into_iter()
            .filter_map(|output| self.show(output))
            .collect()
    }

    pub(super) fn gets(&mut self, from: u32, message: Message) -> Vec<String> {
        self.does(Input::Message {
            from: NodeId(from),
            message,
        })
    }

    pub(super) fn is_told(&mut self, persisted: u64) -> Vec<String> {
        self.does(Input::Persisted(PersistId(persisted)))
    }

    pub(super) fn is_asked_for(&mut self, id: u64, text: &str) -> Vec<String> {
        self.does(Input::Propose {
            id: ProposalId(id),
            command: Bytes::copy_from_slice(text.as_bytes()),
        })
    }

    pub(super) fn reads(&mut self, id: u64) -> Vec<String> {
        self.does(Input::Read { id: ReadId(id) })
    }

    /// Time passes until it wants to be woken.
    pub(super) fn wakes(&mut self) -> Vec<String> {
        self.now = self.wake_at.take().expect("wants to be woken");
        self.does(Input::Tick)
    }

    /// It hears nobody, asks, and voter 2 supports it.
    pub(super) fn stands(&mut self) -> Vec<String> {
        let attempt = loop {
            self.now = self.wake_at.take().expect("wants to be woken");
            let outputs = self.replica.handle(self.now, Input::Tick);
            let mut attempt = None;
            for output in outputs {
                match output {
                    Output::Send {
                        message: Message::Ask { attempt: asked },
                        ..
                    } => attempt = Some(asked),
                    other => drop(self.show(other)),
                }
            }
            if let Some(attempt) = attempt {
                break attempt;
            }
        };
        self.gets(
            2,
            Message::Answer {
                attempt,
                support: true,
                promised: ballot(0, 0),
            },
        )
    }

    fn show(&mut self, output: Output) -> Option<String> {
        Some(match output {
            Output::Persist { id, batch } => format!("persist {}:{}", id.0, show_batch(&batch)),
            Output::Send {
                to,
                message,
                after: None,
            } => format!("to {to}: {}", show_message(&message)),
            Output::Send {
                to,
                message,
                after: Some(after),
            } => {
                format!("to {to} after {}: {}", after.0, show_message(&message))
            }
            Output::Decided { first, entries } => {
                format!("decided {first}: {}", show_entries(&entries))
            }
            Output::Refused { id, reason } => format!("refused {}: {reason:?}", id.0),
            Output::ReadReady { id, slot } => format!("read {} at {slot}", id.0),
            Output::ReadRefused { id, leader } => {
                format!("read {} refused, {}", id.0, show_leader(leader))
            }
            Output::Entered { membership, .. } => {
                format!(
                    "entered epoch {}: {:?}",
                    membership.epoch.0, membership.voters
                )
            }
            Output::SealRefused { reason } => format!("seal refused: {reason:?}"),
            Output::Fetch { from, start } => format!("fetch from {from} for {start}"),
            Output::Install(base) => format!("install {}", show_base(&base)),
            Output::TransferFailed { reason } => format!("transfer failed: {reason:?}"),
            Output::RoleChanged { role, leader } => format!("{role:?}, {}", show_leader(leader)),
            Output::WakeAt(at) => {
                self.wake_at = Some(at);
                return None;
            }
        })
    }
}

fn show_leader(leader: Option<NodeId>) -> String {
    leader.map_or("nobody leads".into(), |leader| format!("{leader} leads"))
}

fn show_ballot(ballot: &Ballot) -> String {
    format!("{}.{}", ballot.round, ballot.node.map_or(0, |node| node.0))
}

fn show_payload(payload: &Payload) -> String {
    match payload {
        Payload::Barrier => "|".into(),
        Payload::Seal(_) => "#".into(),
        Payload::Command(command) if command.len() > 20 => format!("({} bytes)", command.len()),
        Payload::Command(command) => String::from_utf8_lossy(command).into_owned(),
    }
}

fn show_entries(entries: &[Entry]) -> String {
    let show = |entry: &Entry| {
        format!(
            "{}@{}",
            show_payload(&entry.payload),
            show_ballot(&entry.ballot)
        )
    };
    entries.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn show_batch(batch: &Batch) -> String {
    let promised = batch
        .promised
        .iter()
        .map(|ballot| format!(" promised {}", show_ballot(ballot)));
    let log = batch.log.iter().map(|change| match change {
        LogChange::Append { first, entries } => {
            format!(" append {first}: {}", show_entries(entries))
        }
        LogChange::Adopt {
            base,
            first,
            entries,
            synced,
        } => {
            let behind = base.map(|base| format!(" behind {}", show_base(&base)));
            format!(
                " adopt {}{}, {first}: {}",
                show_ballot(synced),
                behind.unwrap_or_default(),
                show_entries(entries)
            )
        }
    });
    let decided = batch.decided.iter().map(|slot| format!(" decided {slot}"));
    promised.chain(log).chain(decided).collect()
}

fn show_base(base: &Base) -> String {
    format!("{}@{}", base.slot, show_ballot(&base.ballot))
}

fn show_log(log: &Summary) -> String {
    let run = |run: &Run| format!(" {}@{}", run.first, show_ballot(&run.ballot));
    format!(
        "{}..{}{}",
        log.start,
        log.last,
        log.runs.iter().map(run).collect::<String>()
    )
}

fn show_message(message: &Message) -> String {
    match message {
        Message::Ask { .. } => "ask".into(),
        Message::Answer {
            support, promised, ..
        } => format!("answer {support}, promised {}", show_ballot(promised)),
        Message::Prepare { ballot } => format!("prepare {}", show_ballot(ballot)),
        Message::Promise {
            ballot,
            synced,
            log,
        } => {
            format!(
                "promise {}, synced {}, {}",
                show_ballot(ballot),
                show_ballot(synced),
                show_log(log)
            )
        }
        Message::Pull { ballot, first } => format!("pull {} from {first}", show_ballot(ballot)),
        Message::Chunk {
            ballot,
            first,
            entries,
        } => {
            format!(
                "chunk {}, {first}: {}",
                show_ballot(ballot),
                show_entries(entries)
            )
        }
        Message::Behind { ballot, log } => {
            format!("behind {}, {}", show_ballot(ballot), show_log(log))
        }
        Message::Sync {
            ballot,
            from,
            through,
            first,
            entries,
            ..
        } => {
            format!(
                "sync {} {from}..{through}, {first}: {}",
                show_ballot(ballot),
                show_entries(entries)
            )
        }
        Message::Staged { ballot, next, .. } => {
            format!("staged {}, next {next}", show_ballot(ballot))
        }
        Message::Accept {
            ballot,
            first,
            payloads,
            decided,
        } => {
            let payloads: Vec<String> = payloads.iter().map(show_payload).collect();
            format!(
                "accept {}, {first}: {}; decided {decided}",
                show_ballot(ballot),
                payloads.join(" ")
            )
        }
        Message::Accepted { ballot, last } => {
            format!("accepted {} through {last}", show_ballot(ballot))
        }
        Message::Heartbeat {
            ballot,
            round,
            decided,
        } => {
            format!(
                "heartbeat {} round {}, decided {decided}",
                show_ballot(ballot),
                round.0
            )
        }
        Message::Heard {
            ballot,
            round,
            position: None,
        } => {
            format!("heard {} round {}", show_ballot(ballot), round.0)
        }
        Message::Heard {
            ballot,
            round,
            position: Some(position),
        } => {
            let (accepted, received) = (position.accepted, position.received);
            format!(
                "heard {} round {}, at {accepted} of {received}",
                show_ballot(ballot),
                round.0
            )
        }
        Message::Outdated { epoch, log, next } => {
            let next = next.map_or(String::new(), |next| format!(", next {next}"));
            format!("outdated in {}, {}{next}", epoch.0, show_log(log))
        }
        Message::Sealed {
            epoch,
            from,
            through,
            first,
            entries,
            ..
        } => {
            let entries = show_entries(entries);
            format!("sealed {} {from}..{through}, {first}: {entries}", epoch.0)
        }
        Message::Fetch { ballot, start } => format!("fetch {} {start}", show_ballot(ballot)),
        Message::Compacted { epoch, start } => format!("compacted {} {start}", epoch.0),
        Message::Stand { ballot } => format!("stand {}", show_ballot(ballot)),
        Message::Reject { ballot, promised } => {
            format!(
                "reject {}, promised {}",
                show_ballot(ballot),
                show_ballot(promised)
            )
        }
    }
}
