//! What a route asks for besides host and path, judged one condition at a time. The table asks whether all hold, an
//! explanation which do not.

use std::ops::ControlFlow;

use super::asked::Asked;
use crate::config::{KeyMatch, Match, Wanted};

/// A condition that a request does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss<'a> {
    Method(&'a [String]),
    Header(&'a KeyMatch),
    Query(&'a KeyMatch),
}

/// Whether `asked` meets every condition.
pub(super) fn hold(matches: &Match, asked: &Asked<'_>) -> bool {
    misses(matches, asked).next().is_none()
}

/// The conditions that `asked` does not meet.
pub(super) fn misses<'a>(
    matches: &'a Match,
    asked: &'a Asked<'_>,
) -> impl Iterator<Item = Miss<'a>> {
    let methods = &matches.methods[..];
    let method = !methods.is_empty() && !methods.iter().any(|method| method == asked.method);
    let headers = matches.headers.iter();
    let query = matches.query.iter();
    method
        .then_some(Miss::Method(methods))
        .into_iter()
        .chain(
            headers
                .filter(|key| !header_fits(key, asked))
                .map(Miss::Header),
        )
        .chain(
            query
                .filter(|key| !parameter_fits(key, asked))
                .map(Miss::Query),
        )
}

fn header_fits(key: &KeyMatch, asked: &Asked<'_>) -> bool {
    let (mut there, mut fits) = (false, false);
    asked.each_header(&key.name, &mut |value| {
        there = true;
        fits = key.wanted.fits(value);
        // One line is enough; the others of an absent field are not looked at either.
        if fits || key.wanted == Wanted::Present(false) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    if there { fits } else { key.wanted.is_absence() }
}

fn parameter_fits(key: &KeyMatch, asked: &Asked<'_>) -> bool {
    match asked.parameter(&key.name) {
        Some(value) => key.wanted.fits(value.as_bytes()),
        None => key.wanted.is_absence(),
    }
}
