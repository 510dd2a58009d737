//! What each node serves, told to every other: on change at once, and with a period.
//!
//! A node's own activation of a revision is passed on only when a decided slot covering it is durable here: what was
//! reported as applied is served again after a kill and a start without quorum.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::followers::{Followers, served};
use super::frame::{Body, Node, RejectedRevision, Report};
use super::group::{Member, hex};
use super::shared::Shared;
use crate::config::{Address, Revision};
use crate::paxos::{NodeId, Role};
use crate::state::Machine;

/// How often a node tells what it serves when nothing changes; a peer also learns from it that the other end lives.
const PERIOD: Duration = Duration::from_secs(1);
/// A node not heard for longer than this is silent.
pub const SILENT: Duration = Duration::from_secs(3 * PERIOD.as_secs());

/// What the local data plane serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activation {
    /// The revision served.
    pub revision: Revision,
    /// Of the snapshot; equal on all nodes at equal revisions.
    pub digest: u64,
    /// The newest revision that could not be built, if it is newer than the one served.
    pub rejected: Option<Rejected>,
}

/// A revision that a data plane could not build; it goes on serving the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub revision: Revision,
    /// Why.
    pub reason: String,
}

/// What a node is to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// The voter that leads.
    Leader,
    /// A voter that does not.
    Voter,
    /// A node without a vote.
    Follower,
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Follower => "follower",
        })
    }
}

/// A node as this one last heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Its number; `None` for a follower, which is given one with its vote.
    pub id: Option<NodeId>,
    /// What tells a follower from another of its name, in hexadecimal; empty for a voter.
    pub instance: String,
    /// Whether it is this node.
    pub here: bool,
    /// Its name.
    pub name: String,
    /// What it is to the group, as this node knows it.
    pub role: NodeRole,
    /// The revision its data plane serves; 0 before it was heard or served any.
    pub applied: Revision,
    /// The slot its state machine has applied.
    pub slot: u64,
    /// Of the snapshot it serves.
    pub digest: u64,
    /// How many slots its state machine is behind: when it last spoke, or by now if it has fallen silent.
    pub lag: u64,
    /// The revision it could not build, if that is newer than `applied`, and why.
    pub rejected: Option<Rejected>,
    /// Its data plane refuses tokens that are old as of this slot.
    pub fenced: u64,
    /// Why its replica takes no part, if it does not.
    pub failed: Option<String>,
    /// What keeps its replica from its full part, as it last told.
    pub trouble: Option<String>,
    /// Whether it stores what is proposed, as it last told.
    pub stores: bool,
    /// How long ago it was heard; `None`: never. Of this node itself: zero.
    pub heard: Option<Duration>,
    /// Where its admin API listens.
    pub admin: Option<SocketAddr>,
    /// Where it listens for peers, as it told; of a voter, as the group knows it.
    pub peer: Option<Address>,
}

impl NodeReport {
    /// Whether it has a vote.
    pub fn votes(&self) -> bool {
        self.role != NodeRole::Follower
    }

    /// Whether it was heard lately.
    pub fn is_reachable(&self) -> bool {
        self.heard.is_some_and(|ago| ago <= SILENT)
    }
}

/// What is known of all nodes.
pub(super) struct Reports {
    known: Mutex<Known>,
    admin: Option<SocketAddr>,
    /// The followers, as voters know them.
    pub(super) followers: Followers,
    /// Of a follower: the list its voter last gave, and when.
    listed: Mutex<Option<(Vec<Node>, Instant)>>,
    /// Bumped when any report changed.
    pub(super) changed: watch::Sender<u64>,
    /// There is something new to tell.
    pub(super) news: Notify,
    /// The local fences are newer than what was told of them.
    fences: Notify,
    /// Whether any peer said last that it stores nothing.
    troubled: AtomicBool,
}

#[derive(Default)]
struct Known {
    heard: BTreeMap<NodeId, Heard>,
    /// The newest activation here, and the one that may be told.
    latest: Activation,
    told: Activation,
    fenced: u64,
}

/// The last report of a peer.
struct Heard {
    report: Report,
    at: Instant,
    /// How far it was behind this node's state machine when it spoke: a peer in step must not look behind for all that
    /// was committed since.
    lag: u64,
}

impl Reports {
    pub(super) fn new(admin: Option<SocketAddr>) -> Self {
        Self {
            known: Mutex::default(),
            admin,
            followers: Followers::default(),
            listed: Mutex::default(),
            changed: watch::Sender::new(0),
            news: Notify::new(),
            fences: Notify::new(),
            troubled: AtomicBool::new(false),
        }
    }

    /// The local data plane serves something else now.
    pub(super) fn activated(&self, activation: Activation) {
        self.lock().latest = activation;
        self.news.notify_one();
    }

    /// Whether the local data plane could not build what is in force.
    pub(super) fn rejects(&self) -> bool {
        self.lock().latest.rejected.is_some()
    }

