//! Whether a request shows the name and password of somebody who may use its route (RFC 7617).

use crate::config::policy::BasicAuth;
use crate::wire::fields::Field;
use crate::wire::head::RequestHead;

/// Whether its one Authorization field does.
pub(super) fn admits(auth: &BasicAuth, request: &RequestHead) -> bool {
    let named = |field: &Field<'_>| field.name.eq_ignore_ascii_case(b"authorization");
    let mut lines = request.fields().iter().filter(named);
    match (lines.next(), lines.next()) {
        (Some(only), None) => auth.admits(only.value),
        _ => false,
    }
}

/// What to ask for.
pub(super) fn challenge(auth: &BasicAuth) -> String {
    format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm)
}
