//! The one thread that owns the replica and applies what is decided.
//!
//! It takes all events that wait, hands each to the core, and only then performs the outputs: a burst of proposals
//! becomes one write. Nothing here waits for the disk, a peer or a client.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::apply::Applier;
use super::calls::Attempt;
use super::lifecycle::{End, Start};
use super::outbox::Outbox;
use super::proposals::Proposals;
use super::shared::{Event, Shared};
use super::status::State;
use crate::paxos::{
    Batch, Input, NodeId, Output, PersistId, ProposalId, ReadId, Refusal, Replica, Role, Time,
};

/// The replica and all that only this thread touches.
pub(super) struct Driver<'a> {
    shared: Arc<Shared>,
    replica: Replica,
    outbox: Outbox,
    applier: Applier,
    proposals: &'a mut Proposals,
    reads: BTreeMap<ReadId, oneshot::Sender<Option<u64>>>,
    questions: u64,
    origin: Instant,
    wake: Option<Time>,
    /// How long to apply before looking at events again; also what counts as waking late.
    patience: Duration,
    full: bool,
    damaged: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(start: Start, proposals: &'a mut Proposals) -> Self {
        let shared = start.shared;
        shared.durable.send_replace(start.recovered.decided.0);
        let damaged = start.recovered.synced.is_none();
        let driver = Self {
            outbox: Outbox::new(shared.clone(), start.log),
            applier: Applier::new(shared.clone()),
            patience: start.options.heartbeat / 2,
            replica: Replica::new(Time::default(), start.options, start.recovered),
            shared,
            proposals,
            reads: BTreeMap::new(),
            questions: 0,
            origin: Instant::now(),
            wake: None,
            full: false,
            damaged,
        };
        driver.show_state();
        driver
    }

    pub(super) fn serve(
        &mut self,
        connected: Vec<NodeId>,
        mut ready: Option<oneshot::Sender<()>>,
    ) -> End {
        let mut outputs = self.replica.handle(self.now(), Input::Tick);
        for peer in connected {
            outputs.extend(self.replica.handle(self.now(), Input::Connected(peer)));
        }
        self.perform(outputs);
        loop {
            self.apply();
            if self.applier.idle()
                && let Some(ready) = ready.take()
            {
                let _ = ready.send(());
            }
            let mut outputs = Vec::new();
            for event in self.wait() {
                match self.take(event) {
                    Ok(more) => outputs.extend(more),
                    Err(end) => return end,
                }
            }
            if self.wake.is_some_and(|wake| wake <= self.now()) {
                self.wake = None;
                outputs.extend(self.replica.handle(self.now(), Input::Tick));
            }
            self.perform(outputs);
            if self.damaged && self.replica.synced().is_some() {
                tracing::info!("a leader has synced the damaged log: this node votes again");
                self.damaged = false;
                self.show_state();
            }
        }
    }

    fn now(&self) -> Time {
        Time(self.origin.elapsed())
    }

    /// The events that wait; if there is nothing else to do, those that come until the replica wants to be woken.
    fn wait(&self) -> VecDeque<Event> {
        let inbox = &self.shared.inbox;
        if !self.applier.idle() {
            return inbox.take(Some(Instant::now()));
        }
        let events = inbox.take(self.wake.map(|wake| self.origin + wake.0));
        let late = self
            .wake
            .is_some_and(|wake| self.now().since(wake) > self.patience);
        if events.is_empty() && late {
            // After a pause of the whole process the messages that wait are still in the sockets: time passed, but
            // nobody was silent. Let the transport hand them in before the tick.
            return inbox.take(Some(Instant::now() + self.patience));
        }
        events
    }

    /// Hands one event to the core.
    fn take(&mut self, event: Event) -> Result<Vec<Output>, End> {
        let input = match event {
            Event::Message { from, message } => Input::Message { from, message },
            Event::Connected(peer) => Input::Connected(peer),
            Event::Disconnected(peer) => Input::Disconnected(peer),
            Event::Propose { command, reply } => match self.admits() {
                Ok(()) => {
                    let id = ProposalId(self.question());
                    self.proposals.begin(id, command.clone(), reply);
                    Input::Propose { id, command }
                }
                Err(why) => {
                    let _ = reply.send(Attempt::NotProposed(why.to_owned()));
                    return Ok(Vec::new());
                }
            },
            Event::Read { reply } => {
                let id = ReadId(self.question());
                self.reads.insert(id, reply);
                Input::Read { id }
            }
            Event::Persisted(id) => {
                self.outbox.persisted(id);
                Input::Persisted(id)
            }
            Event::DiskFull(full) => {
                self.full = full;
                self.show_state();
                return Ok(Vec::new());
            }
            Event::Founded => return Ok(Vec::new()),
            Event::Fail(reason) => return Err(End::Failed(reason)),
            Event::Stop => return Err(End::Stopped),
        };
        Ok(self.replica.handle(self.now(), input))
    }

    /// Whether it votes, as of now. The need of an upgrade, told when it was met, stays.
    fn show_state(&self) {
        let state = match () {
            () if self.full => State::Full,
            () if self.damaged => State::Damaged,
            () => State::Running,
        };
        self.shared.stand(|standing| {
            if !matches!(standing.state, State::Upgrade { .. }) {
                standing.state = state;
            }
        });
    }

    fn question(&mut self) -> u64 {
        self.questions += 1;
        self.questions
    }

    /// Whether a command may be proposed, apart from what the core says.
    fn admits(&self) -> Result<(), &'static str> {
        match () {
            () if self.full => Err("the leader's disk is full"),
            () if self.applier.stopped() => Err("the leader must be upgraded"),
            () => Ok(()),
        }
    }

    /// Does what the core asked for. Batches and messages go first: disk and peers then work while this thread does
    /// the rest, which only tells this node.
    fn perform(&mut self, outputs: Vec<Output>) {
        self.shared.open.store(self.proposals.open(), Relaxed);
        let mut batches: Vec<(PersistId, Batch)> = Vec::new();
        let mut rest = Vec::new();
        for output in outputs {
            match output {
                Output::Persist { id, batch } => batches.push((id, batch)),
                Output::Send { to, message, after } => self.outbox.send(to, message, after),
                output => rest.push(output),
            }
        }
        self.outbox.persist(batches);
        for output in rest {
            match output {
                Output::Decided { first, entries } => self.applier.decide(first, entries),
                Output::Refused { id, reason } => self.proposals.refuse(id, refusal(reason)),
                Output::ReadReady { id, slot } => self.answer(id, Some(slot.0)),
                Output::ReadRefused { id, .. } => self.answer(id, None),
                Output::RoleChanged { role, leader } => self.change(role, leader),
                Output::WakeAt(time) => self.wake = Some(time),
                Output::Persist { .. } | Output::Send { .. } => {}
            }
        }
    }

    fn answer(&mut self, id: ReadId, slot: Option<u64>) {
        if let Some(reply) = self.reads.remove(&id) {
            let _ = reply.send(slot);
        }
    }

    fn apply(&mut self) {
        for (command, outcome) in self.applier.apply(self.patience) {
            if let Some(took) = self.proposals.decide(&command, outcome) {
                self.shared.counters.observe(took);
            }
        }
    }

    fn change(&mut self, role: Role, leader: Option<NodeId>) {
        let before = self.shared.standing.borrow().role;
        let counters = &self.shared.counters;
        match role {
            Role::Candidate if before != role => counters.elections.fetch_add(1, Relaxed),
            Role::Leader if before != role => counters.leaderships.fetch_add(1, Relaxed),
            _ => 0,
        };
        if role != Role::Leader {
            self.proposals.lose("the leader lost its leadership");
        }
        let ballot = self.replica.ballot();
        tracing::debug!(?role, ?leader, %ballot, "the role changed");
        self.shared.stand(|standing| {
            (standing.role, standing.leader, standing.ballot) = (role, leader, ballot);
        });
    }
}

fn refusal(reason: Refusal) -> &'static str {
    match reason {
        Refusal::NotLeader { .. } => "the node asked does not lead",
        Refusal::Busy => "too many commands wait at the leader",
        Refusal::TooLarge => "the command is too large",
    }
}
