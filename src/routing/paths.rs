//! The paths of one host: a tree by segment, walked once along the path of a request.
//!
//! An exact path wins over any prefix, a longer prefix over a shorter one. `/a` as a prefix takes `/a`, `/a/` and
//! `/a/b`, not `/ab`; `/a/` as a prefix is the same. A walk hashes each segment once and ends where the tree does, so
//! a path of nothing but slashes costs no more than any other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::config::PathMatch;

/// A map whose keys come from the config. Requests only look things up, so they cannot make it degenerate, and the
/// hash can be a fast one.
pub(super) type FastMap<V> = HashMap<Box<str>, V, BuildHasherDefault<FastHasher>>;

/// Routes by path; a route is an index.
#[derive(Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    exact: Option<u32>,
    prefix: Option<u32>,
    children: FastMap<u32>,
}

impl Paths {
    /// Adds a route, unless one that was added before asks for the same: routes come in order of precedence.
    pub(super) fn add(&mut self, path: &PathMatch, route: u32) {
        match path {
            PathMatch::Exact(path) => {
                let node = self.node(path);
                self.nodes[node].exact.get_or_insert(route);
            }
            PathMatch::Prefix(path) => {
                let node = self.node(path.strip_suffix('/').unwrap_or(path));
                self.nodes[node].prefix.get_or_insert(route);
            }
        }
    }

    /// The route of `path`, which has no query.
    pub(super) fn find(&self, path: &str) -> Option<u32> {
        let mut node = &self.nodes[0];
        let mut best = node.prefix;
        // `*`, of OPTIONS, is below no path but the prefix `/`.
        let Some(below) = path.strip_prefix('/') else {
            return best;
        };
        for segment in below.split('/') {
            let Some(child) = node.children.get(segment) else {
                return best;
            };
            node = &self.nodes[*child as usize];
            best = node.prefix.or(best);
        }
        node.exact.or(best)
    }

    fn node(&mut self, path: &str) -> usize {
        let Some(below) = path.strip_prefix('/') else {
            return 0;
        };
        let mut at = 0;
        for segment in below.split('/') {
            at = match self.nodes[at].children.get(segment) {
                Some(child) => *child as usize,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.insert(segment.into(), child as u32);
                    child
                }
            };
        }
        at
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

/// Eight bytes a step by a folded multiplication. Only this process sees its values, so it needs not be one on all
/// nodes.
#[derive(Debug, Default)]
pub(super) struct FastHasher(u64);

impl FastHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0xf39c_c060_5ced_c835) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words
            .iter()
            .for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length with the last bytes: a zero at the end is not the same as none.
        self.mix(u64::from_le_bytes(last));
        self.mix(bytes.len() as u64 + 1);
    }

    /// The end mark of a string, of which there is one.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(path: &str) -> PathMatch {
        PathMatch::Prefix(path.to_owned())
    }

    #[test]
    fn exact_wins_then_the_longest_prefix_by_segment() {
        let mut paths = Paths::default();
        paths.add(&prefix("/"), 0);
        paths.add(&prefix("/a"), 1);
        paths.add(&prefix("/a/b/"), 2);
        paths.add(&PathMatch::Exact("/a/b".into()), 3);
        paths.add(&PathMatch::Exact("/".into()), 4);
        paths.add(&prefix("/a/"), 5);
        for (path, route) in [
            ("/", 4),
            ("/x", 0),
            ("//", 0),
            ("/ab", 0),
            ("/A", 0),
            ("*", 0),
            ("/a", 1),
            ("/a/", 1),
            ("/a//b", 1),
            ("/a/bc", 1),
            ("/a/b", 3),
            ("/a/b/", 2),
            ("/a/b/c/d", 2),
        ] {
            assert_eq!(paths.find(path), Some(route), "{path}");
        }
    }

    #[test]
    fn without_a_prefix_for_all_there_may_be_no_route() {
        let mut paths = Paths::default();
        paths.add(&prefix("/a"), 1);
        assert_eq!(paths.find("/b"), None);
        assert_eq!(paths.find("*"), None);
        assert_eq!(Paths::default().find("/"), None);
    }
}
