//! The world of one seed: the queue of events, the phases, and what drives a replica as `replication` does.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use synod::paxos::{Input, NodeId, Role, Slot};
use synod::replication::storage::Memory;

use crate::checkpoints::Draft;
use crate::clients::{Answer, Call, Client};
use crate::follower::{Follower, Happens};
use crate::links::Links;
use crate::locks::Grants;
use crate::mix::Mix;
use crate::node::{Arrived, Node};
use crate::oracle::Oracle;
use crate::sessions::Holder;
use crate::summary::Summary;
use crate::trace::{Trace, Traced};

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
    /// A process looks at what has come in.
    Handle {
        node: NodeId,
        boot: u64,
    },
    /// A write and its sync are through.
    Written {
        node: NodeId,
        boot: u64,
    },
    /// A checkpoint was written aside.
    Drafted {
        node: NodeId,
        boot: u64,
        draft: Draft,
    },
    /// A peer's checkpoint comes in.
    Fetched {
        node: NodeId,
        boot: u64,
        from: NodeId,
        start: Slot,
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
    /// A newcomer tries to come to its vote.
    Join(NodeId),
    Resume(NodeId),
    /// A disk is well again.
    Mend(NodeId),
    Heal,
    /// An operator has this voter lead again.
    HandBack(NodeId),
    Chaos,
    /// Whoever leads is cut off.
    Strand,
    Follower(Happens),
    /// A holder of a session begins, or asks again.
    Holder {
        holder: usize,
        nth: u64,
    },
    /// A holder of a session begins with a lock, or asks again.
    Claim {
        holder: usize,
        nth: u64,
    },
    /// What was due is proposed.
    Expire {
        node: NodeId,
        boot: u64,
        input: Input,
    },
    /// A voter looks at what is due.
    Look {
        node: NodeId,
        boot: u64,
    },
}

/// So many messages to a voter are remembered.
const HEARD: usize = 40;

pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) mix: Mix,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) follower: Follower,
    pub(crate) links: Links,
    pub(crate) clients: Vec<Client>,
    pub(crate) holders: Vec<Holder>,
    pub(crate) grants: Grants,
    /// Counts what was proposed in bursts.
    pub(crate) bursts: u64,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    /// Whom clients may ask; all unless faults have stopped on some.
    pub(crate) reachable: Vec<NodeId>,
    pub(crate) summary: Summary,
}

impl World {
    pub(crate) fn new(seed: u64, traced: Traced) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mix = Mix::draw(&mut rng);
        let nodes: Vec<Node> = (1..=mix.voters)
            .map(|id| {
                let memory = Memory::new(rng.random());
                Node::new(NodeId(id), memory, &mix, &mut rng)
            })
            .collect();
        let clients = (0..mix.clients)
            .map(|_| Client::new(&mut rng, &mix))
            .collect();
        let holders = (0..mix.holders).map(|_| Holder::default()).collect();
        let mut world = World {
            oracle: Oracle::new(mix.first_members()),
            follower: Follower::new(rng.random()),
            reachable: nodes.iter().map(|node| node.id).collect(),
            rng,
            mix,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes,
            links: Links::default(),
            clients,
            holders,
            grants: Grants::default(),
            bursts: 0,
            trace: Trace::new(traced),
            summary: Summary::default(),
        };
        let mix = world.mix.clone();
        world.note(format_args!("seed {seed}: {mix:?}"));
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
                    self.note(format_args!("{from} to {to} {}", Sum(&message)));
                    let heard = &mut self.node(to).heard;
                    heard.push_back((from, message.clone()));
                    if heard.len() > HEARD {
                        heard.pop_front();
                    }
                    self.overhears(from, to, &message);
                    let message =
                        synod::replication::codec::decode(message).expect("it was encoded");
                    self.trace
                        .show(self.now, format_args!("    {from} to {to} {message:?}"));
                    self.arrives(to, Arrived::Input(Input::Message { from, message }));
                }
            }
            Event::Notice { node, peer } => self.notice(node, peer),
            Event::Wake { node, boot } => self.wake(node, boot),
            Event::Handle { node, boot } => self.looks(node, boot),
            Event::Written { node, boot } => self.written(node, boot),
            Event::Drafted { node, boot, draft } => self.drafted(node, boot, draft),
            Event::Fetched {
                node,
                boot,
                from,
                start,
            } => self.fetched(node, boot, from, start),
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
            Event::Join(node) => self.join(node),
            Event::Resume(node) => self.resume(node),
            Event::Mend(node) => {
                let sync = self.mix.sync;
                let it = self.node(node);
                it.sync = if it.spared { it.sync } else { sync };
                self.node(node).memory.limit(None);
            }
            Event::Heal => {
                self.links.mend(None);
                self.links_changed();
            }
            Event::HandBack(node) => self.hand_back(node),
            Event::Chaos => self.strike(),
            Event::Strand => self.strand(),
            Event::Follower(what) => self.happens(what),
            Event::Holder { holder, nth } => self.hold(holder, nth),
            Event::Claim { holder, nth } => self.claim(holder, nth),
            Event::Expire { node, boot, input } => {
                if self.node(node).boot == boot {
                    self.arrives(node, Arrived::Input(input));
                }
            }
            Event::Look { node, boot } => self.look(node, boot),
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
        if role == Role::Leader {
            self.is_told_again(node);
        }
    }
}

/// A message in the trace: summed up only where the trace is wanted.
struct Sum<'a>(&'a Bytes);

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", crc32c::crc32c(self.0))
    }
}
