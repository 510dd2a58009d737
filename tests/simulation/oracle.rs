//! The invariants, asserted at every step over all voters at once.
//!
//! What is chosen is computed here from what is durable where, before any voter knows it; what voters then say is
//! decided must be that. A reference of the registers that clients write is replayed beside the real state machines.

use std::collections::BTreeMap;

use synod::paxos::{
    Ballot, Batch, Entry, Epoch, LogChange, Membership, Message, NodeId, Payload, Recovered, Slot,
};
use synod::state::{Body, Command};

use crate::shadow::Shadow;

/// Everything known about the whole group.
pub(crate) struct Oracle {
    /// Who votes in each epoch, as far as its Seal is chosen.
    members: BTreeMap<Epoch, Membership>,
    shadows: BTreeMap<NodeId, Shadow>,
    /// The log of each ballot's leader, as far as any voter in sync with it has shown.
    logs: BTreeMap<Ballot, BTreeMap<u64, Entry>>,
    /// Who has accepted a slot in a ballot, as bits.
    accepted: BTreeMap<(Slot, Ballot), u32>,
    /// By slot less one: the entry, and the lowest ballot it was chosen in.
    chosen: Vec<Option<(Ballot, Entry)>>,
    /// The newest epoch of anything chosen.
    reached: Epoch,
    /// By slot less one: the state after it.
    states: Vec<State>,
    /// The slot of the first entry with a key.
    keys: BTreeMap<String, Slot>,
    /// The greatest slot whose effect any client has seen.
    seen: Slot,
}

/// What every machine must be at one slot.
struct State {
    digest: u64,
    revision: u64,
}

impl Oracle {
    pub(crate) fn new(first: Membership) -> Self {
        let initial = Ballot::initial(first.epoch);
        let reached = first.epoch;
        let voters = first.voters.iter();
        let shadows = voters.map(|id| (*id, Shadow::new(initial))).collect();
        Oracle {
            members: BTreeMap::from([(first.epoch, first)]),
            shadows,
            logs: BTreeMap::new(),
            accepted: BTreeMap::new(),
            chosen: Vec::new(),
            reached,
            states: Vec::new(),
            keys: BTreeMap::new(),
            seen: Slot(0),
        }
    }

    /// This batch is now durable there.
    pub(crate) fn durable(&mut self, node: NodeId, batch: &Batch) {
        let shadow = self.shadows.get_mut(&node).expect("one for each voter");
        let Some(first) = shadow.apply(batch) else {
            return;
        };
        let adopted = matches!(batch.log, Some(LogChange::Adopt { .. }));
        if let Some(LogChange::Adopt {
            base: Some(base), ..
        }) = &batch.log
        {
            let chosen = self.chosen.get(base.slot.0 as usize - 1);
            let ballot = chosen
                .and_then(Option::as_ref)
                .map(|(_, entry)| entry.ballot);
            assert_eq!(
                ballot,
                Some(base.ballot),
                "a checkpoint of what was not chosen"
            );
        }
        if let Some(LogChange::Adopt { synced, .. }) = &batch.log {
            // What the log begins behind is the leader's, too, and may be the last that its leader has.
            let before = self.shadows[&node].start.previous();
            *self.accepted.entry((before, *synced)).or_default() |= 1 << node.0;
        }
        self.holds(node, if adopted { Slot(1) } else { first });
        if adopted {
            self.nothing_chosen_is_missing(node);
        }
    }

