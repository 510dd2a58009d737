//! Whether a request shows a token that its route's fence admits.

use super::failure::Failure;
use crate::backend::{Fence, Passage, fence_token};
use crate::routing::RouteEntry;
use crate::wire::fields::Field;
use crate::wire::head::RequestHead;

/// A request's way through the fence of its route; free where there is none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pass<'a>(Option<(&'a Fence, u64)>);

impl<'a> Pass<'a> {
    /// Reads the token that the route demands.
    pub(crate) fn of(route: &'a RouteEntry, request: &RequestHead) -> Result<Self, Failure> {
        let Some(fence) = &route.fence else {
            return Ok(Self(None));
        };
        let token = shown(request, &fence.header).and_then(fence_token);
        let pass = Self(Some((&fence.gate, token.ok_or(Failure::NoToken)?)));
        pass.check().map(|()| pass)
    }

    /// Whether it still holds: asked again behind the last await before a backend sees the first byte.
    pub(crate) fn check(self) -> Result<(), Failure> {
        match self.0.map(|(fence, token)| fence.passage(token)) {
            None | Some(Passage::Free) => Ok(()),
            Some(Passage::Old) => Err(Failure::OldToken),
            Some(Passage::Unknown) => Err(Failure::UnknownToken),
            Some(Passage::Unsure) => Err(Failure::UnsureOfToken),
        }
    }
}

/// The value of the field, if the backend sees the same one: it stands once, and goes on.
fn shown<'a>(request: &'a RequestHead, header: &str) -> Option<&'a [u8]> {
    let named = |field: &Field<'_>| field.name.eq_ignore_ascii_case(header.as_bytes());
    let mut lines = request.fields().iter().filter(named);
    match (lines.next(), lines.next()) {
        (Some(only), None) if !only.skipped => Some(only.value),
        _ => None,
    }
}
