//! One voter: takes inputs apart and hands them to its roles.

use super::acceptor::Acceptor;
use super::candidate::Candidate;
use super::election::Election;
use super::leader::Leader;
use super::learner::Learner;
use super::outbox::Outbox;
use super::random::Random;
use super::{
    Ballot, Base, Entry, Input, Membership, NodeId, Options, Output, PersistId, Recovered, Role,
    Slot, Succession, Time,
};

mod epochs;
mod messages;
mod turns;

/// One voter of the group.
///
/// What the embedder must do:
/// 1. Hand in inputs as they come, one or several at a time, with a time that never goes back; first of all a
///    [`Input::Tick`].
/// 2. Perform the outputs in order. Batches become durable in the order given; several may share one sync.
/// 3. Send a message that names a batch only when that batch is durable, and drop it if the process ends before.
/// 4. Hand in [`Input::Persisted`] when a batch is durable; naming the last of several is enough.
/// 5. On waking late, hand in the waiting messages before the [`Input::Tick`].
/// 6. On [`Output::Fetch`], fetch a checkpoint, and make it durable and verify it before [`Input::Fetched`]. It counts
///    with the batch that begins behind it: on [`Output::Install`], go on from its state.
/// 7. After a failed write or sync, or a panic in here, end this replica and construct no other before the restart.
///
/// Messages may be lost, delayed, repeated and reordered; they must not be altered or come from a stranger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    options: Options,
    now: Time,
    random: Random,
    acceptor: Acceptor,
    learner: Learner,
    election: Election,
    state: State,
    /// The log through here is not needed any more.
    compact: Slot,
    told: Told,
}

/// The part it plays beside that of a voter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Follower {
        leader: Option<NodeId>,
    },
    Candidate(Candidate),
    Leader(Leader),
    /// The epoch has ended; it begins the next one when this is durable, and until then says nothing.
    Entering {
        durable: PersistId,
        led: bool,
        next: Succession,
        /// A checkpoint that has come meanwhile.
        fetched: Option<(Base, Option<Succession>)>,
    },
    /// It has no vote any more, and only hands over what it knows.
    Removed,
}

/// What the embedder was told last.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Told {
    role: Role,
    leader: Option<NodeId>,
    wake_at: Option<Time>,
}

impl Replica {
    /// A voter that goes on from what its storage held. It says nothing before its first input.
    ///
    /// # Panics
    /// When `options` and `recovered` contradict each other or themselves.
    pub fn new(now: Time, options: Options, recovered: Recovered) -> Self {
        let membership = &options.membership;
        assert!(
            !options.heartbeat.is_zero() && options.heartbeat < options.election_timeout,
            "heartbeat against T"
        );
        assert!(
            options.window_entries > 0 && options.window_bytes > 0,
            "nothing fits into the window"
        );
        let mut random = Random::new(options.seed ^ u64::from(options.id.0) << 32);
        let (promised, applied) = (recovered.promised, recovered.applied);
        let acceptor = Acceptor::new(recovered, &mut random);
        // A damaged log may have lost the Seal by which it entered an epoch, in which nothing was promised yet. Its
        // voter is brought through that Seal once more.
        // (`a_voter_that_lost_its_way_into_an_epoch_is_brought_there_again`)
        let lost = promised.node.is_none() && !acceptor.is_whole();
        assert!(
            promised.epoch == membership.epoch || lost && promised.epoch > membership.epoch,
            "the membership is of epoch {}, the promise {promised}",
            membership.epoch.0,
        );
        let learner = Learner::new(&acceptor, applied);
        let election = Election::new(now, options.election_timeout, &mut random);
        let told = Told {
            role: Role::Follower,
            leader: None,
            wake_at: None,
        };
        let state = match membership.voters.contains(&options.id) {
            true => State::Follower { leader: None },
            false => State::Removed,
        };
        Replica {
            options,
            now,
            random,
            acceptor,
            learner,
            election,
            state,
            compact: Slot::ZERO,
            told,
        }
    }

