//! The depth-first search.
//!
//! A voter's states are few beside those of the group, so each is kept once, and what an action makes of it is worked
//! out once; a state of the group is then a few numbers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use synod::paxos::{Ballot, Entry, Message, NodeId, Role, Slot, Time};

use super::group::{Bounds, Group, Step};
use super::voter::{Action, Effects, Sent, Voter};

/// How far time goes on when somebody waits in vain: past every timeout.
const STEP: Duration = Duration::from_secs(2);

/// Things, each kept once and named by a number.
struct Interned<T> {
    numbers: HashMap<T, u32>,
    things: Vec<T>,
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn new() -> Self {
        Interned {
            numbers: HashMap::new(),
            things: Vec::new(),
        }
    }

    fn number(&mut self, thing: T) -> u32 {
        *self.numbers.entry(thing).or_insert_with_key(|thing| {
            self.things.push(thing.clone());
            self.things.len() as u32 - 1
        })
    }
}

/// A voter less one, and what happens to it.
type Move = (usize, Action);

/// A state on the way that is searched.
struct Stop {
    /// How it came to be; nothing made the first.
    by: Option<Move>,
    /// What is left to try.
    moves: Vec<Move>,
    group: Group,
}

pub(super) struct Search {
    bounds: Bounds,
    voters: Interned<Voter>,
    /// What each voter's disk holds: in sync with which ballot's leader, and the log.
    disks: Vec<(Option<Ballot>, Vec<u32>)>,
    messages: Interned<Sent>,
    entries: Interned<Entry>,
    /// By voter, the time and the move.
    steps: HashMap<(u32, u8, Action), Result<Step, String>>,
    met: HashSet<u64>,
}

/// How much was searched.
pub(super) struct Found {
    states: usize,
    voters: usize,
    messages: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states of {} states of voters and {} messages",
            self.states, self.voters, self.messages
        )
    }
}

impl Search {
    pub(super) fn new(bounds: Bounds) -> Self {
        Search {
            bounds,
            voters: Interned::new(),
            disks: Vec::new(),
            messages: Interned::new(),
            entries: Interned::new(),
            steps: HashMap::new(),
            met: HashSet::new(),
        }
    }

    /// All states there are; or how to get to one that is broken.
    pub(super) fn run(mut self) -> Result<Found, String> {
        let first = self.first();
        self.met.insert(hash(&first));
        let mut path = vec![Stop {
            by: None,
            moves: self.moves(&first),
            group: first,
        }];
        while let Some(stop) = path.last_mut() {
            let Some(next) = stop.moves.pop() else {
                path.pop();
                continue;
            };
            match self.make(&stop.group, next) {
                Ok(Some(group)) if self.met.insert(hash(&group)) => path.push(Stop {
                    by: Some(next),
                    moves: self.moves(&group),
                    group,
                }),
                Ok(_) => {}
                Err(broken) => return Err(self.told(&path, next, &broken)),
            }
        }
        Ok(Found {
            states: self.met.len(),
            voters: self.voters.things.len(),
            messages: self.messages.things.len(),
        })
    }

    fn first(&mut self) -> Group {
        let mut sent = Vec::new();
        let voters = [1, 2, 3].map(|id| {
            let (voter, effects) = Voter::new(id);
            sent.extend(self.sent(id as usize - 1, effects.sent));
            self.voter(voter)
        });
        Group {
            voters,
            sent,
            left: self.bounds,
            votes: BTreeMap::new(),
            chosen: Vec::new(),
            decided: Slot::ZERO,
            read: None,
        }
    }

    /// What can happen in `group`.
    fn moves(&self, group: &Group) -> Vec<Move> {
        let voters = group
            .voters
            .map(|number| &self.voters.things[number as usize]);
        let writes = (0..3).find(|&node| voters[node].pending() > 0);
        if let Some(node) = writes.filter(|_| !self.bounds.slow_disks) {
            return disk_moves(node, voters[node], &group.left).collect();
        }
        let deliver = |&number: &u32| {
            let (_, to, _) = &self.messages.things[number as usize];
            (to.0 as usize - 1, Action::Deliver(number))
        };
        let mut moves = Vec::new();
        for (node, voter) in voters.into_iter().enumerate() {
            moves.extend(self.client_moves(node, voter, group));
            moves.extend(disk_moves(node, voter, &group.left));
        }
        moves.extend(group.sent.iter().map(deliver));
        moves
    }

    /// The state after a move, if all is in order in it; none if the move changes nothing.
    fn make(&mut self, group: &Group, (node, action): Move) -> Result<Option<Group>, String> {
        let left = Self::left(group.left, action);
        let (from, time) = (group.voters[node], self.bounds.timeouts - left.timeouts);
        self.work_out(node, from, time, action);
        let step = self.steps[&(from, time, action)].as_ref();
        let step = step.map_err(String::clone)?;
        let idle = step.voter == from && step.is_silent() && left == group.left;
        if idle && step.sent.iter().all(|number| group.has_sent(*number)) {
            return Ok(None);
        }
        let mut group = Group {
            left,
            ..group.clone()
        };
        if action == Action::Read {
            group.read = Some(group.decided);
        }
        group.voters[node] = step.voter;
        for &number in &step.sent {
            if let Err(at) = group.sent.binary_search(&number) {
                group.sent.insert(at, number);
            }
        }
        let (synced, log) = &self.disks[step.voter as usize];
        if step.voter != from
            && let Some(ballot) = *synced
        {
            group.count_votes(node, ballot, log)?;
        }
        group.hear(step)?;
        Ok(Some(group))
    }

