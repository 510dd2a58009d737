//! The invariants, asserted at every step over all voters at once.
//!
//! What is chosen is computed here from what is durable where, before any voter knows it; what voters then say is
//! decided must be that. A reference of the registers that clients write is replayed beside the real state machines.

use std::collections::BTreeMap;

use synod::paxos::{Ballot, Batch, Entry, LogChange, Message, NodeId, Payload, Recovered, Slot};
use synod::state::Command;

use crate::shadow::Shadow;

/// Everything known about the whole group.
pub(crate) struct Oracle {
    quorum: u32,
    initial: Ballot,
    shadows: BTreeMap<NodeId, Shadow>,
    /// The log of each ballot's leader, as far as any voter in sync with it has shown.
    logs: BTreeMap<Ballot, Vec<Entry>>,
    /// Who has accepted a slot in a ballot, as bits.
    accepted: BTreeMap<(Slot, Ballot), u32>,
    /// By slot less one: the entry, and the lowest ballot it was chosen in.
    chosen: Vec<Option<(Ballot, Entry)>>,
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
    pub(crate) fn new(voters: u32, initial: Ballot) -> Self {
        let shadows = (1..=voters)
            .map(|id| (NodeId(id), Shadow::new(initial)))
            .collect();
        Oracle {
            quorum: voters / 2 + 1,
            initial,
            shadows,
            logs: BTreeMap::new(),
            accepted: BTreeMap::new(),
            chosen: Vec::new(),
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
        for slot in first.0..=shadow.last().0 {
            let entry = shadow.entry(Slot(slot)).expect("up to its last");
            assert!(
                entry.ballot <= ballot,
                "slot {slot}: an entry of {} in a log of {ballot}",
                entry.ballot
            );
            match log.get(slot as usize - 1) {
                Some(other) => assert_eq!(
                    other, entry,
                    "two logs of ballot {ballot} differ at slot {slot}"
                ),
                None => {
                    assert_eq!(
                        log.len() as u64 + 1,
                        slot,
                        "a log of ballot {ballot} has a gap"
                    );
                    log.push(entry.clone());
                }
            }
            let voters = self.accepted.entry((Slot(slot), ballot)).or_default();
            *voters |= 1 << node.0;
            if voters.count_ones() >= self.quorum {
                choose(&mut self.chosen, slot, ballot, entry);
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
        self.shadows[&node].synced.is_none()
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
        assert!(
            recovered.promised >= shadow.promised,
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
        if rotten && recovered.synced.is_none() {
            self.is_real(recovered);
            let shadow = self.shadows.get_mut(&node).expect("one for each voter");
            shadow.synced = None;
            shadow.decided = recovered.decided;
            shadow.entries.clone_from(&recovered.entries);
        } else if whole.is(recovered) {
            unsure.iter().for_each(|batch| self.durable(node, batch));
        } else {
            assert!(
                shadow.is(recovered),
                "voter {node} held {} entries synced {:?} decided {}, recovered {} synced {:?} decided {}",
                shadow.entries.len(),
                shadow.synced,
                shadow.decided,
                recovered.entries.len(),
                recovered.synced,
                recovered.decided
            );
        }
        self.shadows
            .get_mut(&node)
            .expect("one for each voter")
            .promised = recovered.promised;
    }

    /// What is left of a damaged log may be older than what was held last, but was held, and no less decided.
    fn is_real(&self, recovered: &Recovered) {
        for (slot, entry) in (1..).zip(&recovered.entries) {
            let same = |log: &Vec<Entry>| log.get(slot - 1) == Some(entry);
            assert!(
                self.logs.values().any(same),
                "a damaged log shows another entry in slot {slot}"
            );
            if slot as u64 <= recovered.decided.0 {
                let chosen = self.chosen.get(slot - 1).and_then(Option::as_ref);
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
            last == Slot(0) || ballot == self.initial || bit(last.0),
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
                Payload::Barrier => false,
                Payload::Command(command) => {
                    let key = Command::decode(command)
                        .expect("clients propose commands")
                        .key;
                    let first = *self.keys.entry(key.as_str().to_owned()).or_insert(slot);
                    first == slot
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
