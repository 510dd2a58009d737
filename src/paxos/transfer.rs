//! Handing leadership over while all are well: no silence, no election timeout.
//!
//! The leader proposes nothing more, brings the target to its last entry and tells it to stand without asking. Nothing
//! here is needed for safety: the target wins by promises like every candidate, and its log is as good as any. If it
//! does not win in time this leader goes on, with all that has waited meanwhile.

use super::leader::{Leader, Node};
use super::outbox::Outbox;
use super::progress::Progress;
use super::{Ballot, Message, NodeId, Options, Output, Round, Time, TransferFailure};
use crate::bugs::{Bug, broken};

/// A leadership on its way to another voter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    to: NodeId,
    /// When this leader goes on instead.
    until: Time,
    /// The newest round in which the target was told to stand: a lost word is said again in the next.
    told: Option<Round>,
}

impl Leader {
    /// Begins to hand over; a second request takes the place of the first.
    pub(super) fn transfer(&mut self, to: Option<NodeId>, node: &mut Node) {
        let others = self.voters();
        let heard = others
            .iter()
            .filter(|(_, voter)| voter.is_heard(node.now, node.options));
        let target = match to {
            Some(named) if others.contains_key(&named) => Ok(named),
            Some(_) => Err(TransferFailure::NoVoter),
            None => heard
                .max_by_key(|(_, voter)| voter.matched)
                .map(|(&voter, _)| voter)
                .ok_or(TransferFailure::Alone),
        };
        match target {
            Ok(to) => {
                let until = node.now + node.options.election_timeout;
                self.transfer = Some(Transfer {
                    to,
                    until,
                    told: None,
                });
            }
            Err(reason) => node.out.push(Output::TransferFailed { reason }),
        }
    }

    /// Tells the target to stand once it has all that was proposed here, and again in each round.
    pub(super) fn hand_over(&mut self, node: &mut Node) {
        let (ballot, round) = (self.ballot(), self.round());
        let Some(to) = self.transfer.as_ref().map(|transfer| transfer.to) else {
            return;
        };
        let whole = |voter: &Progress| voter.matched == node.acceptor.log().last();
        let whole = self.voters().get(&to).is_some_and(whole);
        if let Some(transfer) = &mut self.transfer
            && whole
            && transfer.told < Some(round)
        {
            transfer.told = Some(round);
            node.out.send(to, Message::Stand { ballot });
        }
    }

    /// Goes on leading when nobody has taken over in time.
    pub(super) fn resume(&mut self, now: Time, out: &mut Outbox) {
        if self
            .transfer
            .take_if(|transfer| transfer.until <= now && !broken(Bug::OpenRaft1747))
            .is_some()
        {
            let reason = TransferFailure::TimedOut;
            out.push(Output::TransferFailed { reason });
        }
    }

    /// Tells the most advanced voter in reach to stand, whatever it lacks: this leader is about to end, and what no
    /// majority has was not acknowledged.
    pub(super) fn abdicate(&self, now: Time, options: &Options, out: &mut Outbox) {
        let ballot: Ballot = self.ballot();
        let heard = self
            .voters()
            .iter()
            .filter(|(_, voter)| voter.is_heard(now, options));
        if let Some((&to, _)) = heard.max_by_key(|(_, voter)| voter.matched) {
            out.send(to, Message::Stand { ballot });
        }
    }
}