    /// Waiting in vain, and what clients do.
    ///
    /// The first to wait in vain is the first voter: they differ by nothing but their names, which order the ballots of
    /// one round, and of two that stand before they hear of each other either may be heard first.
    fn client_moves(
        &self,
        node: usize,
        voter: &Voter,
        group: &Group,
    ) -> impl Iterator<Item = Move> {
        let left = group.left;
        let leads = voter.replica.role() == Role::Leader;
        let waits = left.timeouts > 0 && (node == 0 || left.timeouts < self.bounds.timeouts);
        let reads = leads && left.reads > 0 && group.read.is_none();
        [
            waits.then_some(Action::TimeOut),
            (leads && left.commands > 0).then_some(Action::Propose(left.commands)),
            reads.then_some(Action::Read),
        ]
        .into_iter()
        .flatten()
        .map(move |action| (node, action))
    }

    fn left(mut left: Bounds, action: Action) -> Bounds {
        match action {
            Action::TimeOut => left.timeouts -= 1,
            Action::Propose(_) => left.commands -= 1,
            Action::Crash(_) => left.crashes -= 1,
            Action::Read => left.reads -= 1,
            Action::Deliver(_) | Action::Write => {}
        }
        left
    }

    /// Works out what the move makes of the voter, unless that is known.
    fn work_out(&mut self, node: usize, from: u32, time: u8, action: Action) {
        if self.steps.contains_key(&(from, time, action)) {
            return;
        }
        let now = Time(STEP * u32::from(time));
        let acted = self.voters.things[from as usize].act(now, action, &self.messages.things);
        let step = acted.map(|(voter, effects)| self.step(node, voter, effects));
        self.steps.insert((from, time, action), step);
    }

    fn step(&mut self, node: usize, voter: Voter, effects: Effects) -> Step {
        let mut decided = Vec::new();
        for (first, log) in effects.decided {
            let slots = first.0 as usize - 1..;
            decided.extend(slots.zip(self.log(&log)));
        }
        Step {
            voter: self.voter(voter),
            sent: self.sent(node, effects.sent),
            decided,
            leads: effects.leads.map(|(ballot, log)| (ballot, self.log(&log))),
            read: effects.read,
            refused: effects.refused,
        }
    }

    fn voter(&mut self, voter: Voter) -> u32 {
        if let Some(number) = self.voters.numbers.get(&voter) {
            return *number;
        }
        let log = self.log(&voter.disk.entries);
        self.disks.push((voter.disk.synced, log));
        self.voters.number(voter)
    }

    fn log(&mut self, log: &[Entry]) -> Vec<u32> {
        let numbers = log.iter().map(|entry| self.entries.number(entry.clone()));
        numbers.collect()
    }

    fn sent(&mut self, node: usize, sent: Vec<(NodeId, Message)>) -> Vec<u32> {
        let from = NodeId(node as u32 + 1);
        let arrives = |(_, message): &(NodeId, Message)| {
            self.bounds.heartbeats || !matches!(message, Message::Heartbeat { .. })
        };
        let sent: Vec<_> = sent.into_iter().filter(arrives).collect();
        sent.into_iter()
            .map(|(to, message)| self.messages.number((from, to, message)))
            .collect()
    }

    /// The way to what is broken, a line for each move.
    fn told(&self, path: &[Stop], last: Move, why: &str) -> String {
        let moves = path.iter().filter_map(|stop| stop.by).chain([last]);
        let line = |(node, action): Move| {
            let what = match action {
                Action::Deliver(number) => {
                    let (from, _, message) = &self.messages.things[number as usize];
                    format!("gets from {}: {message:?}", from.0)
                }
                other => format!("{other:?}"),
            };
            format!("\n  {}: {what}", node + 1)
        };
        [why.to_owned()]
            .into_iter()
            .chain(moves.map(line))
            .collect()
    }
}

/// Writing what is on its way, and crashing.
fn disk_moves(node: usize, voter: &Voter, left: &Bounds) -> impl Iterator<Item = Move> {
    let pending = voter.pending() as u8;
    let crash = (left.crashes > 0).then_some((0..=pending).map(Action::Crash));
    let write = (pending > 0).then_some(Action::Write);
    let moves = crash.into_iter().flatten().chain(write);
    moves.map(move |action| (node, action))
}

fn hash(group: &Group) -> u64 {
    let mut hasher = DefaultHasher::new();
    group.hash(&mut hasher);
    hasher.finish()
}