    /// The local data plane refuses what is old as of `slot`: told at once, for a grant may wait for it.
    pub(super) fn fenced(&self, slot: u64) {
        let before = std::mem::replace(&mut self.lock().fenced, slot);
        if before != slot {
            self.bump();
            self.fences.notify_one();
        }
    }

    /// Whether a leader here need not propose anything: the voters that live and store it are no majority. Where all
    /// that live do, an election settles it.
    pub(super) fn starved(&self, shared: &Shared) -> bool {
        if !self.troubled.load(Relaxed) {
            return false;
        }
        let (group, known) = (shared.group(), self.lock());
        let stores = |member: &&Member| member.id == group.me || known.stores(NodeId(member.id));
        2 * group.members.iter().filter(stores).count() <= group.members.len()
    }

    /// A peer has told what it serves.
    pub(super) fn heard(&self, from: NodeId, report: Report, applied: u64) {
        let heard = Heard {
            lag: applied.saturating_sub(report.slot),
            report: report.clone(),
            at: Instant::now(),
        };
        let mut known = self.lock();
        let before = known.heard.insert(from, heard);
        let troubled = known.heard.values().any(|heard| heard.report.unable);
        self.troubled.store(troubled, Relaxed);
        drop(known);
        if before.is_none_or(|before| served(&before.report) != served(&report)) {
            self.bump();
        }
    }

    /// Lets the latest activation be told once its slot is decided durably. Tells whether it was news.
    pub(super) fn promote(&self, durable: u64) -> bool {
        let mut known = self.lock();
        let news = known.latest != known.told && known.latest.revision.0 <= durable;
        if news {
            known.told = known.latest.clone();
        }
        drop(known);
        if news {
            self.bump();
        }
        news
    }

    /// When this voter last heard of a voter; of itself it always does.
    pub(super) fn last_heard(&self, shared: &Shared, voter: NodeId) -> Option<Instant> {
        if voter.0 == shared.group().me {
            return Some(Instant::now());
        }
        self.lock().heard.get(&voter).map(|heard| heard.at)
    }

    /// A bump without news of its own: a role or the state of the replica changed.
    pub(super) fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// A voter, or a follower of the last minute, that has not said that it knows this feature level.
    pub(super) fn behind(&self, shared: &Shared, level: u32) -> Option<String> {
        let nodes = self.list(shared).into_iter();
        let knows = |node: &Node| node.report.as_ref().map_or(0, |report| report.level);
        let mut behind = nodes.filter(|node| knows(node) < level);
        behind.next().map(|node| node.name)
    }

    fn own(&self, shared: &Shared) -> Report {
        let (told, fenced) = {
            let known = self.lock();
            (known.told.clone(), known.fenced)
        };
        // Before the standing is held: whoever applies holds the machine, and may change the standing meanwhile.
        let level = shared.inspect(Machine::knows);
        let standing = shared.standing.borrow();
        Report {
            applied: told.revision.0,
            digest: told.digest,
            rejected: told.rejected.map(|rejected| RejectedRevision {
                revision: rejected.revision.0,
                reason: rejected.reason,
            }),
            slot: *shared.applied.borrow(),
            fenced,
            level,
            leads: standing.role == Role::Leader,
            failed: standing.state.failure().unwrap_or_default(),
            trouble: standing.state.trouble().unwrap_or_default(),
            unable: !standing.state.stores(),
            admin: self
                .admin
                .map(|admin| admin.to_string())
                .unwrap_or_default(),
        }
    }

    /// The frame that tells what this node serves.
    pub(super) fn frame(&self, shared: &Shared) -> Body {
        Body::Report(self.own(shared))
    }

    /// All voters in the order of their ids, then all followers.
    pub(super) fn nodes(&self, shared: &Shared) -> Vec<NodeReport> {
        let leader = shared.standing.borrow().leader;
        let nodes = self.list(shared).into_iter();
        nodes.map(|node| describe(node, shared, leader)).collect()
    }

    /// The same, to be sent to a follower.
    pub(super) fn list(&self, shared: &Shared) -> Vec<Node> {
        let own = self.own(shared);
        if shared.group().follower.is_some() {
            return self.list_of_follower(shared, own);
        }
        let followers = self.followers.all();
        let mut nodes = self.voters(shared, &own);
        let slots = nodes.iter().filter_map(|node| node.report.as_ref());
        let furthest = slots.map(|report| report.slot).max().unwrap_or(0);
        nodes.extend(followers.into_iter().map(|(instance, follower)| Node {
            id: 0,
            instance,
            lag: follower.lag(furthest),
            name: follower.name,
            report: Some(follower.report),
            heard: Some(millis(follower.at.elapsed())),
            peer: follower.peer,
        }));
        nodes
    }

