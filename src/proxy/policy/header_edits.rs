//! Removes, sets and adds header fields.

use crate::config::policy::Edits;
use crate::wire::fields::Fields;

/// Edits the fields received.
pub(super) fn edit(fields: &mut Fields, edits: &Edits) {
    edits.remove.iter().for_each(|name| fields.remove(name));
    edits.set.keys().for_each(|name| fields.remove(name));
    for (name, value) in edits.set.iter().chain(&edits.add) {
        // What the config takes is a valid field.
        let _ = fields.append(name, value.as_bytes());
    }
}