    /// The voter's log from `first` on is durable and of the leader it is in sync with.
    fn holds(&mut self, node: NodeId, first: Slot) {
        let shadow = &self.shadows[&node];
        let Some(ballot) = shadow.synced else { return };
        let log = self.logs.entry(ballot).or_default();
        for slot in first.max(shadow.start).0..=shadow.last().0 {
            let entry = shadow.entry(Slot(slot)).expect("up to its last");
            assert!(
                entry.ballot <= ballot,
                "slot {slot}: an entry of {} in a log of {ballot}",
                entry.ballot
            );
            match log.get(&slot) {
                Some(other) => assert_eq!(
                    other, entry,
                    "two logs of ballot {ballot} differ at slot {slot}"
                ),
                None => drop(log.insert(slot, entry.clone())),
            }
            follows(entry, slot.checked_sub(2).and_then(|at| log.get(&(at + 1))));
            let voters = self.accepted.entry((Slot(slot), ballot)).or_default();
            *voters |= 1 << node.0;
            if has_majority(&self.members, ballot.epoch, *voters) {
                choose(&mut self.chosen, slot, ballot, entry);
                self.reached = self.reached.max(entry.ballot.epoch);
                if let Some(next) = entry.begins() {
                    self.members.insert(next.epoch, next.membership());
                }
            }
            if let Some(Some((lowest, value))) = self.chosen.get(slot as usize - 1)
                && *lowest <= ballot
            {
                assert_eq!(
                    value, entry,
                    "slot {slot} was chosen in {lowest}, ballot {ballot} has another entry"
                );
            }
        }
    }

    /// A log of a ballot holds all that was chosen in those before it.
    fn nothing_chosen_is_missing(&self, node: NodeId) {
        let shadow = &self.shadows[&node];
        let ballot = shadow.synced.expect("it has just adopted a log");
        for (at, chosen) in self
            .chosen
            .iter()
            .enumerate()
            .skip(shadow.last().0 as usize)
        {
            let lowest = chosen.as_ref().map_or(ballot, |(lowest, _)| *lowest);
            assert!(
                lowest >= ballot,
                "the log of {ballot} lacks slot {}, chosen in {lowest}",
                at + 1
            );
        }
    }

    /// Whether the voter's log is damaged and was not synced since.
    pub(crate) fn is_damaged(&self, node: NodeId) -> bool {
        let shadow = self.shadows.get(&node);
        shadow.is_some_and(|shadow| shadow.synced.is_none())
    }

    /// A newcomer holds this durably: the decided log through a Seal, and has entered the epoch behind it.
    pub(crate) fn joined(&mut self, node: NodeId, held: Recovered) {
        for (slot, entry) in (held.start.0..).zip(&held.entries) {
            self.decided(node, Slot(slot), entry);
        }
        assert_eq!(held.synced, Some(Ballot::initial(held.promised.epoch)));
        let shadow = Shadow {
            promised: held.promised,
            synced: held.synced,
            decided: held.decided,
            start: held.start,
            entries: held.entries,
        };
        assert_eq!(
            shadow.decided,
            shadow.last(),
            "it holds what is decided alone"
        );
        self.shadows.insert(node, shadow);
        self.holds(node, Slot(1));
    }

    /// Who votes in the newest epoch whose Seal is chosen.
    pub(crate) fn newest(&self) -> &Membership {
        let (_, newest) = self.members.last_key_value().expect("there is a first");
        newest
    }

    /// Whose majorities must be well: those of the newest epoch, and of the one before until something is chosen in the
    /// newest, for only they may know that it has begun.
    pub(crate) fn in_force(&self) -> Vec<Membership> {
        let newest = self.newest().epoch;
        let begun = self.reached == newest;
        let from = Epoch(newest.0.saturating_sub(u32::from(!begun)));
        self.members.range(from..).map(|(_, m)| m.clone()).collect()
    }

