//! What a peer's frames come to: messages for the core, questions to this node as leader, answers to its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Semaphore;

use super::calls::Attempt;
use super::codec;
use super::frame::{Answer, Body, Fate, Forward, Read, ReadAnswer};
use super::leader::TOO_LARGE;
use super::shared::{Event, Shared};
use crate::paxos::NodeId;
use crate::state::{Command, Outcome};

/// Questions of one connection that may wait at once.
const MAX_QUESTIONS: usize = 4096;

/// The receiving end of one connection.
pub(super) struct Server {
    shared: Arc<Shared>,
    peer: NodeId,
    questions: Arc<Semaphore>,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>, peer: NodeId) -> Self {
        Self {
            shared,
            peer,
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
                let shared = shared.clone();
                self.question(async move {
                    let fate = match Command::decode(&command) {
                        Ok(command) => shared.propose(command).await.map_or_else(
                            |_| Fate::Unknown("the leader's replica ended".to_owned()),
                            Fate::from,
                        ),
                        Err(error) => Fate::NotProposed(error.to_string()),
                    };
                    Body::Answer(Answer {
                        request,
                        fate: Some(fate),
                    })
                });
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
            Body::Hello(_) | Body::Refusal(_) => {}
        }
        Ok(())
    }

    /// Answers in a task of its own, which ends at the latest with the driver: that drops all replies. A question
    /// beyond the bound stays unanswered, and whoever asked gives up in time.
    fn question(&self, answer: impl Future<Output = Body> + Send + 'static) {
        let (shared, peer) = (self.shared.clone(), self.peer);
        let Ok(permit) = self.questions.clone().try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            shared.links.send(peer, answer.await);
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
            None => Self::Unknown("the leader answered what this release does not know".to_owned()),
        }
    }
}
