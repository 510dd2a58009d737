//! How a node comes to know its group, and keeps what it knows.
//!
//! An empty directory without a list of voters is a new cluster of one. With a list each voter draws an instance and
//! tells it to the others; who knows all makes the membership durable and says so; nobody votes before all have said
//! so. Otherwise a minority that founded in haste could meet another that did the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use prost::Message;

use super::frame::{Hello, Refusal, Welcome};
use super::group::Group;
use super::log::{FULL_PAUSE, chain};
use super::membership::Details;
use super::shared::{Event, Shared};
use super::status::State;
use super::storage::{Disk, Error, document};
use super::{Options, StartError};
use crate::paxos::{Epoch, MAX_VOTERS, NodeId, Role};

/// The file of the record, and its format.
pub(super) const FILE: &str = "group";
const FORMAT: u32 = 1;

/// Reads the record, or begins one; `true` if the directory held none. Nothing is written yet.
pub(super) fn load<D: Disk>(disk: &D, options: &Options) -> Result<(Group, bool), StartError> {
    let voters = &options.voters;
    if !voters.is_empty() && !voters.contains_key(&options.name) {
        return Err(StartError::NotListed {
            name: options.name.clone(),
        });
    }
    let Some(mut group) = stored(disk)? else {
        let group = match voters.len() {
            // A node that joins founds nothing, whatever it finds.
            _ if !options.join.is_empty() => Group::joining(&options.name, rand::random()),
            0 | 1 => Group::alone(&options.name, rand::random(), rand::random()),
            _ => Group::first(&options.name, voters, rand::random()),
        };
        return Ok((group, true));
    };
    let own = group
        .own()
        .ok_or_else(|| Error::damaged(FILE, "it does not list this node"))?;
    if own.name != options.name {
        let (is, asked) = (own.name.clone(), options.name.clone());
        return Err(StartError::OtherName { is, asked });
    }
    // Once it knows a cluster the list only tells addresses: what voted once may have been removed.
    if group.follower.is_some() && group.cluster.is_empty() && !voters.is_empty() {
        return Err(StartError::Follower);
    }
    if group.cluster.is_empty() && !voters.is_empty() && !voters.keys().eq(&group.names()) {
        // Nobody can have voted yet: the operator may still correct the list.
        let instance = rand::random();
        group = Group::first(&options.name, voters, instance);
    }
    group.readdress(voters);
    Ok((group, false))
}

/// The record as it is; none in a directory that holds none.
pub(super) fn stored<D: Disk>(disk: &D) -> Result<Option<Group>, Error> {
    let Some(bytes) = document::load(disk, FILE, FORMAT)? else {
        return Ok(None);
    };
    let read = Group::decode(bytes.as_slice());
    read.map(Some)
        .map_err(|error| Error::damaged(FILE, error.to_string()))
}

/// A new start of this directory: durable before anybody hears of it.
pub(super) fn begin<D: Disk>(disk: &D, group: &mut Group) -> Result<(), Error> {
    let me = group.me;
    let members = group.members.iter_mut().filter(|member| member.id == me);
    for own in members.chain(&mut group.follower) {
        own.incarnation += 1;
        own.process = rand::random();
    }
    store(disk, group)
}

/// Makes the record durable.
pub(super) fn store<D: Disk>(disk: &D, group: &Group) -> Result<(), Error> {
    document::store(disk, FILE, FORMAT, &group.encode_to_vec())
}

/// Keeps the record while peers are met.
pub(super) struct Founding {
    shared: Arc<Shared>,
    keeper: Mutex<Keeper>,
    /// Who votes, as the followers that this node took for voters know it: so far as it is news, and never written
    /// down.
    told: Mutex<Option<Box<Welcome>>>,
}

/// Makes the record durable on whatever disk there is.
type Store = Box<dyn Fn(&Group) -> Result<(), Error> + Send>;

