//! Removes, sets and adds header fields.

use crate::config::policy::Edits;
use crate::wire::fields::Fields;

/// Edits the fields received of a request. What a backend like CGI, which takes `_` for `-`, would read as a field that
/// is removed or set goes too.
pub(super) fn edit_request(fields: &mut Fields, edits: &Edits) {
    edit(fields, edits, Fields::remove_alike);
}

/// Edits the fields received of an answer.
pub(super) fn edit_answer(fields: &mut Fields, edits: &Edits) {
    edit(fields, edits, Fields::remove);
}

fn edit(fields: &mut Fields, edits: &Edits, remove: impl Fn(&mut Fields, &str)) {
    edits.remove.iter().for_each(|name| remove(fields, name));
    edits.set.keys().for_each(|name| remove(fields, name));
    for (name, value) in edits.set.iter().chain(&edits.add) {
        // What the config takes is a valid field.
        let _ = fields.append(name, value.as_bytes());
    }
}
