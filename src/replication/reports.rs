//! What each node serves, told to every other: on change at once, and with a period.
//!
//! A node's own activation of a revision is passed on only when a decided slot covering it is durable here: what was
//! reported as applied is served again after a kill and a start without quorum.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::frame::{Body, RejectedRevision, Report};
use super::shared::Shared;
use crate::config::Revision;
use crate::paxos::{NodeId, Role};

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
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
        })
    }
}

/// A node as this one last heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it is the leader this node follows.
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
    /// Why its replica takes no part, if it does not.
    pub failed: Option<String>,
    /// How long ago it was heard; `None`: never. Of this node itself: zero.
    pub heard: Option<Duration>,
    /// Where its admin API listens.
    pub admin: Option<SocketAddr>,
}

/// What is known of all nodes.
pub(super) struct Reports {
    known: Mutex<Known>,
    admin: Option<SocketAddr>,
    /// Bumped when any report changed.
    pub(super) changed: watch::Sender<u64>,
    /// There is something new to tell.
    pub(super) news: Notify,
}

#[derive(Default)]
struct Known {
    heard: BTreeMap<NodeId, Heard>,
    /// The newest activation here, and the one that may be told.
    latest: Activation,
    told: Activation,
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
            changed: watch::Sender::new(0),
            news: Notify::new(),
        }
    }

    /// The local data plane serves something else now.
    pub(super) fn activated(&self, activation: Activation) {
        self.lock().latest = activation;
        self.news.notify_one();
    }

    /// A peer has told what it serves.
    pub(super) fn heard(&self, from: NodeId, report: Report, applied: u64) {
        let heard = Heard {
            lag: applied.saturating_sub(report.slot),
            report: report.clone(),
            at: Instant::now(),
        };
        let before = self.lock().heard.insert(from, heard);
        // Slots move with every commit; whoever waits, waits for what is served.
        let served = |report: &Report| Report {
            slot: 0,
            ..report.clone()
        };
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

    /// A bump without news of its own: a role or the state of the replica changed.
    pub(super) fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn own(&self, shared: &Shared) -> Report {
        let told = self.lock().told.clone();
        let standing = shared.standing.borrow();
        Report {
            applied: told.revision.0,
            digest: told.digest,
            rejected: told.rejected.map(|rejected| RejectedRevision {
                revision: rejected.revision.0,
                reason: rejected.reason,
            }),
            slot: *shared.applied.borrow(),
            leads: standing.role == Role::Leader,
            failed: standing.state.failure().unwrap_or_default(),
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

    /// All voters, in the order of their ids.
    pub(super) fn nodes(&self, shared: &Shared) -> Vec<NodeReport> {
        let group = shared.group();
        let leader = shared.standing.borrow().leader;
        let own = self.own(shared);
        let known = self.lock();
        let slots = known.heard.values().map(|heard| heard.report.slot);
        let furthest = slots.chain([own.slot]).max().unwrap_or(0);
        let describe = |member: &super::group::Member| {
            let id = NodeId(member.id);
            let behind = |report: &Report| furthest - report.slot;
            let (report, heard, lag) = match known.heard.get(&id) {
                _ if id.0 == group.me => (own.clone(), Some(Duration::ZERO), behind(&own)),
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
            NodeReport {
                id,
                name: member.name.clone(),
                role: if leader == Some(id) {
                    NodeRole::Leader
                } else {
                    NodeRole::Voter
                },
                applied: Revision(report.applied),
                slot: report.slot,
                digest: report.digest,
                lag,
                rejected: report.rejected.map(|rejected| Rejected {
                    revision: Revision(rejected.revision),
                    reason: rejected.reason,
                }),
                failed: Some(report.failed).filter(|reason| !reason.is_empty()),
                heard,
                admin: report.admin.parse().ok(),
            }
        };
        group.members.iter().map(describe).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock can panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        };
        let covered = *durable.borrow_and_update();
        if shared.reports.promote(covered) || due {
            shared.links.broadcast(shared.reports.frame(&shared));
        }
    }
}