    fn voters(&self, shared: &Shared, own: &Report) -> Vec<Node> {
        let group = shared.group();
        let known = self.lock();
        let slots = known.heard.values().map(|heard| heard.report.slot);
        let furthest = slots.chain([own.slot]).max().unwrap_or(0);
        let describe = |member: &Member| {
            let behind = |report: &Report| furthest - report.slot;
            let (report, heard, lag) = match known.heard.get(&NodeId(member.id)) {
                _ if member.id == group.me => (own.clone(), Some(Duration::ZERO), behind(own)),
                Some(heard) if heard.at.elapsed() <= SILENT => {
                    (heard.report.clone(), Some(heard.at.elapsed()), heard.lag)
                }
                Some(heard) => {
                    let report = heard.report.clone();
                    let lag = behind(&report);
                    (report, Some(heard.at.elapsed()), lag)
                }
                None => (Report::default(), None, furthest),
            };
            Node {
                id: member.id,
                instance: Bytes::new(),
                name: member.name.clone(),
                report: Some(report),
                lag,
                heard: heard.map(millis),
                peer: member.address.clone(),
            }
        };
        group.members.iter().map(describe).collect()
    }

    /// What its voter last told, and of itself what it knows better.
    fn list_of_follower(&self, shared: &Shared, own: Report) -> Vec<Node> {
        let group = shared.group();
        let Some(me) = group.own() else {
            return Vec::new();
        };
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |at: &Instant| millis(at.elapsed());
        let mut nodes: Vec<Node> = match listed.as_ref() {
            Some((nodes, at)) => nodes
                .iter()
                .map(|node| Node {
                    heard: node.heard.map(|ago| ago + since(at)),
                    ..node.clone()
                })
                .collect(),
            None => self.voters(shared, &Report::default()),
        };
        let slots = nodes.iter().filter_map(|node| node.report.as_ref());
        let told = shared.last_heartbeat().map_or(0, |last| last.slot);
        let furthest = slots.map(|report| report.slot).chain([told]).max();
        nodes.retain(|node| node.instance != me.instance);
        nodes.push(Node {
            id: 0,
            instance: me.instance.clone(),
            name: me.name.clone(),
            lag: furthest.unwrap_or(0).saturating_sub(own.slot),
            report: Some(own),
            heard: Some(0),
            peer: me.address.clone(),
        });
        nodes
    }

    /// Its voter has told this follower of all nodes.
    pub(super) fn listed(&self, nodes: Vec<Node>) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some((nodes, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock can panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether this voter was heard of late, and stores what is proposed.
    fn stores(&self, voter: NodeId) -> bool {
        let heard = self.heard.get(&voter);
        heard.is_some_and(|heard| !heard.report.unable && heard.at.elapsed() <= SILENT)
    }
}

fn describe(node: Node, shared: &Shared, leader: Option<NodeId>) -> NodeReport {
    let group = shared.group();
    let id = Some(NodeId(node.id)).filter(|id| id.0 > 0);
    let report = node.report.unwrap_or_default();
    let role = match id {
        None => NodeRole::Follower,
        Some(_) if id == leader => NodeRole::Leader,
        Some(_) => NodeRole::Voter,
    };
    let mine = group.follower.as_ref().map(|own| &own.instance);
    NodeReport {
        here: match id {
            Some(id) => id.0 == group.me,
            None => mine == Some(&node.instance),
        },
        id,
        instance: hex(&node.instance),
        name: node.name,
        role,
        applied: Revision(report.applied),
        slot: report.slot,
        fenced: report.fenced,
        digest: report.digest,
        lag: node.lag,
        rejected: report.rejected.map(|rejected| Rejected {
            revision: Revision(rejected.revision),
            reason: rejected.reason,
        }),
        failed: Some(report.failed).filter(|reason| !reason.is_empty()),
        trouble: Some(report.trouble).filter(|trouble| !trouble.is_empty()),
        stores: !report.unable,
        heard: node.heard.map(Duration::from_millis),
        admin: report.admin.parse().ok(),
        peer: node.peer.parse().ok(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells the peers, until it is dropped.
pub(super) async fn tell(shared: Arc<Shared>) {
    let mut period = tokio::time::interval(PERIOD);
    let mut durable = shared.durable.subscribe();
    let mut standing = shared.standing.subscribe();
    loop {
        // Cancelling any of these loses nothing: what is told is read afresh below.
        let due = tokio::select! {
            _ = period.tick() => true,
            _ = standing.changed() => { shared.reports.bump(); true }
            _ = durable.changed() => false,
            () = shared.reports.news.notified() => false,
            () = shared.reports.fences.notified() => true,
        };
        // Followers first: whoever hears that this node refuses old tokens knows all that ask it by then.
        if let Some(followers) = shared.reports.followers.news() {
            shared.links.broadcast(Body::Followers(followers));
        }
        let covered = *durable.borrow_and_update();
        if shared.reports.promote(covered) || due {
            shared.links.broadcast(shared.reports.frame(&shared));
        }
    }
}
