//! One voter as a value: the real replica, what its disk holds, and what is on its way to the disk.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use synod::paxos::{
    Ballot, Batch, Entry, Epoch, Input, LogChange, Membership, Message, NodeId, Options, Output,
    PersistId, ProposalId, ReadId, Recovered, Replica, Slot, Time,
};

use crate::shadow::Shadow;
use crate::trace;

const VOTERS: u32 = 3;
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// From whom, to whom, and what.
pub(super) type Sent = (NodeId, NodeId, Message);

/// A voter that runs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Voter {
    pub(super) replica: Replica,
    /// What a crash leaves for certain.
    pub(super) disk: Shadow,
    /// Handed out and not durable, in order.
    pending: Vec<(PersistId, Batch)>,
    /// Waits for a batch.
    withheld: Vec<(PersistId, NodeId, Message)>,
    id: NodeId,
    starts: u64,
}

/// What can happen to one voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// The message of this number arrives, for the first time or again.
    Deliver(u32),
    /// It has waited for longer than it wanted to, and finds support if it asks for it: no safety rests on who would
    /// support whom.
    TimeOut,
    /// A client wants this command agreed on.
    Propose(u8),
    /// A client wants to read.
    Read,
    /// The first batch on its way is durable.
    Write,
    /// It ends and starts again; so many of the batches on their way had come to be durable.
    Crash(u8),
}

/// What an action has made of it, and told the others.
#[derive(Clone, Default)]
pub(super) struct Effects {
    pub(super) sent: Vec<(NodeId, Message)>,
    /// Told decided: the first slot and what is in it and those behind.
    pub(super) decided: Vec<(Slot, Vec<Entry>)>,
    /// By which ballot it leads, and from which log on.
    pub(super) leads: Option<(Ballot, Vec<Entry>)>,
    /// A read was answered as of this slot.
    pub(super) read: Option<Slot>,
    /// No read is under way any more.
    pub(super) refused: bool,
}

impl Voter {
    /// A voter that has never run, connected to all others.
    pub(super) fn new(id: u32) -> (Self, Effects) {
        let empty = Shadow::new(Ballot::initial(Epoch(0)));
        Self::start(NodeId(id), empty, 0, Time::default())
    }

    fn start(id: NodeId, disk: Shadow, starts: u64, now: Time) -> (Self, Effects) {
        let voters: BTreeSet<NodeId> = (1..=VOTERS).map(NodeId).collect();
        let options = Options {
            id,
            membership: Membership {
                epoch: Epoch(0),
                voters: voters.clone(),
            },
            heartbeat: ELECTION_TIMEOUT / 10,
            election_timeout: ELECTION_TIMEOUT,
            window_entries: 8,
            window_bytes: 1 << 20,
            seed: starts,
        };
        let mut voter = Voter {
            replica: Replica::new(now, options, recovered(&disk)),
            disk,
            pending: Vec::new(),
            withheld: Vec::new(),
            id,
            starts,
        };
        let mut effects = Effects::default();
        voter.input(now, Input::Tick, &mut effects);
        for peer in voters.into_iter().filter(|&peer| peer != id) {
            voter.input(now, Input::Connected(peer), &mut effects);
        }
        (voter, effects)
    }

    /// What comes of `action` at `now`, where `sent` are the messages by number; or the broken invariant.
    pub(super) fn act(
        &self,
        now: Time,
        action: Action,
        sent: &[Sent],
    ) -> Result<(Self, Effects), String> {
        let next = || self.next(now, action, sent);
        catch_unwind(AssertUnwindSafe(next)).map_err(|_| trace::remembered())
    }

