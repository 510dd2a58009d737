//! Sessions of the lock service under all faults: kept alive now and then, never ended early.
//!
//! Each holder keeps one session, and counts on it from when it asked: until then no machine may have ended it,
//! whatever became of leaders, clocks, pauses and disks. It asks late sometimes, so that sessions do end.

use bytes::Bytes;
use rand::RngExt;
use synod::config::limits::SHORTEST_LEASE;
use synod::paxos::{Input, NodeId, ProposalId, Role};
use synod::replication::{Kept, LEASE_TICK, Leases};
use synod::state::{
    self, Body, Command, Expiry, Key, LEVEL, Operation, Refusal, SessionId, Stamp, Subject, Term,
};

use crate::clients::{Answer, Call, PATIENCE, What};
use crate::locks::Claimer;
use crate::mix::{MS, SECOND};
use crate::node::Arrived;
use crate::world::{Event, World};

/// Of true time: clocks run apart by up to 10 %, so a leader's may be fast and the holder's, in truth, slow.
const COUNTED_ON: u64 = SHORTEST_LEASE.as_micros() as u64 * 8 / 10;

/// Who keeps a session.
#[derive(Default)]
pub(crate) struct Holder {
    pub(crate) session: Option<SessionId>,
    /// Until when it counts on it.
    pub(crate) until: u64,
    /// What it does about locks.
    pub(crate) claimer: Claimer,
    /// Counts what it asks; an answer to an earlier question is not heard.
    nth: u64,
    /// When it first asked what it asks now.
    asked: u64,
    asks: bool,
    /// Sessions it has had.
    opened: u64,
}

impl World {
    /// The holder asks for something, or again.
    pub(crate) fn hold(&mut self, holder: usize, nth: u64) {
        let (now, target) = (self.now, self.rng.random_range(0..self.reachable.len()));
        let target = self.reachable[target];
        let client = self.clients.len() + holder;
        let it = &mut self.holders[holder];
        if it.nth != nth {
            return;
        }
        it.nth += 1;
        // An opening is one question, however often it is asked: its first answer may be found again later.
        if !(it.asks && it.session.is_none()) {
            (it.asks, it.asked) = (true, now);
        }
        let what = match it.session {
            Some(session) => What::Keep(session),
            None => open(holder, it.opened),
        };
        let nth = it.nth;
        let call = Call { client, nth, what };
        let delay = self.rng.random_range(50..MS);
        self.after(delay, Event::Call { node: target, call });
        self.after(PATIENCE, Event::Holder { holder, nth });
    }

    pub(crate) fn holder_answered(&mut self, client: usize, nth: u64, answer: Answer) {
        let holder = client - self.clients.len();
        let now = self.now;
        let it = &mut self.holders[holder];
        if it.nth != nth {
            return;
        }
        let lease = COUNTED_ON * 10 / 8;
        let pause = match answer {
            Answer::Elsewhere(_) => self.rng.random_range(MS..100 * MS),
            Answer::Opened(session) => {
                (it.session, it.until, it.asks) = (Some(session), it.asked + COUNTED_ON, false);
                it.opened += 1;
                self.summary.sessions += 1;
                self.rng.random_range(0..lease)
            }
            Answer::Kept(true) => {
                (it.until, it.asks) = (it.until.max(it.asked + COUNTED_ON), false);
                self.summary.kept += 1;
                // Too late, now and then.
                self.rng.random_range(0..2 * lease)
            }
            Answer::Kept(false) => {
                assert!(it.until <= now, "a session was ended early");
                (it.session, it.asks) = (None, false);
                self.summary.ended += 1;
                0
            }
            // It was opened before, that answer was lost, and nobody kept it alive.
            Answer::Locked(state::Answer::Refused(Refusal::NoSession { .. })) => {
                assert!(it.asked + COUNTED_ON <= now, "a session was ended early");
                it.asks = false;
                it.opened += 1;
                0
            }
            other => panic!("a holder was answered {other:?}"),
        };
        let nth = it.nth;
        self.after(pause, Event::Holder { holder, nth });
    }

    /// No machine has ended a session that is counted on.
    pub(crate) fn none_has_ended_early(&self, node: NodeId) {
        let now = self.now;
        let process = self.nodes[node.0 as usize - 1].process.as_ref();
        let machine = &process.expect("it has just applied").machine;
        let (applied, locks) = (machine.applied(), machine.locks());
        for holder in &self.holders {
            let Some(session) = holder.session.filter(|session| session.0 <= applied) else {
                continue;
            };
            assert!(
                locks.session(session).is_some() || holder.until <= now,
                "{node} has ended session {session} early"
            );
        }
    }

    /// What is said to a session, by a voter that a majority has just confirmed.
    pub(crate) fn keep(&mut self, node: NodeId, session: SessionId) -> Answer {
        let now = self.now;
        let clock = self.node(node).clock(now).0;
        let process = self.process(node);
        let Some(term) = measures(process) else {
            return Answer::Elsewhere(None);
        };
        let locks = process.machine.locks();
        let leases = begun(&mut process.leases, term, clock, locks);
        match leases.keep_alive(clock, session, locks) {
            Kept::Alive(_) => Answer::Kept(true),
            Kept::Ended => Answer::Kept(false),
            Kept::Undecided => Answer::Elsewhere(None),
        }
    }