    /// A voter came back with this. `unsure` was being written when it went down.
    pub(crate) fn recovered(
        &mut self,
        node: NodeId,
        recovered: &Recovered,
        unsure: &[Batch],
        rotten: bool,
    ) {
        let shadow = &self.shadows[&node];
        // That an epoch was entered stands in the log alone: nothing was promised in it yet.
        let entered = rotten && shadow.promised.node.is_none();
        assert!(
            recovered.promised >= shadow.promised || entered,
            "voter {node} forgot its promise"
        );
        assert!(
            recovered
                .synced
                .is_none_or(|synced| synced <= recovered.promised),
            "synced above promised"
        );
        let whole = {
            let mut whole = shadow.clone();
            for batch in unsure {
                whole.apply(batch);
            }
            whole
        };
        assert!(
            recovered.promised <= whole.promised,
            "voter {node} recovered a promise it never made"
        );
        // One that was damaged before may go on from what a checkpoint sums up that it fetched and did not adopt.
        let went_on = shadow.synced.is_none() && recovered.decided > shadow.decided;
        if (rotten || went_on) && recovered.synced.is_none() {
            self.is_real(recovered);
            let shadow = self.shadows.get_mut(&node).expect("one for each voter");
            shadow.synced = None;
            shadow.decided = recovered.decided;
            shadow.start = recovered.start;
            shadow.entries.clone_from(&recovered.entries);
        } else if whole.is(recovered, rotten) {
            unsure.iter().for_each(|batch| self.durable(node, batch));
        } else {
            assert!(
                shadow.is(recovered, rotten),
                "voter {node} held {} entries synced {:?} decided {}, recovered {} synced {:?} decided {}",
                shadow.entries.len(),
                shadow.synced,
                shadow.decided,
                recovered.entries.len(),
                recovered.synced,
                recovered.decided
            );
        }
        let shadow = self.shadows.get_mut(&node).expect("one for each voter");
        shadow.promised = recovered.promised;
        shadow.decided = match rotten {
            true => recovered.decided,
            false => shadow.decided,
        };
    }

    /// A state was read back from a checkpoint of `slot`.
    pub(crate) fn restored(&self, node: NodeId, slot: Slot, digest: u64) {
        let Some(at) = slot.0.checked_sub(1) else {
            return;
        };
        let state = self.states.get(at as usize);
        assert_eq!(
            Some(digest),
            state.map(|state| state.digest),
            "voter {node} restored another state of slot {slot}"
        );
    }

    /// What is left of a damaged log may be older than what was held last, but was held, and no less decided.
    fn is_real(&self, recovered: &Recovered) {
        for (slot, entry) in (recovered.start.0..).zip(&recovered.entries) {
            let same = |log: &BTreeMap<u64, Entry>| log.get(&slot) == Some(entry);
            assert!(
                self.logs.values().any(same),
                "a damaged log shows another entry in slot {slot}"
            );
            if slot <= recovered.decided.0 {
                let chosen = self.chosen.get(slot as usize - 1).and_then(Option::as_ref);
                assert!(
                    chosen.is_some_and(|(_, chosen)| chosen == entry),
                    "slot {slot} is not what was decided"
                );
            }
        }
    }

    /// A message leaves: what it says must be durable.
    pub(crate) fn leaves(&self, node: NodeId, message: &Message) {
        let shadow = &self.shadows[&node];
        match message {
            Message::Prepare { ballot }
            | Message::Promise { ballot, .. }
            | Message::Behind { ballot, .. } => {
                assert!(
                    shadow.promised >= *ballot,
                    "voter {node}: {message:?} before its promise is durable"
                );
            }
            Message::Accepted { ballot, last } => self.has_accepted(node, *ballot, *last),
            Message::Heard {
                ballot,
                position: Some(position),
                ..
            } => {
                self.has_accepted(node, *ballot, position.accepted);
            }
            _ => {}
        }
        if let Message::Promise { synced, log, .. } = message {
            assert!(
                *synced <= shadow.promised && log.decided <= log.last,
                "voter {node}: {message:?}"
            );
        }
    }

    /// A voter says that it accepted all up to `last` in `ballot`: it must have, durably, at some time.
    fn has_accepted(&self, node: NodeId, ballot: Ballot, last: Slot) {
        let bit = |slot| {
            self.accepted
                .get(&(Slot(slot), ballot))
                .is_some_and(|voters| voters & 1 << node.0 != 0)
        };
        assert!(
            last == Slot(0) || ballot.node.is_none() || bit(last.0),
            "voter {node} accepted {last} in {ballot} before it is durable"
        );
    }

    /// A voter says that this is decided.
    pub(crate) fn decided(&self, node: NodeId, slot: Slot, entry: &Entry) {
        match self.chosen.get(slot.0 as usize - 1) {
            Some(Some((_, chosen))) => assert_eq!(
                chosen, entry,
                "voter {node} decided another entry in slot {slot}"
            ),
            _ => panic!("voter {node} decided slot {slot}, which no majority holds durably"),
        }
    }