    fn next(&self, now: Time, action: Action, sent: &[Sent]) -> (Self, Effects) {
        let mut voter = self.clone();
        let mut effects = Effects::default();
        let out = &mut effects;
        match action {
            Action::Deliver(number) => {
                let (from, _, message) = sent[number as usize].clone();
                voter.input(now, Input::Message { from, message }, out);
            }
            Action::TimeOut => voter.time_out(now, out),
            Action::Propose(command) => {
                let (id, command) = (ProposalId(0), Bytes::copy_from_slice(&[command]));
                voter.input(now, Input::Propose { id, command }, out);
            }
            Action::Read => voter.input(now, Input::Read { id: ReadId(0) }, out),
            Action::Write => voter.write(now, out),
            Action::Crash(kept) => {
                for (_, batch) in voter.pending.drain(..usize::from(kept)) {
                    voter.disk.apply(&batch);
                }
                return Self::start(voter.id, voter.disk, voter.starts + 1, now);
            }
        }
        (voter, effects)
    }

    fn time_out(&mut self, now: Time, effects: &mut Effects) {
        self.input(now, Input::Tick, effects);
        let asked = |(_, message): &(NodeId, Message)| matches!(message, Message::Ask { .. });
        let asks: Vec<_> = effects.sent.extract_if(.., |sent| asked(sent)).collect();
        for (to, message) in asks {
            let Message::Ask { attempt } = message else {
                continue;
            };
            let answer = Message::Answer {
                attempt,
                support: true,
                promised: self.replica.ballot(),
            };
            let (from, message) = (to, answer);
            self.input(now, Input::Message { from, message }, effects);
        }
    }

    fn write(&mut self, now: Time, effects: &mut Effects) {
        let (id, batch) = self.pending.remove(0);
        self.disk.apply(&batch);
        let (leave, stay) = std::mem::take(&mut self.withheld)
            .into_iter()
            .partition(|(after, ..)| *after <= id);
        self.withheld = stay;
        let leave: Vec<(PersistId, NodeId, Message)> = leave;
        effects
            .sent
            .extend(leave.into_iter().map(|(_, to, message)| (to, message)));
        self.input(now, Input::Persisted(id), effects);
    }

    fn input(&mut self, now: Time, input: Input, effects: &mut Effects) {
        for output in self.replica.handle(now, input) {
            match output {
                Output::Persist { id, batch } => {
                    self.pending.push((id, batch));
                    effects.leads = effects.leads.take().or_else(|| self.leads());
                }
                Output::Send { to, message, after } => match after {
                    // As on the network: once is as good as twice.
                    Some(after) if self.withholds(after, to, &message) => {}
                    Some(after) => self.withheld.push((after, to, message)),
                    None => effects.sent.push((to, message)),
                },
                Output::Decided { first, entries } => effects.decided.push((first, entries)),
                Output::ReadReady { slot, .. } => effects.read = Some(slot),
                Output::ReadRefused { .. } => effects.refused = true,
                _ => {}
            }
        }
    }

    fn withholds(&self, after: PersistId, to: NodeId, message: &Message) -> bool {
        let same = |held: &&(PersistId, NodeId, Message)| {
            (held.0, held.1, &held.2) == (after, to, message)
        };
        self.withheld.iter().any(|held| same(&held))
    }

    /// The log that it has just handed out as that of a ballot of its own.
    fn leads(&self) -> Option<(Ballot, Vec<Entry>)> {
        let (_, newest) = self.pending.last()?;
        let Some(LogChange::Adopt { synced, .. }) = &newest.log else {
            return None;
        };
        (synced.node == Some(self.id)).then(|| {
            let mut disk = self.disk.clone();
            for (_, batch) in &self.pending {
                disk.apply(batch);
            }
            (*synced, disk.entries)
        })
    }

    /// How many batches are on their way.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }
}

/// What a start finds.
fn recovered(disk: &Shadow) -> Recovered {
    Recovered {
        promised: disk.promised,
        synced: disk.synced,
        decided: disk.decided,
        entries: disk.entries.clone(),
        ..Recovered::empty(Ballot::initial(Epoch(0)))
    }
}
