//! The one thread of a node without a vote: applies what its voter sends, and has the log keep it.
//!
//! The log holds decided entries alone, in the order of their slots, so whatever a start finds of it was served or may
//! be. It applies each slot once and in order, so it never goes back; a state that is not the group's is never built
//! upon: the thread ends, says so, and the data plane serves on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::apply::Applier;
use super::calls::Attempt;
use super::checkpoints::Checkpoints;
use super::founding::Founding;
use super::intake::Intake;
use super::lifecycle::{self, End};
use super::log::Log;
use super::membership::Details;
use super::shared::{Event, Image, Shared};
use super::status::State;
use crate::paxos::{Ballot, Entry, Epoch, PersistId, Recovered, Slot, Succession};
use crate::state::Machine;

/// How long to apply before looking at events again.
const PATIENCE: Duration = Duration::from_millis(50);

/// What the thread is started with.
pub(super) struct Start {
    pub(super) shared: Arc<Shared>,
    pub(super) recovered: Recovered,
    pub(super) log: Log,
    pub(super) checkpoints: Checkpoints,
    /// Told when all that the log held is applied; dropped if it never will be.
    pub(super) ready: Option<oneshot::Sender<()>>,
    pub(super) founding: Arc<Founding>,
}

/// Runs until it is stopped, fails or has a vote.
pub(super) fn run(start: Start) -> End {
    lifecycle::guard(|| Follower::new(start).serve())
}

struct Follower {
    shared: Arc<Shared>,
    applier: Applier,
    log: Log,
    intake: Intake,
    issued: PersistId,
    /// Handed to the log and not durable: up to which slot, and the room it takes.
    pending: VecDeque<(PersistId, Slot, Option<OwnedSemaphorePermit>)>,
    ready: Option<oneshot::Sender<()>>,
    founding: Arc<Founding>,
    /// The newest epoch that was entered here as a voter.
    entered: Epoch,
    /// It has been given a vote, which it has when this is durable.
    promoted: Option<(PersistId, Epoch, Details)>,
}

impl Follower {
    fn new(start: Start) -> Self {
        let shared = start.shared;
        let entered = start.recovered.promised.epoch;
        let succession = start.recovered.succession.clone();
        let (intake, first, known) = Intake::new(start.recovered);
        shared.durable.send_replace(intake.last().0);
        let mut applier = Applier::new(shared.clone(), start.checkpoints, succession);
        if !known.is_empty() {
            applier.decide(first, known);
        }
        Self {
            intake,
            shared,
            applier,
            log: start.log,
            issued: PersistId::default(),
            pending: VecDeque::new(),
            ready: start.ready,
            founding: start.founding,
            promoted: None,
            entered,
        }
    }