    /// Takes one input, gives what is to be done for it, in order.
    ///
    /// # Panics
    /// When an invariant is broken: better one voter down than two that disagree.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        self.handle_all(now, [input])
    }

    /// Takes inputs that came in together, one after the other, and gives what is to be done for all of them, in order.
    ///
    /// What only adds up waits for the next of its kind: proposals become one batch and one message to each voter, and
    /// votes are counted once. So it is with any inputs as if those of a run had come a little later, just before its
    /// last; whatever else comes finds all before it done. (`what_comes_together_is_proposed_together`)
    ///
    /// # Panics
    /// When an invariant is broken: better one voter down than two that disagree.
    pub fn handle_all(
        &mut self,
        now: Time,
        inputs: impl IntoIterator<Item = Input>,
    ) -> Vec<Output> {
        let mut outbox = Outbox::default();
        let out = &mut outbox;
        self.now = self.now.max(now);
        self.learner.deliver(&self.acceptor, out);
        let mut unfinished = false;
        for input in inputs {
            let (ticked, adds_up) = (matches!(input, Input::Tick), input.adds_up());
            if unfinished && !adds_up {
                self.finish(false, out);
            }
            if matches!(input, Input::Abdicate) {
                if let State::Leader(leader) = &self.state {
                    leader.abdicate(self.now, &self.options, out);
                }
                return outbox.into_outputs();
            }
            self.take(input, out);
            unfinished = adds_up;
            if !adds_up {
                self.finish(ticked, out);
            }
        }
        if unfinished {
            self.finish(false, out);
        }
        outbox.into_outputs()
    }

    fn take(&mut self, input: Input, out: &mut Outbox) {
        match input {
            Input::Message { from, message } => self.on_message(from, message, out),
            Input::Connected(peer) => self.on_connected(peer, out),
            Input::Disconnected(peer) => self.on_disconnected(peer),
            Input::Propose { id, command } => self.on_propose(id, command, out),
            Input::Read { id } => self.on_read(id, out),
            Input::Seal { epoch, seal } => self.on_seal(epoch, seal, out),
            Input::Transfer { to } => self.on_transfer(to, out),
            Input::Persisted(id) => self.acceptor.journal_mut().persisted(id),
            Input::Fetched { base, succession } => self.on_fetched(base, succession, out),
            Input::Fetching => {
                if let State::Candidate(candidate) = &mut self.state {
                    candidate.give_up_at = self.now + self.options.election_timeout;
                }
            }
            Input::Compact { through } => self.compact = self.compact.max(through),
            Input::Tick => self.on_tick(out),
            Input::Abdicate => {}
        }
    }

    /// Does what the inputs taken have made possible, and tells what has changed.
    fn finish(&mut self, ticked: bool, out: &mut Outbox) {
        self.advance(out);
        self.acceptor.save_decided(out);
        // A log that is being pulled joins the own one as it was. (`random_schedules_with_compacted_logs_agree`)
        if !matches!(self.state, State::Candidate(_)) {
            let through = self.compact.min(self.learner.delivered());
            self.acceptor.compact(through);
        }
        self.tell(ticked, out);
    }

    /// What this voter is doing.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Follower { .. } | State::Entering { .. } | State::Removed => Role::Follower,
            State::Candidate(_) => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// The leader this voter follows or is.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Follower { leader } => *leader,
            State::Candidate(_) | State::Entering { .. } | State::Removed => None,
            State::Leader(_) => Some(self.options.id),
        }
    }

    /// The highest ballot promised.
    pub fn ballot(&self) -> Ballot {
        self.acceptor.promised()
    }

    /// The ballot with whose leader's log this voter's is identical; `None` while damaged.
    pub fn synced(&self) -> Option<Ballot> {
        self.acceptor.synced()
    }

    /// Who votes, as far as this voter knows it decided and durable.
    pub fn membership(&self) -> &Membership {
        &self.options.membership
    }

    /// Known decided here.
    pub fn decided(&self) -> Slot {
        self.learner.decided()
    }

    /// What is decided behind `slot`, as much as fits into one message; nothing where nothing is. `None` where it is no
    /// longer in the log.
    pub fn decided_after(&self, slot: Slot) -> Option<Vec<Entry>> {
        let log = self.acceptor.log();
        let (first, decided) = (slot.next(), self.decided());
        if first > decided {
            return Some(Vec::new());
        }
        (first >= log.start()).then(|| log.chunk(first, decided).to_vec())
    }

    /// The first slot with an entry here.
    pub fn start(&self) -> Slot {
        self.acceptor.log().start()
    }

    /// The last slot with an entry here, durable or not.
    pub fn last(&self) -> Slot {
        self.acceptor.log().last()
    }

    /// Whether this voter leads and its barrier is decided: it holds all that was ever acknowledged.
    pub fn ready(&self) -> bool {
        matches!(&self.state, State::Leader(leader) if leader.ready(&self.learner))
    }
}
