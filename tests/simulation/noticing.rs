//! How voters notice that a link to a peer came up or went down: late, or never.

use rand::RngExt;
use synod::paxos::{Input, NodeId};

use crate::mix::{MS, SECOND};
use crate::node::Arrived;
use crate::world::{Event, World};

impl World {
    /// What a voter ought to see of a peer: connected to that process of it, or not at all.
    fn ought(&self, node: NodeId, peer: NodeId) -> Option<u64> {
        let it = &self.nodes[peer.0 as usize - 1];
        (it.is_up() && self.links.connects(node, peer)).then_some(it.boot)
    }

    /// Links or processes have changed; those concerned notice sooner or later.
    pub(crate) fn links_changed(&mut self) {
        let all: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        for (node, peer) in all
            .iter()
            .flat_map(|a| all.iter().map(|b| (*a, *b)))
            .filter(|(a, b)| a != b)
        {
            let ought = self.ought(node, peer);
            let it = &self.nodes[node.0 as usize - 1];
            if !it.is_up() || it.connected.get(&peer).copied() == ought {
                continue;
            }
            let longest = match (ought, self.mix.noticed_within) {
                (Some(_), _) => 100 * MS,
                (None, Some(within)) => within,
                (None, None) if self.nodes[peer.0 as usize - 1].is_up() => continue,
                (None, None) => SECOND,
            };
            let delay = self.rng.random_range(100..longest);
            self.after(delay, Event::Notice { node, peer });
        }
    }

    pub(crate) fn notice(&mut self, node: NodeId, peer: NodeId) {
        let ought = self.ought(node, peer);
        let it = self.node(node);
        let seen = it.connected.get(&peer).copied();
        if !it.is_up() || seen == ought {
            return;
        }
        if seen.is_some() {
            it.connected.remove(&peer);
            self.note(format_args!("{node} loses {peer}"));
            self.arrives(node, Arrived::Input(Input::Disconnected(peer)));
        }
        if let Some(boot) = ought {
            self.node(node).connected.insert(peer, boot);
            self.note(format_args!("{node} meets {peer}"));
            self.arrives(node, Arrived::Input(Input::Connected(peer)));
        }
    }
}
