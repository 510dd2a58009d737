//! What an operator orders of the leader: to hand over, or to change who votes. Any node takes an order and passes it
//! on.
//!
//! An order is not a command: it is not in the log and has no key. One whose fate is unknown is looked up, not
//! repeated.

use std::future::ready;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Handle;
use super::calls::{Fulfilled, Reply};
use super::frame::{Body, Order, Ordered, Verdict};
use super::group::{Group, Member};
use super::leader::Leader;
use super::membership::{Details, Newcomer};
use super::reports::{NodeReport, SILENT};
use super::shared::{Event, Shared, Standing};
use crate::paxos::{NodeId, Role, SealRefusal, TransferFailure};

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It cannot be done now: nothing has changed.
    #[error("{why}")]
    Refused {
        /// Worded for whoever ordered it.
        why: String,
    },
    /// No leader took it: nothing has changed.
    #[error("not done: {why}")]
    NotTaken {
        /// Worded for whoever ordered it.
        why: String,
    },
    /// It may have been done.
    #[error("outcome unknown, it may have been done: {why}")]
    Unknown {
        /// Worded for whoever ordered it.
        why: String,
    },
}

/// How long an order that was passed on may take at most.
const LONGEST: Duration = Duration::from_secs(3600);
/// Slots that a newcomer may be behind, of which more come while it is looked at.
const MOST_LAG: u64 = 1024;
/// How long to look for the effect of an order whose answer was lost.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at whether what an order waits for has come to be.
const LOOK: Duration = Duration::from_millis(100);

impl Handle {
    /// Has the leader hand over to the voter of this name, or to the most advanced one; gives who leads then.
    pub async fn transfer(
        &self,
        to: Option<String>,
        within: Duration,
    ) -> Result<String, OrderError> {
        let order = Order {
            transfer: to.unwrap_or_default(),
            ..Order::default()
        };
        self.carry_out(order, within).await
    }

    /// Gives these followers a vote and takes it from these voters, all in one step, once the newcomers have caught up;
    /// gives the number of the membership. It is done when that membership has decided something.
    pub async fn change_members(
        &self,
        add: Vec<String>,
        remove: Vec<String>,
        within: Duration,
    ) -> Result<String, OrderError> {
        let order = Order {
            add,
            remove,
            ..Order::default()
        };
        self.carry_out(order, within).await
    }

    /// Carries out what another node passed on.
    pub(super) async fn obey(&self, order: Order) -> Body {
        let (request, within) = (order.request, Duration::from_millis(order.within));
        let verdict = self.carry_out(order, within.min(LONGEST)).await.into();
        Body::Ordered(Ordered {
            request,
            verdict: Some(verdict),
        })
    }

    /// Hands over if this node leads and others can; else it is no loss. For a node that is about to stop.
    pub async fn hand_over(&self, within: Duration) {
        let leads = self.0.standing.borrow().role == Role::Leader;
        if leads && self.0.group().members.len() > 1 {
            match self.0.transfer(None, Instant::now() + within).await {
                Ok(leader) => tracing::info!(%leader, "handed over"),
                Err(error) => tracing::warn!("not handed over: {error}"),
            }
        }
    }

    async fn carry_out(&self, order: Order, within: Duration) -> Fulfilled {
        let deadline = Instant::now() + within;
        let mut standing = self.0.standing.subscribe();
        loop {
            let not_taken = |why| OrderError::NotTaken { why };
            match self.leader(&mut standing).map_err(not_taken)? {
                Leader::Here if order.add.is_empty() && order.remove.is_empty() => {
                    let to = Some(order.transfer).filter(|name| !name.is_empty());
                    return self.0.transfer(to, deadline).await;
                }
                Leader::Here => return self.change(order, deadline).await,
                Leader::At(peer) => {
                    let done = self.pass_on(peer, order.clone(), deadline).await;
                    return match done {
                        Err(OrderError::Unknown { why }) => self.look_up(&order, why).await,
                        done => done,
                    };
                }
                Leader::Nobody if self.pause(&mut standing, deadline).await => {}
                Leader::Nobody => return Err(not_taken(self.leaderless())),
            }
        }
    }

    /// The connection that an order was passed on by may end with the order itself: a follower that comes to vote
    /// leaves its voter. Then what has become of it is seen here.
    async fn look_up(&self, order: &Order, why: String) -> Fulfilled {
        let deadline = Instant::now() + SEEN_WITHIN;
        let done = |group: &Group| {
            let votes = |name: &String| group.members.iter().any(|member| member.name == *name);
            order.add.iter().all(votes) && !order.remove.iter().any(votes)
        };
        let change = !order.add.is_empty() || !order.remove.is_empty();
        let mut group = self.0.group_changes();
        let seen = timeout_at(deadline, group.wait_for(|group| change && done(group))).await;
        let seen = seen.is_ok_and(|group| group.is_ok());
        match self.read_slot(deadline).await {
            Ok(_) if seen => Ok(self.0.group().epoch.to_string()),
            _ => Err(OrderError::Unknown { why }),
        }
    }

