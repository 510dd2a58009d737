//! A leader is cut off with too few to go on, much to propose in its hands; it comes back, and may lead again.
//!
//! Cuts at random seldom come to it, and most of what systems like this one have lost was lost here. Why each part:
//!
//! - It is the *leader*, with fewer than a majority: those left behind elect another, whose log goes on from before
//!   what the first still proposes. Two logs that differ behind one slot are what the rules of phase 1 are about.
//! - A *burst at the cut*: the tail that nobody else holds is then longer than what the others come to agree on
//!   meanwhile. One that is shorter ends below their checkpoints, and whoever goes on from one of those drops it whole,
//!   whatever the code does; of a longer one there is something to be kept by mistake. (`OpenRaft559`)
//! - For a *short* while, a few election timeouts: long enough for another to lead and for checkpoints to be taken, too
//!   short for the others to outgrow the tail.
//! - *Companions*, among five voters: they accept the tail, and say so, but fall short of a majority. Among three the
//!   first of such votes makes one: what it is for is chosen, so counting it again later tells no lie.
//! - The lead is *handed back* to who had it. It leads by another ballot, and with another log in the same slots; now
//!   it is *told again* what the companions had said. Those votes were for the tail: here they mean nothing. A stray
//!   copy comes in just these moments once in a thousand seeds. (`LogCabin44`)

use std::collections::VecDeque;

use bytes::Bytes;
use rand::RngExt;
use rand::seq::SliceRandom;
use synod::paxos::NodeId;

use crate::mix::{MS, SECOND};
use crate::world::{Event, World};

/// So many messages of companions are remembered.
const TOLD: usize = 40;

/// What a leader was told by those that were cut off with it.
pub(crate) struct Stranded {
    companions: Vec<NodeId>,
    until: u64,
    told: VecDeque<(NodeId, Bytes)>,
}

impl World {
    /// Whoever leads is cut off with too few, for a short while; and so once more later.
    pub(crate) fn strand(&mut self) {
        let Some(every) = self.mix.strand_every.filter(|_| !self.mix.settles) else {
            return;
        };
        let all: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let ballot = |node: &NodeId| self.nodes[node.0 as usize - 1].ballot();
        let Some(leader) = self.leaders(&all).into_iter().max_by_key(ballot) else {
            return self.after(50 * MS, Event::Strand);
        };
        let timeout = self.mix.election_timeout.as_micros() as u64;
        let lasts = self.rng.random_range(2 * timeout..4 * timeout);
        let next = lasts + SECOND + self.rng.random_range(0..every);
        self.after(next, Event::Strand);
        let membership = self.process(leader).replica.membership().clone();
        let too_few = membership.voters.len() - membership.quorum();
        if too_few == 0 {
            return;
        }
        let mut companions: Vec<NodeId> = membership.voters.into_iter().collect();
        companions.retain(|voter| *voter != leader);
        companions.shuffle(&mut self.rng);
        let most = self.rng.random_bool(0.7);
        companions.truncate(if most { too_few - 1 } else { 0 });
        let mut stranded = companions.clone();
        stranded.push(leader);
        self.note(format_args!("{stranded:?} are cut off"));

        for other in all.iter().filter(|other| !stranded.contains(other)) {
            stranded.iter().for_each(|it| self.links.cut(*it, *other));
        }
        self.links_changed();
        self.after(lasts, Event::Heal);
        if self.rng.random_bool(0.7) {
            for _ in 0..2 {
                let soon = self.rng.random_range(50 * MS..SECOND);
                self.after(lasts + soon, Event::HandBack(leader));
            }
        }
        let until = self.now + lasts;
        self.node(leader).stranded = Some(Stranded {
            companions,
            until,
            told: VecDeque::new(),
        });
        let count = [30, 200, 200][self.rng.random_range(0..3)];
        self.burst(leader, count);
        self.probe(leader);
    }

    /// A message comes in; what companions say is remembered.
    pub(crate) fn overhears(&mut self, from: NodeId, to: NodeId, message: &Bytes) {
        let now = self.now;
        let Some(stranded) = &mut self.node(to).stranded else {
            return;
        };
        if now < stranded.until && stranded.companions.contains(&from) {
            stranded.told.push_back((from, message.clone()));
            if stranded.told.len() > TOLD {
                stranded.told.pop_front();
            }
        }
    }

    /// A voter comes to lead: soon it is told once more what it was told when it was cut off.
    pub(crate) fn is_told_again(&mut self, node: NodeId) {
        let now = self.now;
        let it = self.node(node);
        let over = it.stranded.take_if(|stranded| stranded.until < now);
        let Some(stranded) = over.filter(|_| !it.spared) else {
            return;
        };
        for (from, message) in stranded.told {
            let to = node;
            let delay = self.rng.random_range(100..100 * MS);
            self.after(delay, Event::Deliver { from, to, message });
        }
    }
}
