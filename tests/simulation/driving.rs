//! What the driver of `replication` does: inputs in, outputs done in order.

use rand::RngExt;
use synod::paxos::{
    Entry, Input, Membership, Message, NodeId, Output, Payload, ProposalId, ReadId, Refusal, Slot,
};
use synod::replication::codec;
use synod::state::{self, Applied, Command, Outcome, Stamp};

use crate::clients::{Answer, Call, What};
use crate::node::{Arrived, Process};
use crate::world::{Event, World};

impl World {
    /// Something reaches a process, unless it is down; one that stands still finds it later.
    pub(crate) fn arrives(&mut self, node: NodeId, arrived: Arrived) {
        let it = self.node(node);
        let paused = it.paused.is_some();
        match &mut it.process {
            None => {}
            Some(process) if paused => process.backlog.push(arrived),
            Some(_) => match arrived {
                Arrived::Input(input) => self.input(node, input),
                Arrived::Call(call) => self.call(node, call),
            },
        }
    }

    /// Hands one input in: at once, or with those that come until the process looks.
    pub(crate) fn input(&mut self, node: NodeId, input: Input) {
        let longest = self.mix.gathers;
        let it = self.node(node);
        let boot = it.boot;
        let Some(process) = &mut it.process else {
            return;
        };
        process.gathered.push(input);
        if longest == 0 {
            self.handle(node);
        } else if process.gathered.len() == 1 {
            let delay = self.rng.random_range(0..longest);
            self.after(delay, Event::Handle { node, boot });
        }
    }

    /// The process looks, unless it stands still.
    pub(crate) fn looks(&mut self, node: NodeId, boot: u64) {
        let it = self.node(node);
        if it.boot == boot && it.paused.is_none() {
            self.handle(node);
        }
    }

    /// Hands in what has gathered and does what comes out.
    pub(crate) fn handle(&mut self, node: NodeId) {
        let now = self.now;
        let it = self.node(node);
        let clock = it.clock(now);
        let Some(process) = &mut it.process else {
            return;
        };
        let gathered = std::mem::take(&mut process.gathered);
        for output in process.replica.handle_all(clock, gathered) {
            self.output(node, output);
        }
        // Each checkpoint of a peer takes the place of the one before.
        let fetched = &mut self.process(node).fetched;
        fetched.drain(..fetched.len().saturating_sub(1));
        self.begin_write(node);
        self.is_bounded(node);
    }

    pub(crate) fn process(&mut self, node: NodeId) -> &mut Process {
        self.node(node)
            .process
            .as_mut()
            .expect("it is handling an input")
    }

    fn output(&mut self, node: NodeId, output: Output) {
        match output {
            Output::Persist { id, batch } => {
                self.note(format_args!("{node} persists {id:?}"));
                let process = self.process(node);
                process.issued = id;
                process.waiting.push((id, batch));
            }
            Output::Send { to, message, after } => {
                let process = self.process(node);
                match after {
                    Some(id) if id > process.durable => {
                        process.withheld.push_back((id, to, message))
                    }
                    _ => self.send(node, to, message),
                }
            }
            Output::Decided { first, entries } => self.decided(node, first, &entries),
            Output::Refused { id, reason } => {
                if self.expiry_refused(node, id.0) {
                    return;
                }
                let Some(call) = self.process(node).proposed.remove(&id.0) else {
                    return;
                };
                self.forget(node, &call);
                let leader = match reason {
                    Refusal::NotLeader { leader } => leader,
                    Refusal::Busy | Refusal::TooLarge => None,
                };
                self.answer(node, &call, Answer::Elsewhere(leader));
            }
            Output::ReadReady { id, slot } => {
                let process = self.process(node);
                let (call, seen) = process
                    .reading
                    .remove(&id.0)
                    .expect("a read is answered once");
                assert!(
                    slot >= seen,
                    "a read is to see slot {slot}, though {seen} had been seen when it came in"
                );
                process.ready.push((slot, call));
                self.answer_reads(node);
            }
            Output::ReadRefused { id, leader } => {
                let (call, _) = self
                    .process(node)
                    .reading
                    .remove(&id.0)
                    .expect("a read is answered once");
                self.answer(node, &call, Answer::Elsewhere(leader));
            }
            Output::Entered { membership, .. } => self.entered(node, membership),
            Output::SealRefused { reason } => {
                self.note(format_args!("{node} does not change who votes: {reason:?}"));
            }
            Output::TransferFailed { reason } => {
                self.note(format_args!("{node} does not hand over: {reason:?}"));
            }
            Output::Fetch { from, start } => self.wants_checkpoint(node, from, start),
            Output::Install(base) => self.install(node, base),
            Output::RoleChanged { role, leader } => self.role_changed(node, role, leader),
            Output::WakeAt(time) => {
                let (now, it) = (self.now, self.node(node));
                let (at, boot) = (it.when(time).max(now), it.boot);
                self.process(node).wake = Some(at);
                self.after(at - now, Event::Wake { node, boot });
            }
        }
    }

    fn entered(&mut self, node: NodeId, membership: Membership) {
        self.note(format_args!("{node} enters epoch {}", membership.epoch.0));
        self.summary.epochs += 1;
        for voter in &membership.voters {
            if !self.reachable.contains(voter) && !self.mix.settles {
                self.reachable.push(*voter);
            }
        }
        self.node(node).membership = membership;
    }

