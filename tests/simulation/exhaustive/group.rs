//! A state of the group, and what must hold in every one.

use std::collections::BTreeMap;
use std::fmt;

use synod::paxos::{Ballot, Slot};

/// What may happen, at most so often in one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    /// A voter waits in vain.
    pub(crate) timeouts: u8,
    pub(crate) commands: u8,
    pub(crate) reads: u8,
    pub(crate) crashes: u8,
    /// Whether anything else happens while a batch is on its way.
    pub(crate) slow_disks: bool,
    /// Whether heartbeats are not all lost.
    pub(crate) heartbeats: bool,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} timeouts, {} commands, {} reads, {} crashes, {} disks, {} heartbeats",
            self.timeouts,
            self.commands,
            self.reads,
            self.crashes,
            if self.slow_disks { "slow" } else { "fast" },
            if self.heartbeats { "with" } else { "no" }
        )
    }
}

/// A state of the group.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    /// By node less one.
    pub(super) voters: [u32; 3],
    /// All messages ever sent, ascending.
    pub(super) sent: Vec<u32>,
    pub(super) left: Bounds,
    /// By slot less one and ballot: the entry accepted, and who ever accepted it, as bits.
    pub(super) votes: BTreeMap<(usize, Ballot), (u32, u8)>,
    /// By slot less one: the lowest ballot it was chosen in, and the entry, which never changes once it is known.
    pub(super) chosen: Vec<(Ballot, u32)>,
    /// The greatest slot that any voter has said is decided.
    pub(super) decided: Slot,
    /// What the read under way must show.
    pub(super) read: Option<Slot>,
}

/// What came of an action of one voter.
pub(super) struct Step {
    pub(super) voter: u32,
    pub(super) sent: Vec<u32>,
    /// Slots less one and the entries in them.
    pub(super) decided: Vec<(usize, u32)>,
    /// By which ballot it leads, and from which log on.
    pub(super) leads: Option<(Ballot, Vec<u32>)>,
    pub(super) read: Option<Slot>,
    pub(super) refused: bool,
}

impl Group {
    /// This voter's log is durable, and that of the leader of `ballot`: a vote for all in it, for ever. What a majority
    /// has voted for in one ballot is chosen, and must not change.
    pub(super) fn count_votes(
        &mut self,
        node: usize,
        ballot: Ballot,
        log: &[u32],
    ) -> Result<(), String> {
        for (slot, &entry) in log.iter().enumerate() {
            let (voted, voters) = self.votes.entry((slot, ballot)).or_insert((entry, 0));
            *voters |= 1 << node;
            if *voted != entry {
                return Err(format!("slot {} differs in {ballot}", slot + 1));
            }
            if voters.count_ones() < 2 {
                continue;
            }
            match self.chosen.get_mut(slot) {
                None => self.chosen.push((ballot, entry)),
                Some((_, known)) if *known != entry => {
                    return Err(format!("two entries are chosen in slot {}", slot + 1));
                }
                Some((lowest, _)) => *lowest = ballot.min(*lowest),
            }
        }
        Ok(())
    }

    /// Holds what a voter says against what is chosen.
    pub(super) fn hear(&mut self, step: &Step) -> Result<(), String> {
        for &(slot, entry) in &step.decided {
            if self.chosen.get(slot).map(|(_, chosen)| *chosen) != Some(entry) {
                return Err(format!(
                    "slot {} is told decided and is not chosen",
                    slot + 1
                ));
            }
            self.decided = self.decided.max(Slot(slot as u64 + 1));
        }
        if let Some((ballot, log)) = &step.leads {
            let missing = |(slot, (chosen_in, chosen)): (usize, &(Ballot, u32))| {
                chosen_in < ballot && log.get(slot) != Some(chosen)
            };
            if let Some(slot) = self.chosen.iter().enumerate().position(missing) {
                return Err(format!(
                    "the leader of {ballot} lacks slot {}, which is chosen",
                    slot + 1
                ));
            }
        }
        if let Some(shown) = step.read {
            if self.read.is_some_and(|asked| shown < asked) {
                return Err(format!("a read shows slot {shown} and nothing behind it"));
            }
            self.read = None;
        }
        if step.refused {
            self.read = None;
        }
        Ok(())
    }

    pub(super) fn has_sent(&self, number: u32) -> bool {
        self.sent.binary_search(&number).is_ok()
    }
}

impl Step {
    /// Whether the voter told nothing but what it sent.
    pub(super) fn is_silent(&self) -> bool {
        self.decided.is_empty() && self.leads.is_none() && self.read.is_none() && !self.refused
    }
}
