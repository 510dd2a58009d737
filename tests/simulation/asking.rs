//! How clients ask, are answered and ask again.

use rand::RngExt;
use synod::paxos::NodeId;

use crate::clients::{Answer, Call, NOBODY, PATIENCE, What};
use crate::mix::MS;
use crate::world::{Event, World};

/// After so many writes clients take their time: a long history makes every checkpoint a large one, and one seed in
/// thirty would take as long as all others together, for nothing that a shorter one does not show.
const MANY: u64 = 400;

impl World {
    /// Client `client` begins its next operation, or tries again.
    pub(crate) fn ask(&mut self, client: usize, nth: u64, tries: u64) {
        let floor = self.oracle.seen();
        let World {
            clients,
            rng,
            mix,
            reachable,
            ..
        } = self;
        let it = &mut clients[client];
        if it.nth != nth
            || it
                .operation
                .as_ref()
                .is_some_and(|operation| operation.tries != tries)
        {
            return;
        }
        if it.operation.is_none() {
            it.begin(client, rng, mix, reachable, floor);
        } else if tries > 0 && rng.random_bool(0.5) {
            it.target = reachable[rng.random_range(0..reachable.len())];
        }
        let (target, nth) = (it.target, it.nth);
        let Some(operation) = &mut it.operation else {
            return;
        };
        operation.tries += 1;
        let (what, tries) = (operation.what.clone(), operation.tries);
        let delay = rng.random_range(50..MS);
        self.after(
            delay,
            Event::Call {
                node: target,
                call: Call { client, nth, what },
            },
        );
        self.after(PATIENCE, Event::Client { client, nth, tries });
    }

    pub(crate) fn answer(&mut self, from: NodeId, call: &Call, answer: Answer) {
        if call.client == NOBODY {
            return;
        }
        let delay = self.rng.random_range(50..MS);
        self.after(
            delay,
            Event::Answer {
                client: call.client,
                nth: call.nth,
                from,
                answer,
            },
        );
    }

    pub(crate) fn answered(&mut self, client: usize, nth: u64, from: NodeId, answer: Answer) {
        if let Some(holder) = client.checked_sub(self.clients.len()) {
            return match holder.checked_sub(self.holders.len()) {
                Some(claimer) => self.claim_answered(claimer, nth, answer),
                None => self.holder_answered(client, nth, answer),
            };
        }
        let it = &mut self.clients[client];
        let Some(operation) = it.operation.as_ref().filter(|_| it.nth == nth) else {
            return;
        };
        let (floor, tries) = (operation.floor, operation.tries);
        match (answer, &operation.what) {
            (Answer::Elsewhere(leader), _) => {
                if let Some(leader) = leader.filter(|leader| *leader != from) {
                    it.target = leader;
                }
                let pause = self.rng.random_range(MS..100 * MS);
                return self.after(pause, Event::Client { client, nth, tries });
            }
            (Answer::Written(revision), What::Write { key, .. }) => {
                self.oracle.acknowledged(key, revision, floor);
                self.summary.writes += 1;
            }
            (Answer::Read { ready, applied }, What::Read) => {
                self.oracle.read(ready, applied, floor);
                self.summary.reads += 1;
            }
            (answer, what) => panic!("{what:?} was answered {answer:?}"),
        }
        it.operation = None;
        let think = match self.summary.writes < MANY {
            true => self.mix.think,
            false => self.mix.think.max(200 * MS),
        };
        let pause = self.rng.random_range(0..think);
        self.after(
            pause,
            Event::Client {
                client,
                nth,
                tries: 0,
            },
        );
    }
}