    /// Passes an order on, with the time that is left.
    async fn pass_on(&self, peer: NodeId, order: Order, deadline: Instant) -> Fulfilled {
        let (reply, receiver) = oneshot::channel();
        let request = self.0.calls.begin(peer, Reply::Order(reply));
        let left = deadline.saturating_duration_since(Instant::now());
        let order = Order {
            request,
            within: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            ..order
        };
        if !self.0.links.send(peer, Body::Order(order)) {
            self.0.calls.forget(peer, request);
            let why = "the leader cannot be reached".to_owned();
            return Err(OrderError::NotTaken { why });
        }
        let answer = timeout_at(deadline + LOOK, receiver).await;
        self.0.calls.forget(peer, request);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => unknown("the leader was lost before it answered"),
            Err(_) => unknown("the leader has not answered in time"),
        }
    }

    /// Changes who votes, as the leader. One that is to leave hands over first, and the next leader does it.
    async fn change(&self, order: Order, deadline: Instant) -> Fulfilled {
        let group = self.0.group();
        let own = group.own().map(|own| own.name.clone()).unwrap_or_default();
        let nodes = self.nodes();
        let stays = nodes.iter().find(|node| {
            let votes = node.id.is_some() && node.name != own;
            votes && !order.remove.contains(&node.name) && is_well(node)
        });
        if let Some(stays) = stays.filter(|_| order.remove.contains(&own)) {
            self.0.transfer(Some(stays.name.clone()), deadline).await?;
            // It is told of the new leader a moment before all others here are.
            let mut standing = self.0.standing.subscribe();
            let another = |now: &Standing| now.leader.is_some_and(|it| it.0 != group.me);
            let seen = timeout_at(deadline, standing.wait_for(another)).await;
            let leader = seen.ok().and_then(|seen| seen.ok()?.leader);
            return match leader {
                Some(leader) => Box::pin(self.pass_on(leader, order, deadline)).await,
                None => refused("it was to hand over first, and nobody leads yet"),
            };
        }
        // One change an epoch, and only by a leader that knows all that came before.
        let ready = self.read_slot(deadline).await;
        ready.map_err(|error| OrderError::NotTaken {
            why: error.why().to_owned(),
        })?;
        let epoch = self.0.standing.borrow().ballot.epoch;
        if let Some(why) = self.0.group().contradiction(&order.add, &order.remove) {
            return refused(why);
        }
        let newcomers = self.caught_up(&order, deadline).await?;
        let details = group.change(&newcomers, &order.remove);
        let details = details.or_else(refused)?;
        self.becomes_safe(&details, deadline).await?;
        let (reply, receiver) = oneshot::channel();
        let seal = details.seal();
        let offered = self.0.offer(Event::Seal { epoch, seal, reply });
        offered.or_else(|_| unknown("the leader's replica has ended"))?;
        match timeout_at(deadline, receiver).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(why))) => return refused(why),
            Ok(Err(_)) => return unknown("the leader's replica has ended"),
            Err(_) => return unknown("no majority has agreed in time"),
        }
        // Whatever a read must see in the new membership was decided by it, its first entry before all.
        match self.read_slot(deadline).await {
            Ok(_) => Ok(epoch.next().0.to_string()),
            Err(_) => unknown("the new voters are known, and have decided nothing yet"),
        }
    }

    /// Waits until every newcomer follows, has caught up and can be called; or says of which that is not so.
    async fn caught_up(
        &self,
        order: &Order,
        deadline: Instant,
    ) -> Result<Vec<Newcomer>, OrderError> {
        let mut newcomers = Vec::new();
        for name in &order.add {
            let newcomer = look_until(deadline, || self.newcomer(name));
            newcomers.push(newcomer.await?);
        }
        Ok(newcomers)
    }

    async fn newcomer(&self, name: &str) -> Result<Newcomer, String> {
        let group = self.0.group();
        if group.members.iter().any(|member| member.name == *name) {
            return Err(format!("`{name}` has a vote already"));
        }
        let followers = self.0.reports.followers.all().into_iter();
        let mut named = followers.filter(|(_, follower)| follower.name == *name);
        let Some((instance, follower)) = named.next() else {
            return Err(format!(
                "`{name}` does not follow this cluster; start it with --join and an empty data directory"
            ));
        };
        let lag = self.0.applied.borrow().saturating_sub(follower.report.slot);
        if follower.at.elapsed() > SILENT {
            let ago = follower.at.elapsed().as_secs();
            return Err(format!("`{name}` was last heard {ago} s ago"));
        }
        if lag > MOST_LAG {
            return Err(format!("`{name}` is {lag} slots behind"));
        }
        let probed = self.0.probe(name, &follower.peer, &instance).await;
        probed.map_err(|why| {
            let address = &follower.peer;
            format!("`{name}` cannot be called at {address}, where it says that it listens: {why}")
        })?;
        Ok(Newcomer {
            name: name.to_owned(),
            instance,
            address: follower.peer,
        })
    }

    /// A sealed epoch has no way back: a majority of the next voters must be well now. Of one that has just come to its
    /// vote, or to this leader, the first report may still be on its way.
    async fn becomes_safe(&self, details: &Details, deadline: Instant) -> Result<(), OrderError> {
        let patience = deadline.min(Instant::now() + SILENT);
        look_until(patience, || ready(self.is_safe(details))).await
    }

    fn is_safe(&self, details: &Details) -> Result<(), String> {
        let nodes = self.nodes();
        let well = |member: &&Member| {
            let known = nodes.iter().find(|node| node.id == Some(NodeId(member.id)));
            // Whoever is not known by its number yet is a newcomer, and has just been called.
            known.is_none_or(is_well)
        };
        let (count, well) = (
            details.members.len(),
            details.members.iter().filter(well).count(),
        );
        if well > count / 2 {
            return Ok(());
        }
        Err(format!(
            "only {well} of the {count} next voters can be reached, and no majority could undo it; \
             replace the dead ones in the same step"
        ))
    }
}