struct Keeper {
    store: Store,
    /// The cluster each peer has said is durable there. It may have known all before this node did.
    said: BTreeMap<NodeId, Bytes>,
}

impl Keeper {
    /// Makes the record durable, or says why it cannot be.
    fn keep(&self, group: &Group) -> Result<(), String> {
        (self.store)(group).map_err(|error| {
            let cause = chain(&error);
            format!("what it knows of the group cannot be kept: {cause}")
        })
    }

    /// What `peer` says is durable in its directory stays so: a hello that knew less may come behind one that knew all,
    /// for different tasks write them. (`a_hello_that_is_overtaken_unsays_nothing`)
    fn hear(&mut self, peer: NodeId, hello: &Hello, before: &Group) {
        let known = before.member(peer);
        let same = known.is_some_and(|known| known.instance == hello.instance);
        if !hello.cluster.is_empty() {
            self.said.insert(peer, hello.cluster.clone());
        } else if !same {
            self.said.remove(&peer);
        }
    }
}

/// A hello was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) peer: NodeId,
    /// This node came to know its cluster by it: the others are to be told.
    pub(super) settled: bool,
}

impl Founding {
    pub(super) fn new<D: Disk>(disk: D, shared: Arc<Shared>) -> Self {
        let store: Store = Box::new(move |group| store(&disk, group));
        let keeper = Mutex::new(Keeper {
            store,
            said: BTreeMap::new(),
        });
        Self {
            shared,
            keeper,
            told: Mutex::default(),
        }
    }

