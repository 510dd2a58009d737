//! What a backend is asked for in place of what the client asked for.

use crate::config::PathMatch;
use crate::config::policy::Rewrite;
use crate::proxy::failure::Failure;
use crate::routing::target::{below, with_query};
use crate::wire::head::RequestHead;
use crate::wire::http1::MAX_TARGET;

/// Path and query for the backend; `None`: as they came. `*`, of OPTIONS, has no path and stays.
///
/// # Errors
/// When the new target is longer than any may be.
pub(super) fn target(
    rewrite: &Rewrite,
    matched: &PathMatch,
    request: &RequestHead,
) -> Result<Option<String>, Failure> {
    let Some(new) = &rewrite.path else {
        return Ok(None);
    };
    if request.path() == "*" {
        return Ok(None);
    }
    let path = below(request.path(), matched);
    let target = with_query(&new.of(&path, matched), request.query());
    if target.len() > MAX_TARGET {
        return Err(Failure::RewrittenTooLong);
    }
    Ok(Some(target))
}
