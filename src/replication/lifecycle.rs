//! The life of the replica's thread: waiting for the group to be founded, voting or following, and ending without
//! leaving anybody waiting. A panic, of the core or in applying, ends the replica and not the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::calls::Attempt;
use super::checkpoints::Checkpoints;
use super::driver::Driver;
use super::follower;
use super::founding::Founding;
use super::log::{FULL_PAUSE, Log, chain};
use super::proposals::Proposals;
use super::running::StartError;
use super::shared::{Event, Shared};
use super::status::State;
use crate::paxos::{NodeId, Options, Recovered, Role};

/// What the driver is started with.
pub(super) struct Start {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
    pub(super) recovered: Recovered,
    pub(super) log: Log,
    pub(super) checkpoints: Checkpoints,
    pub(super) founding: Arc<Founding>,
    /// Whether the group is founded: before, nothing is handed to the core.
    pub(super) founded: bool,
    /// Told when all that was known to be decided at the start is applied; dropped if it never will be.
    pub(super) ready: Option<oneshot::Sender<()>>,
}

/// What a node is to its group for a while.
pub(super) enum Part {
    Voter(Start),
    Follower(follower::Start),
}

/// Runs until it is stopped or fails, in one part after the other; then nothing more is taken in.
pub(super) fn run(shared: &Shared, mut part: Part, changes: &dyn Changes) {
    let mut proposals = Proposals::default();
    loop {
        let end = match part {
            Part::Voter(start) => run_voter(start, &mut proposals),
            Part::Follower(start) => follower::run(start),
        };
        // The log's thread has ended with the part that had it.
        let next = match end {
            End::Promoted => changed(|| changes.promote())
                .map(Part::Voter)
                .map_err(End::from),
            End::Demoted => {
                proposals.lose("this node has no vote any more");
                step_down(shared, changes).map(Part::Follower)
            }
            end => Err(end),
        };
        part = match next {
            Ok(part) => part,
            Err(end) => return finish(shared, end, &mut proposals),
        };
    }
}

/// How a node comes from one part to the other: its log, which nobody holds by then, is opened again, and it goes on
/// from the state that it has. Or why it cannot.
pub(super) trait Changes {
    /// A follower has been given a vote.
    fn promote(&self) -> Result<Start, Hindrance>;
    /// A voter has none any more. It may be tried again.
    fn demote(&self) -> Result<follower::Start, Hindrance>;
}

/// Why a node does not come to its other part, and what is to be done.
#[derive(Debug)]
pub(super) enum Hindrance {
    /// The disk is full.
    Full(String),
    /// Anything else.
    Broken(String),
}

impl Hindrance {
    /// What `error` says of the data directory, after a change that it hinders.
    pub(super) fn of(change: &str, data: &Path, error: &StartError) -> Self {
        let (data, cause) = (data.display(), chain(error));
        let why = format!("{change} with what {data} holds: {cause}");
        match error {
            StartError::Storage(error) if error.is_for_want_of_space() => {
                Self::Full(format!("{why}; free some space there"))
            }
            _ => Self::Broken(format!("{why}; mend that")),
        }
    }
}

impl From<Hindrance> for End {
    fn from(hindrance: Hindrance) -> Self {
        let (Hindrance::Full(why) | Hindrance::Broken(why)) = hindrance;
        Self::Failed(format!("{why}, then start this node again"))
    }
}

fn run_voter(mut start: Start, proposals: &mut Proposals) -> End {
    let shared = start.shared.clone();
    let mut connected = Vec::new();
    let mut ready = start.ready.take();
    if !start.founded {
        // Nothing is decided before there is a group.
        ready = None;
        if let Err(end) = found(&shared, &mut connected) {
            return end;
        }
    }
    guard(|| Driver::new(start, proposals).serve(connected, ready))
}

/// Comes to follow. A full disk is waited for: what is here is served meanwhile, and nobody waits for a vote of it.
fn step_down(shared: &Shared, changes: &dyn Changes) -> Result<follower::Start, End> {
    let (mut until, mut told) = (Instant::now(), false);
    loop {
        pass_over(shared, until)?;
        match changed(|| changes.demote()) {
            Err(Hindrance::Full(why)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("{why}, then this node follows");
                }
                shared.stand(|standing| standing.state = State::Full);
            }
            changed => return Ok(changed?),
        }
        until = Instant::now() + FULL_PAUSE;
    }
}

/// What comes until then was meant for a voter, or told by its log: a follower numbers its batches anew.
fn pass_over(shared: &Shared, until: Instant) -> Result<(), End> {
    loop {
        let waiting = shared.inbox.take(Some(until));
        match End::Demoted.unless_ended_by(waiting) {
            End::Demoted if Instant::now() >= until => return Ok(()),
            End::Demoted => {}
            end => return Err(end),
        }
    }
}

impl End {
    /// What came with the change of a part, and will be seen by no other: an order to end, or a failure, counts for
    /// more.
    pub(super) fn unless_ended_by(self, events: impl IntoIterator<Item = Event>) -> Self {
        let changes = matches!(self, Self::Promoted | Self::Demoted);
        let ends = events.into_iter().find_map(|event| match event {
            Event::Stop => Some(Self::Stopped),
            Event::Fail(reason) => Some(Self::Failed(reason)),
            Event::Propose { proposer, .. } => {
                let why = "the part of this node in the group changes".to_owned();
                proposer.tell(Attempt::NotProposed(why));
                None
            }
            _ => None,
        });
        ends.filter(|_| changes).unwrap_or(self)
    }
}

