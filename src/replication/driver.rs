//! The one thread that owns the replica and applies what is decided.
//!
//! It takes all events that wait, hands each to the core, and only then performs the outputs: a burst of proposals
//! becomes one write. Nothing here waits for the disk, a peer or a client.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::apply::Applier;
use super::calls::Attempt;
use super::founding::Founding;
use super::inbox::Gather;
use super::lifecycle::{End, Start};
use super::membership::Details;
use super::orders;
use super::outbox::Outbox;
use super::proposals::Proposals;
use super::proposer::Proposer;
use super::shared::{Event, Fetched, Image, Shared};
use super::status::State;
use crate::paxos::{
    Base, Batch, Epoch, Input, Membership, NodeId, Output, PersistId, ProposalId, ReadId, Refusal,
    Replica, Role, Seal, SealRefusal, Time, TransferFailure,
};

/// With this many clients waiting for commits a proposal waits until three quarters as many do,
const CROWD: usize = 4;
/// but no longer than this: where the machine is busy they come one by one, and each would have a write, a sync and
/// messages of its own, on every voter. A lone client never waits for others.
const GATHER: Duration = Duration::from_millis(6);
/// A crowd is taken to shrink by one part in so many each time the driver looks.
const FADE: usize = 32;

/// Where it is told that an epoch has ended, or why not.
type Sealing = oneshot::Sender<Result<(), String>>;
/// Where it is told who leads after a handing over, or why nobody else does.
type HandingOver = oneshot::Sender<Result<NodeId, String>>;

