//! What a peer's frames come to: messages for the core, questions to this node as leader, answers to its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Semaphore;

use super::calls::Attempt;
use super::codec;
use super::frame::{Body, Fate, Forward, KeepAlive, Read, ReadAnswer};
use super::keeper;
use super::leader::TOO_LARGE;
use super::proposer::{Forwarder, Proposer};
use super::shared::{Event, Shared};
use super::{Handle, orders};
use crate::paxos::NodeId;
use crate::state::{Outcome, Proposal, SessionId};

/// Questions of one connection that may wait at once.
const MAX_QUESTIONS: usize = 4096;

/// The receiving end of one connection.
pub(super) struct Server {
    shared: Arc<Shared>,
    peer: NodeId,
    /// Of the connection.
    number: u64,
    questions: Arc<Semaphore>,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>, peer: NodeId, number: u64) -> Self {
        Self {
            shared,
            peer,
            number,
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
        }
    }

    /// Takes one frame. It never waits; an error means that the peer cannot be understood.
    pub(super) fn take(&self, body: Body) -> io::Result<()> {
        let (shared, peer) = (&self.shared, self.peer);
        match body {
            Body::Paxos(bytes) => {
                let message = codec::decode(bytes).map_err(io::Error::other)?;
                if shared
                    .offer(Event::Message {
                        from: peer,
                        message,
                    })
                    .is_err()
                {
                    // As if lost on the way: the core sends again.
                    shared.counters.dropped.fetch_add(1, Relaxed);
                }
            }
            Body::Forward(Forward { request, command }) => {
                // One beyond the bound stays unanswered, as any question does.
                if let Ok(permit) = self.questions.clone().try_acquire_owned() {
                    let asked = (peer, self.number);
                    let forwarder = Forwarder::new(shared.clone(), asked, request, permit);
                    match Proposal::read(command) {
                        Ok(proposal) => shared.propose_for(Proposer::Peer(forwarder), &proposal),
                        Err(error) => forwarder.tell(Fate::NotProposed(error.to_string())),
                    }
                }
            }
            Body::Read(Read { request }) => {
                let shared = shared.clone();
                self.question(async move {
                    Body::ReadAnswer(ReadAnswer {
                        request,
                        slot: shared.read().await,
                    })
                });
            }
            Body::Order(order) => {
                let handle = Handle(shared.clone());
                self.question(async move { handle.obey(order).await });
            }
            Body::Ordered(answer) => {
                let fulfilled = orders::fulfilled(answer.verdict);
                shared.calls.ordered(peer, answer.request, fulfilled);
            }
            Body::KeepAlive(KeepAlive { request, sessions }) => {
                let shared = shared.clone();
                self.question(async move {
                    let sessions: Vec<SessionId> = sessions.into_iter().map(SessionId).collect();
                    let lives = shared.keep_alive(&sessions).await;
                    Body::KeptAlive(keeper::told(request, lives))
                });
            }
            Body::KeptAlive(told) => shared.calls.kept(peer, told),
            Body::Answer(answer) => {
                shared
                    .calls
                    .answered(peer, answer.request, answer.fate.into());
            }
            Body::ReadAnswer(answer) => shared.calls.read(peer, answer.request, answer.slot),
            Body::Report(report) => {
                let applied = *shared.applied.borrow();
                shared.reports.heard(peer, report, applied);
            }
            Body::Followers(told) => {
                let applied = *shared.applied.borrow();
                if shared.reports.followers.heard(told, applied) {
                    shared.reports.bump();
                }
            }
            Body::Hello(_) | Body::Refusal(_) => {}
            // Said only between a follower and its voter, on a connection of their own.
            Body::Fetch(_) | Body::Offer(_) | Body::Piece(_) => {}
            Body::Follow(_) | Body::Welcome(_) | Body::Entries(_) | Body::Beat(_) => {}
            Body::Ask(_) | Body::Nodes(_) | Body::Leave(_) => {}
        }
        Ok(())
    }

    /// Answers in a task of its own, which ends at the latest with the driver: that drops all replies. A question
    /// beyond the bound stays unanswered, and whoever asked gives up in time.
    fn question(&self, answer: impl Future<Output = Body> + Send + 'static) {
        let (shared, peer, number) = (self.shared.clone(), self.peer, self.number);
        let Ok(permit) = self.questions.clone().try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            shared.links.answer(peer, number, answer.await);
            drop(permit);
        });
    }
}

impl From<Attempt> for Fate {
    fn from(attempt: Attempt) -> Self {
        match attempt {
            Attempt::Applied(outcome) => Self::Applied(outcome.encode()),
            Attempt::NotProposed(why) => Self::NotProposed(why),
            Attempt::TooLarge => Self::NotProposed(TOO_LARGE.to_owned()),
            Attempt::Unknown(why) => Self::Unknown(why),
        }
    }
}

impl From<Option<Fate>> for Attempt {
    fn from(fate: Option<Fate>) -> Self {
        match fate {
            Some(Fate::Applied(outcome)) => match Outcome::decode(&outcome) {
                Ok(outcome) => Self::Applied(outcome),
                Err(error) => Self::Unknown(error.to_string()),
            },
            Some(Fate::NotProposed(why)) => Self::NotProposed(why),
            Some(Fate::Unknown(why)) => Self::Unknown(why),
            None => Self::Unknown("the leader answered what this build does not know".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::group::Group;
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::*;
    use crate::paxos::{Ballot, Epoch, Recovered};

    #[tokio::test]
    async fn an_answer_goes_only_to_the_connection_that_asked() {
        let group = Group::alone("n1", [1; 16], [2; 16]);
        let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
        let shared = Arc::new(Shared::new(group, standing(&recovered), Reports::new(None)));
        let peer = NodeId(2);
        let first = shared.links.open(peer, |_| ());
        let server = Server::new(shared.clone(), peer, first.number);
        server
            .take(Body::Read(Read { request: 1 }))
            .expect("a read");
        tokio::task::yield_now().await;
        // The peer's process ends, and its next one asks its own first question.
        let mut second = shared.links.open(peer, |_| ());
        for event in shared.inbox.take(Some(Instant::now())) {
            let Event::Read { reply } = event else {
                panic!("only one question was asked");
            };
            reply.send(Some(7)).expect("it is waited for");
        }
        tokio::task::yield_now().await;
        shared.links.send(peer, Body::Read(Read { request: 9 }));
        let mut frames = Vec::new();
        second.take(&mut frames).await;
        assert_eq!(frames.len(), 1, "another process got the answer");
    }
}