    fn serve(mut self) -> End {
        loop {
            self.applier.apply(PATIENCE);
            if let Some(succession) = self.applier.membership() {
                self.learn_of(&succession);
            }
            if self.applier.idle()
                && let Some(ready) = self.ready.take()
            {
                let _ = ready.send(());
            }
            let until = (!self.applier.idle()).then(Instant::now);
            let mut events = self.shared.inbox.take(until).into_iter();
            while let Some(event) = events.next() {
                if let Err(end) = self.take(event) {
                    return end.unless_ended_by(events);
                }
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Entries {
                first,
                entries,
                room,
            } => self.entries(first, entries, room),
            Event::Digest { slot, digest } => return self.compare(slot, digest),
            Event::Persisted(id) => return self.persisted(id),
            Event::Kept { meta, .. } => self.applier.kept(&meta),
            Event::Fetched(image) => self.install(*image),
            Event::DiskFull(full) => self.full(full),
            Event::Fail(reason) => return Err(End::Failed(reason)),
            Event::Stop => return Err(End::Stopped),
            Event::Propose { proposer, .. } => {
                proposer.tell(Attempt::NotProposed("a follower has no vote".to_owned()));
            }
            // Of voters; a reply that is dropped says no.
            Event::Fetching | Event::Read { .. } | Event::Fetch { .. } | Event::Founded => {}
            Event::Transfer { .. } | Event::Seal { .. } | Event::Demoted => {}
            Event::Message { .. } | Event::Connected(_) | Event::Disconnected(_) => {}
        }
        Ok(())
    }

    /// Takes in what it does not have yet.
    fn entries(&mut self, first: Slot, entries: Vec<Entry>, room: OwnedSemaphorePermit) {
        if self.promoted.is_some() {
            return;
        }
        let Some((first, entries, batch)) = self.intake.take(first, entries) else {
            return;
        };
        self.issued = PersistId(self.issued.0 + 1);
        let last = self.intake.last();
        self.pending.push_back((self.issued, last, Some(room)));
        self.log.persist([(self.issued, batch)]);
        self.applier.decide(first, entries);
    }

    /// Goes on behind a voter's checkpoint, unless it has come as far meanwhile.
    fn install(&mut self, image: Image) {
        let meta = image.meta;
        if self.promoted.is_some() {
            return;
        }
        let Some(batch) = self.intake.install(meta.base()) else {
            return;
        };
        self.issued = PersistId(self.issued.0 + 1);
        self.pending.push_back((self.issued, meta.slot, None));
        self.log.persist([(self.issued, batch)]);
        self.applier.install(image);
    }

    fn persisted(&mut self, id: PersistId) -> Result<(), End> {
        while let Some((_, slot, _)) = self.pending.pop_front_if(|(issued, ..)| *issued <= id) {
            self.shared.durable.send_replace(slot.0);
        }
        let Some((_, epoch, details)) = self.promoted.take_if(|(issued, ..)| *issued <= id) else {
            return Ok(());
        };
        while !self.applier.idle() {
            self.applier.apply(PATIENCE);
        }
        let kept = self.founding.entered(epoch, &details);
        kept.map_err(End::Failed)?;
        tracing::info!(epoch = epoch.0, "this node votes from now on");
        self.shared.stand(|standing| {
            standing.state = State::Running;
            (standing.voter, standing.leader) = (None, None);
            standing.ballot = Ballot::initial(epoch);
        });
        Err(End::Promoted)
    }

    /// A decided Seal has been applied, here or in a checkpoint. If it names this node, the log is stamped as every
    /// voter stamps it that enters the epoch, and nothing more is taken in: from then on it comes by a leader.
    fn learn_of(&mut self, Succession { epoch, seal }: &Succession) {
        let epoch = *epoch;
        let Some(details) = Details::of(seal) else {
            return;
        };
        // Of an epoch that was entered before, and left, the log may still hold the Seal.
        let new = self.promoted.is_none() && epoch > self.entered;
        if new && self.shared.group().is_named_anew(&details) {
            self.issued = PersistId(self.issued.0 + 1);
            self.log.persist([(self.issued, self.intake.enter(epoch))]);
            self.promoted = Some((self.issued, epoch, details));
        }
    }

    /// Judges its own state by the voter's. They can be compared only where both have applied the same.
    fn compare(&mut self, slot: u64, digest: u64) -> Result<(), End> {
        while !self.applier.idle() {
            self.applier.apply(PATIENCE);
        }
        let own = |machine: &Machine| (machine.applied(), machine.digest());
        match self.shared.inspect(own) {
            (applied, own) if applied == slot && own != digest => Err(End::Failed(format!(
                "at slot {slot} its state has digest {own:016x}, its voter's {digest:016x}: they have diverged; \
                 stop this node, empty its data directory and let it join again"
            ))),
            _ => Ok(()),
        }
    }

    fn full(&self, full: bool) {
        self.shared.stand(|standing| match standing.state {
            State::Running if full => standing.state = State::Full,
            State::Full if !full => standing.state = State::Running,
            _ => {}
        });
    }
}