    /// A message leaves, and may arrive.
    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.oracle.leaves(from, &message);
        if !self.node(from).connected.contains_key(&to) {
            return;
        }
        let calm = self.node(from).spared && self.node(to).spared;
        let World {
            links,
            rng,
            mix,
            now,
            ..
        } = self;
        let now = *now;
        let arrivals = links.arrivals(rng, mix, calm, now, (from, to));
        let message = codec::encode(&message);
        for at in arrivals {
            self.after(
                at - now,
                Event::Deliver {
                    from,
                    to,
                    message: message.clone(),
                },
            );
        }
    }

    fn decided(&mut self, node: NodeId, first: Slot, entries: &[Entry]) {
        self.note(format_args!(
            "{node} decides {} from {first}",
            entries.len()
        ));
        for (slot, entry) in (first.0..).zip(entries) {
            self.oracle.decided(node, Slot(slot), entry);
            let process = self.process(node);
            let machine = &mut process.machine;
            let applied = match &entry.payload {
                Payload::Seal(_) => {
                    process.succession = entry.begins();
                    machine.skip(slot);
                    None
                }
                Payload::Barrier => {
                    machine.lead(slot, entry.ballot.into());
                    None
                }
                Payload::Command(command) => Some(machine.apply(slot, command)),
            };
            let (digest, revision) = (machine.digest(), machine.revision().0);
            self.oracle
                .applied(node, Slot(slot), entry, digest, revision);
            match applied {
                None => {}
                Some(Applied::Command {
                    key,
                    outcome: Outcome::Done { revision, .. },
                }) => {
                    let calls = self
                        .process(node)
                        .keyed
                        .remove(key.as_str())
                        .unwrap_or_default();
                    calls
                        .iter()
                        .for_each(|call| self.answer(node, call, Answer::Written(revision.0)));
                }
                Some(Applied::Command {
                    key,
                    outcome: Outcome::Locks(outcome),
                }) => {
                    let answer = match outcome {
                        state::Answer::Opened { session } => Answer::Opened(session),
                        other => Answer::Locked(other),
                    };
                    let waiting = self.process(node).keyed.remove(key.as_str());
                    for call in waiting.unwrap_or_default() {
                        self.answer(node, &call, answer.clone());
                    }
                    self.none_has_ended_early(node);
                    self.locks_are_sound(node);
                }
                Some(other) => panic!("a valid write came to {other:?}"),
            }
        }
        self.answer_reads(node);
        if let Some(entry) = entries.last() {
            self.consider_checkpoint(node, entry.ballot);
        }
    }

    fn answer_reads(&mut self, node: NodeId) {
        let process = self.process(node);
        let applied = Slot(process.machine.applied());
        let (now, later): (Vec<_>, _) = process
            .ready
            .drain(..)
            .partition(|(slot, _)| *slot <= applied);
        process.ready = later;
        for (slot, call) in now {
            if let What::Keep(session) = call.what {
                let kept = self.keep(node, session);
                self.answer(node, &call, kept);
                continue;
            }
            self.answer(
                node,
                &call,
                Answer::Read {
                    ready: slot,
                    applied,
                },
            );
        }
    }

    /// A client's call has come in.
    fn call(&mut self, node: NodeId, call: Call) {
        let now = self.now;
        let stamp = Stamp(self.node(node).clock(now).0.as_millis() as u64);
        let seen = self.oracle.seen();
        let process = self.process(node);
        process.next += 1;
        let id = process.next;
        match call.what.clone() {
            What::Read | What::Keep(_) => {
                process.reading.insert(id, (call, seen));
                self.input(node, Input::Read { id: ReadId(id) });
            }
            What::Write { key, body } => {
                let command = Command {
                    stamp,
                    ..Command::decode(&body).expect("clients propose commands")
                }
                .encode();
                process.keyed.entry(key).or_default().push(call.clone());
                process.proposed.insert(id, call);
                self.input(
                    node,
                    Input::Propose {
                        id: ProposalId(id),
                        command,
                    },
                );
            }
        }
    }

    /// Nobody waits here for this call any more.
    fn forget(&mut self, node: NodeId, call: &Call) {
        let What::Write { key, .. } = &call.what else {
            return;
        };
        let keyed = &mut self.process(node).keyed;
        if let Some(calls) = keyed.get_mut(key) {
            calls.pop();
            if calls.is_empty() {
                keyed.remove(key);
            }
        }
    }

    /// Every queue has its bound.
    fn is_bounded(&mut self, node: NodeId) {
        let window = self.mix.window_entries as u64;
        let Some(process) = &self.node(node).process else {
            return;
        };
        let open = process.replica.last().since(process.replica.decided());
        assert!(
            process.withheld.len() < 20_000,
            "{} messages wait for the disk",
            process.withheld.len()
        );
        assert!(
            process.waiting.len() < 20_000,
            "{} batches wait for the disk",
            process.waiting.len()
        );
        if process.replica.ready() {
            assert!(
                open <= window,
                "{open} entries are open in a window of {window}"
            );
        }
    }
}
