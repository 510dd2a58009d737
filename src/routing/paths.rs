//! The paths of one host: a tree by segment, walked once along the path of a request.
//!
//! An exact path wins over any regular expression, that over any prefix, a longer one over a shorter one. `/a` as a
//! prefix takes `/a`, `/a/` and `/a/b`, not `/ab`; `/a/` as a prefix is the same. A walk hashes each segment once and
//! ends where the tree does, so a path of nothing but slashes costs no more than any other. Where the conditions of all
//! routes of a path fail, the next shorter prefix is tried.
//!
//! A clone shares the tree, and a change copies what lies on its path alone.

use std::cmp::Reverse;
use std::mem;
use std::sync::Arc;

use super::asked::Asked;
use super::exchange::{Exchange, PathOf};
use super::hashed::Hashed;
use super::slot::Slot;
use super::snapshot::RouteEntry;
use super::steps::step;
use crate::config::Pattern;

/// Routes by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    root: Node,
    /// The longest first, then in the order of their text.
    patterns: Arc<Vec<(Pattern, Arc<Slot>)>>,
}

/// What stands for a path.
#[derive(Clone, Debug, Default)]
struct Node {
    exact: Option<Arc<Slot>>,
    prefix: Option<Arc<Slot>>,
    children: Hashed<Arc<Node>>,
}

impl Paths {
    /// Takes routes of one path out and puts others in.
    pub(super) fn exchange(&mut self, path: PathOf<'_>, exchange: &Exchange<'_>) {
        match path {
            PathOf::Exact(path) => {
                let slot = &mut self.root.at(&path).exact;
                *slot = Slot::after(slot.as_deref(), exchange);
                self.root.prune(&path);
            }
            PathOf::Prefix(path) => {
                let slot = &mut self.root.at(&path).prefix;
                *slot = Slot::after(slot.as_deref(), exchange);
                self.root.prune(&path);
            }
            PathOf::Regex(pattern) => self.exchange_pattern(pattern, exchange),
        }
    }

    fn exchange_pattern(&mut self, pattern: &Pattern, exchange: &Exchange<'_>) {
        let patterns = Arc::make_mut(&mut self.patterns);
        let order = |(known, _): &(Pattern, Arc<Slot>)| {
            pattern_order(known.as_str()).cmp(&pattern_order(pattern.as_str()))
        };
        let place = patterns.binary_search_by(order);
        let before = place.ok().map(|place| &*patterns[place].1);
        match (place, Slot::after(before, exchange)) {
            (Ok(place), Some(slot)) => patterns[place].1 = slot,
            (Ok(place), None) => drop(patterns.remove(place)),
            (Err(place), Some(slot)) => patterns.insert(place, (pattern.clone(), slot)),
            (Err(_), None) => {}
        }
    }

    /// Whether there is no route.
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty() && self.patterns.is_empty()
    }

    /// The route of a request for this host.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        let Walked { exact, prefix } = self.walk(asked.path);
        if let Some(route) = exact.and_then(|slot| slot.find(asked)) {
            return Some(route);
        }
        let route = self.find_pattern(asked);
        // Without a longest prefix there is no shorter one.
        route.or_else(|| prefix?.find(asked).or_else(|| self.find_shorter(asked)))
    }

    fn find_pattern(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        let mut fitting = self.patterns.iter().filter(|(pattern, _)| {
            step();
            pattern.fits(asked.path.as_bytes())
        });
        fitting.find_map(|(_, slot)| slot.find(asked))
    }

    fn walk(&self, path: &str) -> Walked<'_> {
        let mut node = &self.root;
        let mut prefix = node.prefix.as_deref();
        for segment in segments(path) {
            step();
            let Some(child) = node.children.get(segment) else {
                return Walked {
                    exact: None,
                    prefix,
                };
            };
            node = child;
            prefix = node.prefix.as_deref().or(prefix);
        }
        let exact = node.exact.as_deref();
        Walked { exact, prefix }
    }

    /// Of all prefixes of the path but the longest, the longest one first. Seldom asked for: a second walk is cheaper
    /// than to note them all in the first.
    fn find_shorter(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        let mut node = &self.root;
        let mut prefixes: Vec<&Slot> = node.prefix.as_deref().into_iter().collect();
        for segment in segments(asked.path) {
            step();
            let Some(child) = node.children.get(segment) else {
                break;
            };
            node = child;
            prefixes.extend(node.prefix.as_deref());
        }
        let shorter = prefixes.iter().rev().skip(1);
        shorter.map(|slot| slot.find(asked)).find_map(|found| found)
    }
}

/// What a walk along a path has met.
struct Walked<'a> {
    /// What stands for the whole of the path.
    exact: Option<&'a Slot>,
    /// The longest prefix.
    prefix: Option<&'a Slot>,
}

impl Node {
    /// The node of `path`, made if it is not there.
    fn at(&mut self, path: &str) -> &mut Self {
        segments(path).fold(self, |node, segment| {
            Arc::make_mut(node.children.get_or_default(segment))
        })
    }

    /// Cuts off what is left of `path` and leads to no route.
    fn prune(&mut self, path: &str) {
        // How many segments lead to the last node that is wanted for something else.
        let mut kept = 0;
        let mut node = &*self;
        for (depth, segment) in segments(path).enumerate() {
            if node.has_routes() || node.children.len() > 1 {
                kept = depth;
            }
            match node.children.get(segment) {
                Some(child) => node = child,
                None => return,
            }
        }
        if !node.is_empty() {
            return;
        }
        let mut left = segments(path);
        let last = left.by_ref().take(kept).fold(self, |node, segment| {
            Arc::make_mut(node.children.get_or_default(segment))
        });
        if let Some(segment) = left.next() {
            last.children.remove(segment);
        }
    }

    fn has_routes(&self) -> bool {
        self.exact.is_some() || self.prefix.is_some()
    }

    fn is_empty(&self) -> bool {
        !self.has_routes() && self.children.is_empty()
    }
}

impl Drop for Node {
    /// One after the other: of a tree as deep as paths may be, one inside the other would not fit on a stack.
    fn drop(&mut self) {
        if self.children.is_empty() {
            return;
        }
        let mut left = vec![mem::take(&mut self.children)];
        while let Some(children) = left.pop() {
            let nodes = children.into_unshared().filter_map(Arc::into_inner);
            left.extend(nodes.map(|mut node| mem::take(&mut node.children)));
        }
    }
}

/// `/` of a prefix, and `*`, have none: they stand for the root, and `*` is below no path but the prefix `/`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let below = path.strip_prefix('/');
    below.into_iter().flat_map(|below| below.split('/'))
}

/// Of two expressions that match a path, the smaller by this comes first.
pub(super) fn pattern_order(text: &str) -> (Reverse<usize>, &str) {
    (Reverse(text.len()), text)
}