    /// A machine has applied `slot`.
    pub(crate) fn applied(
        &mut self,
        node: NodeId,
        slot: Slot,
        entry: &Entry,
        digest: u64,
        revision: u64,
    ) {
        if self.states.len() as u64 + 1 == slot.0 {
            let fresh = match &entry.payload {
                Payload::Barrier | Payload::Seal(_) => false,
                Payload::Command(command) => {
                    let command = Command::decode(command).expect("clients propose commands");
                    let key = command.key.as_str().to_owned();
                    // Sessions are no part of the config.
                    matches!(command.body, Body::Config(_))
                        && *self.keys.entry(key).or_insert(slot) == slot
                }
            };
            let before = self.states.last().map_or(0, |state| state.revision);
            let expected = if fresh { slot.0 } else { before };
            assert_eq!(
                revision, expected,
                "slot {slot}: a command must count once, at its first entry"
            );
            self.states.push(State { digest, revision });
        }
        let state = self
            .states
            .get(slot.0 as usize - 1)
            .expect("slots are applied in order everywhere");
        assert_eq!(
            (digest, revision),
            (state.digest, state.revision),
            "voter {node} differs at slot {slot}"
        );
    }

    /// What any read that begins now must reflect.
    pub(crate) fn seen(&self) -> Slot {
        self.seen
    }

    /// A client's write was acknowledged as done at `revision`; `floor` is what was seen when it began.
    pub(crate) fn acknowledged(&mut self, key: &str, revision: u64, floor: Slot) {
        assert!(
            Slot(revision) > floor,
            "write {key} took slot {revision}, though {floor} had been seen when it began"
        );
        assert_eq!(
            self.keys.get(key),
            Some(&Slot(revision)),
            "write {key} was acknowledged at another slot than its own"
        );
        self.seen = self.seen.max(Slot(revision));
    }

    /// A client's read had to reflect `ready` and saw `applied`; `floor` is what had been seen when it began.
    pub(crate) fn read(&mut self, ready: Slot, applied: Slot, floor: Slot) {
        assert!(
            ready >= floor,
            "a read saw slot {ready}, though {floor} had been seen when it began"
        );
        self.seen = self.seen.max(applied);
    }

    /// The last slot such that it and all before it are chosen.
    pub(crate) fn chosen(&self) -> Slot {
        Slot(
            self.chosen
                .iter()
                .take_while(|chosen| chosen.is_some())
                .count() as u64,
        )
    }
}

fn has_majority(members: &BTreeMap<Epoch, Membership>, epoch: Epoch, voters: u32) -> bool {
    let Some(membership) = members.get(&epoch) else {
        return false;
    };
    let votes = membership
        .voters
        .iter()
        .filter(|voter| voters & 1 << voter.0 != 0);
    votes.count() >= membership.quorum()
}

/// Nothing is above a Seal in its epoch, and nothing of the next epoch is below one.
fn follows(entry: &Entry, before: Option<&Entry>) {
    let Some(before) = before else { return };
    let expected = match before.payload {
        Payload::Seal(_) => before.ballot.epoch.next(),
        _ => before.ballot.epoch,
    };
    assert_eq!(
        entry.ballot.epoch, expected,
        "an entry of {} stands behind one of {}",
        entry.ballot, before.ballot
    );
}

fn choose(chosen: &mut Vec<Option<(Ballot, Entry)>>, slot: u64, ballot: Ballot, entry: &Entry) {
    let at = slot as usize - 1;
    if chosen.len() <= at {
        chosen.resize(at + 1, None);
    }
    match &mut chosen[at] {
        Some((lowest, value)) => {
            assert_eq!(
                value, entry,
                "slot {slot}: one value in {lowest}, another in {ballot}"
            );
            *lowest = (*lowest).min(ballot);
        }
        none => *none = Some((ballot, entry.clone())),
    }
}
