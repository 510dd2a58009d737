//! The world of one seed: the queue of events, the phases, and what drives a replica as `replication` does.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use synod::paxos::{Ballot, Epoch, Input, NodeId, Role};
use synod::replication::storage::Memory;

use crate::clients::{Answer, Call, Client};
use crate::links::Links;
use crate::mix::{Mix, SECOND};
use crate::node::{Arrived, Node};
use crate::oracle::Oracle;
use crate::summary::Summary;
use crate::trace::Trace;

/// Something that happens at a time.
pub(crate) enum Event {
    Deliver {
        from: NodeId,
        to: NodeId,
        message: Bytes,
    },
    /// A link may have come up or gone down: `node` notices.
    Notice {
        node: NodeId,
        peer: NodeId,
    },
    Wake {
        node: NodeId,
        boot: u64,
    },
    /// A write and its sync are through.
    Written {
        node: NodeId,
        boot: u64,
    },
    Call {
        node: NodeId,
        call: Call,
    },
    Answer {
        client: usize,
        nth: u64,
        from: NodeId,
        answer: Answer,
    },
    /// A client begins, or asks again.
    Client {
        client: usize,
        nth: u64,
        tries: u64,
    },
    Start(NodeId),
    Resume(NodeId),
    /// A disk is well again.
    Mend(NodeId),
    Heal,
    Chaos,
}

pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) mix: Mix,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Links,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    /// Whom clients may ask; all unless faults have stopped on some.
    pub(crate) reachable: Vec<NodeId>,
    pub(crate) summary: Summary,
}

impl World {
    pub(crate) fn new(seed: u64, printed: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mix = Mix::draw(&mut rng);
        let nodes: Vec<Node> = (1..=mix.voters)
            .map(|id| Node {
                id: NodeId(id),
                memory: Memory::new(rng.random()),
                boot: 0,
                founded: false,
                process: None,
                unsure: Vec::new(),
                paused: None,
                rate: if mix.skew {
                    rng.random_range(900..1100)
                } else {
                    1000
                },
                ahead: rng.random_range(0..SECOND),
                sync: mix.sync,
                connected: BTreeMap::new(),
                rotten: false,
                spared: false,
            })
            .collect();
        let clients = (0..mix.clients)
            .map(|_| Client::new(&mut rng, &mix))
            .collect();
        let mut world = World {
            oracle: Oracle::new(mix.voters, Ballot::initial(Epoch(0))),
            reachable: nodes.iter().map(|node| node.id).collect(),
            rng,
            mix,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes,
            links: Links::default(),
            clients,
            trace: Trace::new(printed),
            summary: Summary::default(),
        };
        world.note(format_args!("seed {seed}: {:?}", world.mix.clone()));
        world
    }

    /// The next event happens.
    pub(crate) fn step(&mut self) {
        let Some(((at, _), event)) = self.queue.pop_first() else {
            panic!("nothing is left to happen")
        };
        self.now = at;
        match event {
            Event::Deliver { from, to, message } => {
                if self.links.carries(from, to) {
                    self.note(format_args!(
                        "{from} to {to} {:x}",
                        crc32c::crc32c(&message)
                    ));
                    let message =
                        synod::replication::codec::decode(message).expect("it was encoded");
                    self.trace
                        .show(self.now, format_args!("    {from} to {to} {message:?}"));
                    self.arrives(to, Arrived::Input(Input::Message { from, message }));
                }
            }
            Event::Notice { node, peer } => self.notice(node, peer),
            Event::Wake { node, boot } => self.wake(node, boot),
            Event::Written { node, boot } => self.written(node, boot),
            Event::Call { node, call } => {
                if self.node(node).is_up() {
                    self.arrives(node, Arrived::Call(call));
                } else {
                    self.answer(node, &call, Answer::Elsewhere(None));
                }
            }
            Event::Answer {
                client,
                nth,
                from,
                answer,
            } => self.answered(client, nth, from, answer),
            Event::Client { client, nth, tries } => self.ask(client, nth, tries),
            Event::Start(node) => self.start(node),
            Event::Resume(node) => self.resume(node),
            Event::Mend(node) => {
                let sync = self.mix.sync;
                self.node(node).sync = sync;
                self.node(node).memory.limit(None);
            }
            Event::Heal => {
                self.links.mend(None);
                self.links_changed();
            }
            Event::Chaos => self.strike(),
        }
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    pub(crate) fn note(&mut self, event: fmt::Arguments<'_>) {
        self.trace.note(self.now, event);
    }

    pub(crate) fn node(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node.0 as usize - 1]
    }

    pub(crate) fn role_changed(&mut self, node: NodeId, role: Role, leader: Option<NodeId>) {
        self.summary.leaderships += u64::from(role == Role::Leader);
        self.note(format_args!("{node} is {role:?}, leader {leader:?}"));
    }
}