    /// Judges a hello. What must be remembered of it is durable when this returns: it may wait for the disk.
    pub(super) fn meet(&self, hello: &Hello) -> Result<Accepted, Refusal> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shared.group();
        let mut group = Group::clone(&before);
        let peer = group.meet(hello)?;
        keeper.hear(peer, hello, &before);
        let settled = settle(&mut group, &keeper.said);
        let waiting = waiting(&group, &keeper.said);
        group.complete |= waiting.is_empty();
        if group != *before {
            keeper.keep(&group).map_err(|reason| Refusal {
                wiped: false,
                reason,
                cluster: before.cluster.clone(),
                ..Refusal::default()
            })?;
            self.shared.regroup(group.clone());
        }
        if group.complete && !before.complete {
            tracing::info!(
                "all {} first voters know the membership",
                group.members.len()
            );
            let _ = self.shared.inbox.push(Event::Founded);
        } else if !group.complete {
            self.shared.stand(|standing| {
                if matches!(standing.state, State::Founding { .. }) {
                    standing.state = State::Founding { waiting };
                }
            });
        }
        Ok(Accepted { peer, settled })
    }

    /// This node, a follower, is told of its group. What it takes of it is durable when this returns.
    pub(super) fn welcomed(&self, welcome: &Welcome) -> Result<(), String> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shared.group();
        let mut group = Group::clone(&before);
        group.welcomed(welcome)?;
        if group != *before {
            keeper.keep(&group)?;
            self.shared.regroup(group);
        }
        Ok(())
    }

    /// This node has entered an epoch: what it knows of its members is durable when this returns. Members that are met
    /// in it are judged by it. A full disk is waited for until the replica is to end: what is here is served meanwhile.
    pub(super) fn entered(&self, epoch: Epoch, details: &Details) -> Result<(), String> {
        let shared = &self.shared;
        let before = shared.standing.borrow().state.clone();
        while let Err(error) = self.enter(epoch, details) {
            let why = chain(&error);
            let ends = shared.inbox.holds(Event::ends) || shared.inbox.finished();
            if ends || !error.is_for_want_of_space() {
                return Err(format!(
                    "who votes has changed, and cannot be written down: {why}; mend that, then start this node again"
                ));
            }
            if shared.standing.borrow().state != State::Full {
                tracing::error!(
                    "who votes has changed, and cannot be written down: {why}; \
                     free some space in the data directory, then this node goes on"
                );
            }
            shared.stand(|standing| standing.state = State::Full);
            let again = Instant::now() + FULL_PAUSE;
            shared.inbox.pause_unless_finished(again);
        }
        shared.stand(|standing| {
            if standing.state == State::Full {
                standing.state = before;
            }
        });
        Ok(())
    }

    fn enter(&self, epoch: Epoch, details: &Details) -> Result<(), Error> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let mut group = Group::clone(&self.shared.group());
        group.enter(epoch, details);
        (keeper.store)(&group)?;
        self.shared.regroup(group);
        // Whoever votes is no longer waited for as the follower that it was.
        for member in &details.members {
            self.shared.reports.followers.left(&member.instance);
        }
        self.shared.reports.bump();
        Ok(())
    }

    /// From its next start this node has no vote: that is durable when this returns.
    pub(super) fn keep_demoted(&self) -> Result<(), Error> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        (keeper.store)(&self.without_vote())
    }

    /// This node has no vote from here on, nor from its next start: it may be fed. That is durable when this returns,
    /// whoever was met since it was kept.
    pub(super) fn demoted(&self) -> Result<(), Error> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.without_vote();
        (keeper.store)(&group)?;
        // Before it is known without: from then on it may be fed.
        self.shared.stand(|standing| {
            let why = "it has not reached a voter yet".to_owned();
            standing.state = State::Alone { why };
            (standing.role, standing.leader) = (Role::Follower, None);
        });
        self.shared.regroup(group);
        Ok(())
    }

    fn without_vote(&self) -> Group {
        let mut group = Group::clone(&self.shared.group());
        group.demoted();
        group
    }

    /// Does something while the record is not written.
    pub(super) fn still<T>(&self, act: impl FnOnce() -> T) -> T {
        let _keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// A peer refuses this node. One that knows this directory lost what it promised is believed. It may wait for the
    /// disk.
    pub(super) fn refused(&self, refusal: &Refusal) {
        let own = self.shared.group().cluster.clone();
        if refusal.wiped && (own.is_empty() || own == refusal.cluster) {
            let _ = self.shared.inbox.push(Event::Fail(refusal.reason.clone()));
        }
        self.hears_of(refusal);
        if own == refusal.cluster {
            self.moved(Epoch(refusal.moved));
        }
    }

    /// Remembers who votes, where a refusal tells it: only to call them, for they judge and are judged like all others.
    pub(super) fn hears_of(&self, refusal: &Refusal) {
        let group = self.shared.group();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = told.as_ref().map_or(0, |told| told.epoch).max(group.epoch);
        let ours = group.cluster.is_empty() || group.cluster == refusal.cluster;
        let known = refusal.known.as_ref();
        if let Some(known) = known.filter(|known| ours && known.epoch >= newest) {
            *told = Some(known.clone());
        }
    }

    /// Where those are that this node was told of by a follower.
    pub(super) fn told_of(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let voters = told.iter().flat_map(|told| &told.voters).take(MAX_VOTERS);
        voters.map(|voter| voter.address.clone()).collect()
    }

    /// A peer has entered `epoch`, in which this node has no vote. Beside that peer it may be the only one to hold the
    /// Seal of its own epoch, not knowing it decided: so it votes on, and hands over what it knows, as one that was
    /// there when it was removed does. What it is told is not written down: it is told again after a start.
    /// (`one_that_is_told_that_it_was_removed_keeps_its_vote_until_its_successors_have_a_leader`)
    fn moved(&self, epoch: Epoch) {
        let _keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let mut group = Group::clone(&self.shared.group());
        if group.follower.is_some() || epoch <= group.membership().epoch {
            return;
        }
        let epoch = epoch.0;
        tracing::warn!(
            epoch,
            "this node was removed from the cluster while it was away"
        );
        self.shared.stand(|standing| {
            if standing.state == State::Running {
                standing.state = State::Removed;
            }
        });
        group.follower = group.own().cloned();
        self.shared.regroup(group);
    }
}