/// Runs what ends for a reason or by a panic.
pub(super) fn guard(run: impl FnOnce() -> End) -> End {
    caught(run).unwrap_or_else(End::Failed)
}

/// Comes from one part to the other; a panic on the way is a hindrance like others.
fn changed<T>(change: impl FnOnce() -> Result<T, Hindrance>) -> Result<T, Hindrance> {
    caught(change).map_err(Hindrance::Broken).flatten()
}

/// Makes a reason of a panic: what is shared is left as after the last whole step.
fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| format!("it broke: {}", message(&*panic)))
}

/// Why the driver ends.
pub(super) enum End {
    Stopped,
    Failed(String),
    /// A follower has been given a vote.
    Promoted,
    /// A voter has none any more.
    Demoted,
}

/// Waits until all first voters have agreed; remembers who is connected by then.
fn found(shared: &Shared, connected: &mut Vec<NodeId>) -> Result<(), End> {
    let mut founded = false;
    while !founded {
        // To the last one taken: who connects, and the order to stop, may come right behind.
        for event in shared.inbox.take(None) {
            match event {
                Event::Founded => founded = true,
                Event::Stop => return Err(End::Stopped),
                Event::Fail(reason) => return Err(End::Failed(reason)),
                Event::Connected(peer) => connected.push(peer),
                Event::Disconnected(peer) => connected.retain(|other| *other != peer),
                Event::Propose { proposer, .. } => {
                    let why = "the group is not founded yet".to_owned();
                    proposer.tell(Attempt::NotProposed(why));
                }
                // Nobody votes yet: who has begun asks again. A reply that is dropped says no.
                Event::Message { .. } | Event::Read { .. } | Event::Fetch { .. } => {}
                Event::Transfer { .. } | Event::Seal { .. } => {}
                Event::Entries { .. } | Event::Digest { .. } => {}
                Event::Persisted(_) | Event::Kept { .. } | Event::DiskFull(_) => {}
                Event::Fetched(_) | Event::Fetching => {}
                // It has not heard that all know, and was removed since.
                Event::Demoted => return Err(End::Demoted),
            }
        }
    }
    Ok(())
}

/// Nobody is left waiting, and nothing more is taken in.
fn finish(shared: &Shared, end: End, proposals: &mut Proposals) {
    let why = match &end {
        End::Stopped | End::Promoted | End::Demoted => "the node is stopping".to_owned(),
        End::Failed(reason) => reason.clone(),
    };
    if let End::Failed(reason) = &end {
        tracing::error!(
            "this node's replica has ended: {reason}; traffic goes on, a restart is needed"
        );
    }
    shared.stand(|standing| {
        standing.state = State::Failed {
            reason: why.clone(),
        };
        (standing.role, standing.leader) = (Role::Follower, None);
        standing.voter = None;
    });
    proposals.lose(&why);
    for event in shared.inbox.close() {
        if let Event::Propose { proposer, .. } = event {
            proposer.tell(Attempt::NotProposed(why.clone()));
        }
    }
}

/// What a panic said.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::super::storage;
    use super::*;
    use crate::paxos::{Ballot, Epoch};

    fn waiting() -> Shared {
        let group = Group::alone("n1", [1; 16], [2; 16]);
        let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
        Shared::new(group, standing(&recovered), Reports::new(None))
    }

    #[test]
    fn nothing_that_comes_with_the_founding_is_lost() {
        let (shared, mut connected) = (waiting(), Vec::new());
        let _ = shared.inbox.push(Event::Founded);
        let _ = shared.inbox.push(Event::Connected(NodeId(2)));
        assert!(found(&shared, &mut connected).is_ok());
        assert_eq!(connected, [NodeId(2)]);

        let _ = shared.inbox.push(Event::Founded);
        let _ = shared.inbox.push(Event::Stop);
        let ended = found(&shared, &mut connected);
        assert!(matches!(ended, Err(End::Stopped)));
    }
    #[test]
    fn what_hinders_a_change_says_where_and_what_to_do() {
        let failed = |kind: std::io::ErrorKind| {
            let error = storage::Error::io("write", "group.tmp")(kind.into());
            Hindrance::of("it cannot follow", Path::new("/data"), &error.into())
        };
        let full = failed(std::io::ErrorKind::StorageFull);
        let Hindrance::Full(why) = &full else {
            panic!("{full:?}");
        };
        assert!(why.contains("/data") && why.contains("cannot write group.tmp"));
        assert!(why.ends_with("free some space there"), "{why}");
        let broken = failed(std::io::ErrorKind::PermissionDenied);
        assert!(matches!(broken, Hindrance::Broken(_)));
        let End::Failed(why) = End::from(broken) else {
            panic!("it ends the replica");
        };
        assert!(
            why.ends_with("mend that, then start this node again"),
            "{why}"
        );
    }
}
