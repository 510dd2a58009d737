//! One voter: takes inputs apart and hands them to its roles.

use super::acceptor::Acceptor;
use super::candidate::Candidate;
use super::election::Election;
use super::leader::Leader;
use super::learner::Learner;
use super::outbox::Outbox;
use super::random::Random;
use super::{Ballot, Input, NodeId, Options, Output, Recovered, Role, Slot, Time};

mod messages;
mod turns;

/// One voter of the group.
///
/// What the embedder must do:
/// 1. Hand in one input at a time, with a time that never goes back; first of all a [`Input::Tick`].
/// 2. Perform the outputs in order. Batches become durable in the order given; several may share one sync.
/// 3. Send a message that names a batch only when that batch is durable, and drop it if the process ends before.
/// 4. Hand in [`Input::Persisted`] when a batch is durable; naming the last of several is enough.
/// 5. On waking late, hand in the waiting messages before the [`Input::Tick`].
/// 6. After a failed write or sync, or a panic in here, end this replica and construct no other before the restart.
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
    told: Told,
}

/// The part it plays beside that of a voter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Follower { leader: Option<NodeId> },
    Candidate(Candidate),
    Leader(Leader),
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
            membership.voters.contains(&options.id),
            "this node is no voter of its membership"
        );
        assert!(
            !options.heartbeat.is_zero() && options.heartbeat < options.election_timeout,
            "heartbeat against T"
        );
        assert!(
            options.window_entries > 0 && options.window_bytes > 0,
            "nothing fits into the window"
        );
        assert!(
            recovered.promised.epoch <= membership.epoch,
            "promised in an epoch after that of the membership"
        );
        let mut random = Random::new(options.seed ^ u64::from(options.id.0) << 32);
        let acceptor = Acceptor::new(recovered, &mut random);
        let learner = Learner::new(&acceptor);
        let election = Election::new(now, options.election_timeout, &mut random);
        let told = Told {
            role: Role::Follower,
            leader: None,
            wake_at: None,
        };
        let state = State::Follower { leader: None };
        Replica {
            options,
            now,
            random,
            acceptor,
            learner,
            election,
            state,
            told,
        }
    }

    /// Takes one input, gives what is to be done for it, in order.
    ///
    /// # Panics
    /// When an invariant is broken: better one voter down than two that disagree.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        let mut outbox = Outbox::default();
        let out = &mut outbox;
        self.now = self.now.max(now);
        let ticked = matches!(input, Input::Tick);
        self.learner.deliver(&self.acceptor, out);
        match input {
            Input::Message { from, message } => self.on_message(from, message, out),
            Input::Connected(peer) => self.on_connected(peer, out),
            Input::Disconnected(peer) => self.on_disconnected(peer),
            Input::Propose { id, command } => self.on_propose(id, command, out),
            Input::Read { id } => self.on_read(id, out),
            Input::Persisted(id) => self.acceptor.journal_mut().persisted(id),
            Input::Tick => self.on_tick(out),
        }
        self.advance(out);
        self.acceptor.save_decided(out);
        self.tell(ticked, out);
        outbox.into_outputs()
    }

    /// What this voter is doing.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Follower { .. } => Role::Follower,
            State::Candidate(_) => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// The leader this voter follows or is.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Follower { leader } => *leader,
            State::Candidate(_) => None,
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

    /// Known decided here.
    pub fn decided(&self) -> Slot {
        self.learner.decided()
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
