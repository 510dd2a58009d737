//! Changes of header fields on their way.

use std::collections::BTreeMap;

use serde::Serialize;

/// What becomes of the header fields of requests to backends, and of backends' answers. The proxy's own answers stay
/// as they are, and so do interim ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderEdits {
    /// Of requests.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub request: Edits,
    /// Of answers.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub response: Edits,
}

/// Edits, done in this order. No name is in it twice, whatever the case of its letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Edits {
    /// Every such field goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Every such field goes, and this one comes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// This one comes besides those there are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
}

impl Edits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
    /// Whether a field of this name, in any case, is edited.
    pub fn names(&self, name: &str) -> bool {
        let kept = self.set.keys().chain(self.add.keys());
        let mut all = self.remove.iter().chain(kept);
        all.any(|edited| edited.eq_ignore_ascii_case(name))
    }
}