    /// A voter looks at what is due, as long as its process lives.
    pub(crate) fn look(&mut self, node: NodeId, boot: u64) {
        let it = self.node(node);
        if it.boot != boot || !it.is_up() {
            return;
        }
        if it.paused.is_none() {
            self.propose_due(node);
        }
        let tick = LEASE_TICK.as_micros() as u64;
        self.after(tick, Event::Look { node, boot });
    }

    pub(crate) fn propose_due(&mut self, node: NodeId) {
        let now = self.now;
        let clock = self.node(node).clock(now).0;
        let process = self.process(node);
        let Some(term) = measures(process) else {
            process.expiries.clear();
            return;
        };
        let locks = process.machine.locks();
        let leases = begun(&mut process.leases, term, clock, locks);
        let Some(expiry) = leases.look(clock, locks) else {
            return;
        };
        self.ends_nobody_for_its_stall(node, &expiry);
        let process = self.process(node);
        process.next += 1;
        let id = process.next;
        process.expiries.insert(id, expiry.clone());
        let body = Body::Expiry(expiry.clone());
        let command = command("expiry", body, clock.as_millis() as u64);
        // Whoever proposes it runs beside the replica, and may do so when another leads, or this one again.
        let delay = match self.rng.random_bool(0.3) {
            true => self.rng.random_range(0..6 * SECOND),
            false => 0,
        };
        let (id, boot) = (ProposalId(id), self.node(node).boot);
        let input = Input::Propose { id, command };
        self.after(delay, Event::Expire { node, boot, input });
        if delay > 0 {
            self.lends_the_lead(node, delay, &expiry);
        }
    }

    /// Until what it is about to propose is proposed, another may lead: it gives everybody the full time anew, and
    /// keeps alive whom the first was about to end. The proposal counts under the leadership that made it alone; the
    /// same voter in a later one must not end by it who lives on. Chance alone hardly ever brings the lead back in
    /// those seconds, with a holder that asks in between. (`Etcd15247`)
    fn lends_the_lead(&mut self, node: NodeId, within: u64, expiry: &Expiry) {
        if !self.mix.lends || self.mix.settles {
            return;
        }
        for holder in 0..self.holders.len() {
            let it = &self.holders[holder];
            let session = it.session.map(Subject::Session);
            if session.is_some_and(|session| expiry.subjects.contains(&session)) {
                let (nth, soon) = (it.nth, self.rng.random_range(0..within));
                self.after(soon, Event::Holder { holder, nth });
            }
        }
        self.arrives(node, Arrived::Input(Input::Transfer { to: None }));
        let back = self.rng.random_range(0..within);
        self.after(back, Event::HandBack(node));
    }

    /// A leader that stood still begins to measure where it stopped: who had time left then has it again.
    fn ends_nobody_for_its_stall(&self, node: NodeId, expiry: &Expiry) {
        let (from, to) = self.nodes[node.0 as usize - 1].stood;
        if to < from + 3 * SECOND / 2 {
            return;
        }
        for holder in &self.holders {
            let Some(session) = holder.session.map(Subject::Session) else {
                continue;
            };
            let left = holder.until.saturating_sub(from);
            // Who was kept alive since has nothing to do with that.
            if left > COUNTED_ON {
                continue;
            }
            assert!(
                !expiry.subjects.contains(&session) || self.now >= to + left * 8 / 10,
                "a leader ends {session:?} for having stood still itself"
            );
        }
    }

    /// A proposal was refused; tells whether it was an expiry.
    pub(crate) fn expiry_refused(&mut self, node: NodeId, id: u64) -> bool {
        let now = self.now;
        let clock = self.node(node).clock(now).0;
        let process = self.process(node);
        let Some(expiry) = process.expiries.remove(&id) else {
            return false;
        };
        if let Some(leases) = process
            .leases
            .as_mut()
            .filter(|it| it.term() == expiry.term)
        {
            leases.refused(clock, &expiry);
        }
        true
    }
}

/// The leadership that the voter has, if it has one and its barrier is applied.
fn measures(process: &crate::node::Process) -> Option<Term> {
    let term: Term = process.replica.ballot().into();
    let leads = process.replica.role() == Role::Leader;
    (leads && process.machine.locks().term() == term).then_some(term)
}

fn begun<'a>(
    leases: &'a mut Option<Leases>,
    term: Term,
    clock: std::time::Duration,
    locks: &synod::state::Locks,
) -> &'a mut Leases {
    if leases.as_ref().is_none_or(|leases| leases.term() != term) {
        *leases = Some(Leases::begin(term, clock, locks));
    }
    leases.as_mut().expect("it was just begun")
}

fn open(holder: usize, opened: u64) -> What {
    let key = format!("open-{holder}-{opened}");
    let lease = SHORTEST_LEASE;
    let body = command(&key, Body::Locks(Operation::Open { lease }), 0);
    What::Write { key, body }
}

pub(crate) fn command(key: &str, body: Body, stamp: u64) -> Bytes {
    let command = Command {
        key: Key::new(key).expect("short and printable"),
        stamp: Stamp(stamp),
        level: LEVEL,
        sticky_key: None,
        author: "simulation".to_owned(),
        comment: String::new(),
        body,
    };
    command.encode()
}

/// Proposed and not known to be refused.
pub(crate) type Expiries = std::collections::BTreeMap<u64, Expiry>;