fn is_well(node: &NodeReport) -> bool {
    node.failed.is_none() && node.heard.is_some_and(|ago| ago <= SILENT)
}

/// What `look` finds as soon as it finds it; refused with its last reason once there is no time for another look.
async fn look_until<T, F: Future<Output = Result<T, String>>>(
    patience: Instant,
    look: impl Fn() -> F,
) -> Result<T, OrderError> {
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(_) if Instant::now() + LOOK < patience => tokio::time::sleep(LOOK).await,
            Err(why) => return refused(why),
        }
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, OrderError> {
    Err(OrderError::Refused { why: why.into() })
}

fn unknown<T>(why: &str) -> Result<T, OrderError> {
    Err(OrderError::Unknown {
        why: why.to_owned(),
    })
}

impl Shared {
    /// Hands over, as the leader.
    pub(super) async fn transfer(&self, to: Option<String>, deadline: Instant) -> Fulfilled {
        let group = self.group();
        let target = match to.as_ref() {
            None => None,
            Some(name) => match group.members.iter().find(|member| member.name == *name) {
                Some(member) => Some(NodeId(member.id)),
                None => return refused(format!("`{name}` is no voter of this cluster")),
            },
        };
        let leads = self.standing.borrow().role == Role::Leader;
        if let (Some(name), true) = (to, leads && target == Some(NodeId(group.me))) {
            return Ok(name);
        }
        let (reply, receiver) = oneshot::channel();
        let offered = self.offer(Event::Transfer { to: target, reply });
        offered.or_else(|_| unknown("the leader's replica has ended"))?;
        match timeout_at(deadline, receiver).await {
            Ok(Ok(Ok(leader))) => {
                let name = group.member(leader).map(|member| member.name.clone());
                Ok(name.unwrap_or_else(|| leader.to_string()))
            }
            Ok(Ok(Err(why))) => refused(why),
            Ok(Err(_)) => unknown("the leader's replica has ended"),
            Err(_) => unknown("nobody has taken over yet"),
        }
    }
}

/// In words, for whoever ordered it.
pub(super) fn failure(reason: TransferFailure) -> &'static str {
    match reason {
        TransferFailure::NotLeader { .. } => "the node asked does not lead",
        TransferFailure::NoVoter => "the one named is no voter of this cluster",
        TransferFailure::Alone => "no other voter can be reached",
        TransferFailure::TimedOut => "nobody took over in time; the leader has gone on",
    }
}

/// The same of a change of who votes.
pub(super) fn refusal(reason: SealRefusal) -> &'static str {
    match reason {
        SealRefusal::NotLeader { .. } => "the node asked does not lead",
        SealRefusal::NotReady => "the leader is not ready yet; try again",
        SealRefusal::Busy => "another change is on its way, or leadership is being handed over",
        SealRefusal::OtherEpoch => "who votes has changed meanwhile; look again",
    }
}

impl From<Fulfilled> for Verdict {
    fn from(done: Fulfilled) -> Self {
        match done {
            Ok(leader) => Self::Done(leader),
            Err(OrderError::Refused { why }) => Self::Refused(why),
            Err(OrderError::NotTaken { why }) => Self::NotTaken(why),
            Err(OrderError::Unknown { why }) => Self::Unknown(why),
        }
    }
}

/// What a peer says became of an order.
pub(super) fn fulfilled(verdict: Option<Verdict>) -> Fulfilled {
    Err(match verdict {
        Some(Verdict::Done(leader)) => return Ok(leader),
        Some(Verdict::Refused(why)) => OrderError::Refused { why },
        Some(Verdict::NotTaken(why)) => OrderError::NotTaken { why },
        Some(Verdict::Unknown(why)) => OrderError::Unknown { why },
        None => OrderError::Unknown {
            why: "the leader answered what this build does not know".to_owned(),
        },
    })
}
