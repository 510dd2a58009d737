//! The commands this node proposed as leader and whose answers are waited for, in the order proposed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::calls::Attempt;
use super::proposer::Proposer;
use crate::paxos::ProposalId;
use crate::state::Outcome;

/// In one leadership commands are decided in the order they were proposed in, so the first one is the next.
#[derive(Default)]
pub(super) struct Proposals(VecDeque<Proposal>);

struct Proposal {
    id: ProposalId,
    command: Bytes,
    proposer: Proposer,
    since: Instant,
}

impl Proposals {
    /// How many are waited for.
    pub(super) fn open(&self) -> usize {
        self.0.len()
    }

    /// A command is handed to the core.
    pub(super) fn begin(&mut self, id: ProposalId, command: Bytes, proposer: Proposer) {
        self.0.push_back(Proposal {
            id,
            command,
            proposer,
            since: Instant::now(),
        });
    }

    /// The core did not take it.
    pub(super) fn refuse(&mut self, id: ProposalId, why: &str) {
        if let Ok(at) = self.0.binary_search_by_key(&id, |proposal| proposal.id)
            && let Some(proposal) = self.0.remove(at)
        {
            proposal.proposer.tell(Attempt::NotProposed(why.to_owned()));
        }
    }

    /// A command was decided and applied. If it is one that is waited for: how long it took.
    ///
    /// What an earlier leadership proposed comes first and is no match, unless it is the same command to the letter:
    /// then its outcome is the same too.
    pub(super) fn decide(&mut self, command: &Bytes, outcome: Outcome) -> Option<Duration> {
        let proposal = self
            .0
            .pop_front_if(|proposal| proposal.command == *command)?;
        let took = proposal.since.elapsed();
        proposal.proposer.tell(Attempt::Applied(outcome));
        Some(took)
    }

    /// The leadership has ended: all of these may or may not come to be decided.
    pub(super) fn lose(&mut self, why: &str) {
        for proposal in self.0.drain(..) {
            proposal.proposer.tell(Attempt::Unknown(why.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn begin(proposals: &mut Proposals, id: u64) -> oneshot::Receiver<Attempt> {
        let (reply, receiver) = oneshot::channel();
        let proposer = Proposer::Here(reply);
        proposals.begin(ProposalId(id), Bytes::from(vec![id as u8]), proposer);
        receiver
    }

    #[test]
    fn each_proposal_gets_its_own_fate() {
        let mut proposals = Proposals::default();
        let mut replies = [1, 2, 3].map(|id| begin(&mut proposals, id));
        proposals.refuse(ProposalId(2), "busy");
        assert!(
            proposals
                .decide(&Bytes::from_static(&[9]), Outcome::KeyReused)
                .is_none()
        );
        assert!(
            proposals
                .decide(&Bytes::from_static(&[1]), Outcome::KeyExpired)
                .is_some()
        );
        proposals.lose("gone");
        let fates = replies.each_mut().map(|reply| reply.try_recv());
        let expected = [
            Attempt::Applied(Outcome::KeyExpired),
            Attempt::NotProposed("busy".to_owned()),
            Attempt::Unknown("gone".to_owned()),
        ];
        assert_eq!(fates, expected.map(Ok));
    }
}