/// The replica and all that only this thread touches.
pub(super) struct Driver<'a> {
    shared: Arc<Shared>,
    replica: Replica,
    outbox: Outbox,
    applier: Applier,
    proposals: &'a mut Proposals,
    reads: BTreeMap<ReadId, oneshot::Sender<Option<u64>>>,
    founding: Arc<Founding>,
    /// Who waits for the next epoch.
    sealing: Option<Sealing>,
    /// Who waits for another leader.
    transfer: Option<HandingOver>,
    questions: u64,
    origin: Instant,
    wake: Option<Time>,
    /// How long to apply before looking at events again; also what counts as waking late.
    patience: Duration,
    /// Clients that wait for a commit, at most, of late.
    crowd: usize,
    full: bool,
    /// Whether it has tried to hand over, as it must.
    aside: bool,
    damaged: bool,
    /// Peers' checkpoints, until the core adopts them: the one it was handed last, and those before it that were handed
    /// in together with it.
    fetched: Vec<Image>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(start: Start, proposals: &'a mut Proposals) -> Self {
        let shared = start.shared;
        shared.durable.send_replace(start.recovered.decided.0);
        let damaged = start.recovered.synced.is_none();
        let driver = Self {
            outbox: Outbox::new(shared.clone(), start.log),
            applier: Applier::new(
                shared.clone(),
                start.checkpoints,
                start.recovered.succession.clone(),
            ),
            patience: start.options.heartbeat / 2,
            replica: Replica::new(Time::default(), start.options, start.recovered),
            shared,
            proposals,
            reads: BTreeMap::new(),
            founding: start.founding,
            sealing: None,
            transfer: None,
            questions: 0,
            origin: Instant::now(),
            wake: None,
            crowd: 0,
            full: false,
            aside: false,
            fetched: Vec::new(),
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
            let mut inputs = Vec::new();
            let mut events = self.wait().into_iter();
            while let Some(event) = events.next() {
                match self.take(event) {
                    Ok(input) => inputs.extend(input),
                    Err(end) => return end.unless_ended_by(events),
                }
            }
            if self.wake.is_some_and(|wake| wake <= self.now()) {
                self.wake = None;
                inputs.push(Input::Tick);
            }
            let outputs = self.replica.handle_all(self.now(), inputs);
            self.perform(outputs);
            // Each has taken the place of the one before.
            self.fetched.drain(..self.fetched.len().saturating_sub(1));
            self.step_aside();
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
    fn wait(&mut self) -> VecDeque<Event> {
        let gather = self.gather();
        let inbox = &self.shared.inbox;
        if !self.applier.idle() {
            return inbox.take_gathered(Some(Instant::now()), gather);
        }
        let wake = self.wake.map(|wake| self.origin + wake.0);
        let events = inbox.take_gathered(wake, gather);
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

    /// How long proposals wait for others. Those just answered are about to ask again, and are counted for a while.
    fn gather(&mut self) -> Gather {
        let waiting = self.shared.inbox.patient();
        if waiting > 0 || self.proposals.open() > 0 {
            let open = self.proposals.open() + waiting;
            self.crowd = (self.crowd - self.crowd.div_ceil(FADE)).max(open);
        }
        match self.crowd {
            crowd if crowd >= CROWD && self.replica.role() == Role::Leader => Gather {
                enough: crowd * 3 / 4,
                within: GATHER,
            },
            _ => Gather::NONE,
        }
    }

    /// Makes of one event what the core is to be told, if anything.
    fn take(&mut self, event: Event) -> Result<Option<Input>, End> {
        Ok(Some(match event {
            Event::Message { from, message } => Input::Message { from, message },
            Event::Connected(peer) => {
                self.aside = false;
                Input::Connected(peer)
            }
            Event::Disconnected(peer) => Input::Disconnected(peer),
            Event::Propose { command, proposer } => return Ok(self.propose(command, proposer)),
            Event::Read { reply } => {
                let id = ReadId(self.question());
                self.reads.insert(id, reply);
                Input::Read { id }
            }
            Event::Persisted(id) => {
                self.outbox.persisted(id);
                Input::Persisted(id)
            }
            Event::Kept { meta, through } => {
                self.applier.kept(&meta);
                Input::Compact { through }
            }
            Event::Fetched(image) => {
                let (base, succession) = (image.meta.base(), image.succession.clone());
                self.fetched.push(*image);
                Input::Fetched { base, succession }
            }
            Event::Fetching => Input::Fetching,
            Event::DiskFull(full) => {
                self.full = full;
                self.show_state();
                return Ok(None);
            }
            Event::Seal { epoch, seal, reply } => return Ok(self.seal(epoch, seal, reply)),
            Event::Transfer { to, reply } => return Ok(self.hand_over(to, reply)),
            Event::Fetch { after, reply } => {
                let entries = self.replica.decided_after(after);
                let compacted = Fetched::Compacted(self.replica.start());
                let _ = reply.send(entries.map_or(compacted, Fetched::Entries));
                return Ok(None);
            }
            Event::Demoted => return Err(End::Demoted),
            // What a follower is told; this is a voter.
            Event::Founded | Event::Entries { .. } | Event::Digest { .. } => return Ok(None),
            Event::Fail(reason) => {
                let farewell = self.replica.handle(self.now(), Input::Abdicate);
                self.perform(farewell);
                return Err(End::Failed(reason));
            }
            Event::Stop => return Err(End::Stopped),
        }))
    }

    fn propose(&mut self, command: Bytes, proposer: Proposer) -> Option<Input> {
        if let Err(why) = self.admits() {
            proposer.tell(Attempt::NotProposed(why.to_owned()));
            return None;
        }
        let id = ProposalId(self.question());
        self.proposals.begin(id, command.clone(), proposer);
        Some(Input::Propose { id, command })
    }

    /// One epoch ends at a time.
    fn seal(&mut self, epoch: Epoch, seal: Seal, reply: Sealing) -> Option<Input> {
        if self.sealing.as_ref().is_some_and(|last| !last.is_closed()) {
            let _ = reply.send(Err(orders::refusal(SealRefusal::Busy).to_owned()));
            return None;
        }
        self.sealing = Some(reply);
        Some(Input::Seal { epoch, seal })
    }

    fn hand_over(&mut self, to: Option<NodeId>, reply: HandingOver) -> Option<Input> {
        if self.transfer.as_ref().is_some_and(|last| !last.is_closed()) {
            let _ = reply.send(Err("leadership is being handed over already".to_owned()));
            return None;
        }
        self.transfer = Some(reply);
        Some(Input::Transfer { to })
    }

    /// A leader that can take no writes hands over: another may.
    fn leaves_if_refusing(&self) -> Option<Input> {
        let leaves = self.stores().is_err() && self.replica.role() == Role::Leader;
        leaves.then_some(Input::Transfer { to: None })
    }

    /// Hands over if it must, once: what has come to nothing is tried again when a peer has come, or `stays` says so.
    /// (`one_that_must_be_upgraded_does_not_go_on_leading`)
    fn step_aside(&mut self) {
        let leaves = self.leaves_if_refusing();
        let tried = std::mem::replace(&mut self.aside, leaves.is_some());
        if !tried && leaves.is_some() {
            let outputs = self.replica.handle_all(self.now(), leaves);
            self.perform(outputs);
        }
    }

    /// Whether it votes, as of now. The need of an upgrade, told when it was met, stays.
    fn show_state(&self) {
        let state = match () {
            () if self.full => State::Full,
            () if self.damaged => State::Damaged,
            () => State::Running,
        };
        self.shared.stand(|standing| {
            if !matches!(standing.state, State::Upgrade { .. } | State::Removed) {
                standing.state = state;
            }
        });
    }

    fn question(&mut self) -> u64 {
        self.questions += 1;
        self.questions
    }

    /// Whether a command may be proposed, apart from what the core says. What most would not store could only come to
    /// an unknown end. (`what_most_disks_have_no_room_for_is_not_proposed`)
    fn admits(&self) -> Result<(), &'static str> {
        self.stores()?;
        match self.shared.reports.starved(&self.shared) {
            true => Err("most voters store no writes now; `synod status` tells why"),
            false => Ok(()),
        }
    }

    /// Whether this node takes what it would propose.
    fn stores(&self) -> Result<(), &'static str> {
        match () {
            () if self.full => Err("the leader's disk is full"),
            () if self.applier.stopped() => Err("the leader must be upgraded"),
            () => Ok(()),
        }
    }

    /// Does what the core asked for. Batches and messages go first: disk and peers then work while this thread does
    /// the rest, which only tells this node.
    fn perform(&mut self, outputs: Vec<Output>) {
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
                Output::Decided { first, entries } => {
                    self.shared.feed.decide(first, &entries);
                    self.applier.decide(first, entries);
                }
                Output::Refused { id, reason } => self.proposals.refuse(id, refusal(reason)),
                Output::ReadReady { id, slot } => self.answer(id, Some(slot.0)),
                Output::ReadRefused { id, .. } => self.answer(id, None),
                Output::Entered {
                    membership,
                    details,
                } => self.entered(membership, details),
                Output::SealRefused { reason } => {
                    if let Some(reply) = self.sealing.take() {
                        let _ = reply.send(Err(orders::refusal(reason).to_owned()));
                    }
                }
                Output::TransferFailed { reason } => self.stays(reason),
                Output::RoleChanged { role, leader } => self.change(role, leader),
                Output::WakeAt(time) => self.wake = Some(time),
                Output::Fetch { from, start } => {
                    self.shared.wanted.send_replace(Some((from, start)));
                }
                Output::Install(base) => self.install(base),
                Output::Persist { .. } | Output::Send { .. } => {}
            }
        }
    }

    /// The core has adopted a checkpoint that was fetched.
    fn install(&mut self, adopted: Base) {
        let mut images = std::mem::take(&mut self.fetched).into_iter();
        let image = images.find(|image| image.meta.base() == adopted);
        self.applier
            .install(image.expect("the core adopts a checkpoint it was handed"));
        self.fetched = images.collect();
    }

    fn answer(&mut self, id: ReadId, slot: Option<u64>) {
        if let Some(reply) = self.reads.remove(&id) {
            let _ = reply.send(slot);
        }
    }

    /// Who votes has changed. What this node knows of the group is durable before it acts upon it: a log that no longer
    /// holds the Seal must still find its members. The one write that this thread waits for, once a change.
    fn entered(&mut self, membership: Membership, details: Bytes) {
        let (epoch, voters) = (membership.epoch, membership.voters);
        let member = voters.contains(&NodeId(self.shared.group().me));
        let kept = match Details::of(&Seal { voters, details }) {
            Some(details) => self.founding.entered(epoch, &details),
            None => Err("this build cannot read who votes now".to_owned()),
        };
        if let Err(why) = kept {
            let _ = self.shared.inbox.push(Event::Fail(why));
            return;
        }
        tracing::info!(epoch = epoch.0, member, "who votes has changed");
        let ballot = self.replica.ballot();
        self.shared.stand(|standing| {
            standing.ballot = ballot;
            if !member {
                standing.state = State::Removed;
            }
        });
        if let Some(reply) = self.sealing.take() {
            let _ = reply.send(Ok(()));
        }
    }

    /// Leadership was not handed over. Where it must be, that is tried again until it is.
    fn stays(&mut self, reason: TransferFailure) {
        if let Some(reply) = self.transfer.take() {
            let _ = reply.send(Err(orders::failure(reason).to_owned()));
        }
        if reason == TransferFailure::TimedOut {
            let again = self.leaves_if_refusing();
            let again = self.replica.handle_all(self.now(), again);
            self.perform(again);
        }
    }

    fn apply(&mut self) {
        for (command, outcome) in self.applier.apply(self.patience) {
            if let Some(took) = self.proposals.decide(&command, outcome) {
                self.shared.counters.observe(took);
            }
        }
    }

    /// Logs who leads, where that is news.
    fn tell_of_leader(&self, role: Role, leader: Option<NodeId>) {
        if self.shared.standing.borrow().leader == leader {
            return;
        }
        let ballot = self.replica.ballot();
        let group = self.shared.group();
        match leader.and_then(|leader| group.member(leader)) {
            Some(_) if role == Role::Leader => tracing::info!(%ballot, "this node leads"),
            Some(leader) => tracing::info!(%ballot, leader = %leader.name, "another node leads"),
            None => {
                tracing::info!(%ballot, "there is no leader: what was agreed on is served on, and nothing is written")
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
        if let Some(leader) = leader
            && let Some(reply) = self.transfer.take()
        {
            let again = || Err("the leader stepped down and was elected again".to_owned());
            let _ = reply.send(if role == Role::Leader {
                again()
            } else {
                Ok(leader)
            });
        }
        let ballot = self.replica.ballot();
        self.tell_of_leader(role, leader);
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