/// Fixes the membership, unless a peer has said that another one is durable there: then somebody's directory is not the
/// one that was founded with, and the peers tell whose. (`a_wiped_voter_founds_nothing_of_its_own`)
fn settle(group: &mut Group, said: &BTreeMap<NodeId, Bytes>) -> bool {
    let mut settled = group.clone();
    if !settled.settle() || said.values().any(|said| *said != settled.cluster) {
        return false;
    }
    *group = settled;
    true
}

/// The names of those that have not said that this very membership is durable with them.
pub(super) fn waiting(group: &Group, said: &BTreeMap<NodeId, Bytes>) -> Vec<String> {
    let agrees = |id: u32| id == group.me || said.get(&NodeId(id)) == Some(&group.cluster);
    let absent = group.members.iter().filter(|member| !agrees(member.id));
    absent.map(|member| member.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::super::storage::Memory;
    use super::*;
    use crate::config::Address;
    use crate::paxos::{Ballot, Epoch, Recovered};

    /// Of three voters `a`, `b` and `c`.
    fn member(name: &str, instance: u8) -> Group {
        let address = Address::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let voters = ["a", "b", "c"].map(|name| (name.to_owned(), address.clone()));
        Group::first(name, &voters.into(), [instance; 16])
    }

    fn founder(name: &str, instance: u8) -> (Founding, Arc<Shared>) {
        let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
        let group = member(name, instance);
        let shared = Shared::new(group, standing(&recovered), Reports::new(None));
        let shared = Arc::new(shared);
        let disk = Memory::new(1).boot().expect("a disk");
        (Founding::new(disk, shared.clone()), shared)
    }

    #[test]
    fn a_wiped_voter_founds_nothing_of_its_own() {
        let cluster = Bytes::from_static(&[9; 16]);
        let (founding, wiped) = founder("c", 3);
        // Both are heard before either's refusal.
        for (name, instance) in [("a", 1), ("b", 2)] {
            let mut hello = member(name, instance).hello("c");
            hello.cluster = cluster.clone();
            founding.meet(&hello).expect("it may be the last to know");
        }
        assert!(wiped.group().cluster.is_empty(), "a cluster of its own");
        founding.refused(&Refusal {
            wiped: true,
            reason: "wiped".to_owned(),
            cluster,
            ..Refusal::default()
        });
        let told = wiped.inbox.take(Some(Instant::now()));
        assert!(matches!(told.front(), Some(Event::Fail(_))));
    }

    #[test]
    fn a_hello_that_is_overtaken_unsays_nothing() {
        let (founding, last) = founder("c", 3);
        let hears = |name, instance, cluster: &Bytes| {
            let mut hello = member(name, instance).hello("c");
            hello.cluster = cluster.clone();
            founding.meet(&hello).expect("it belongs here");
        };
        let nothing = Bytes::new();
        hears("a", 1, &nothing);
        hears("b", 2, &nothing);
        let cluster = last.group().cluster.clone();
        assert_eq!(cluster.len(), 16, "all are met");
        hears("a", 1, &cluster);
        // Written before that, and queued behind it.
        hears("a", 1, &nothing);
        hears("b", 2, &cluster);
        assert!(last.group().complete, "all have said that they know");
    }

    #[test]
    fn what_a_directory_said_is_not_held_against_the_one_in_its_place() {
        let (founding, node) = founder("c", 3);
        let hears = |name, instance, cluster: &[u8]| {
            let mut hello = member(name, instance).hello("c");
            hello.cluster = Bytes::copy_from_slice(cluster);
            founding.meet(&hello).expect("nobody has promised yet");
        };
        hears("a", 1, &[9; 16]);
        hears("a", 4, &[]);
        hears("b", 2, &[]);
        assert_eq!(node.group().cluster.len(), 16, "all are met");
    }
}
