//! A request as routes see it: with the header fields that a backend would be told too.

use std::ops::ControlFlow;

use super::connection::Client;
use crate::routing::{Asked, Headers};
use crate::wire::field::Known;
use crate::wire::fields::Fields;
use crate::wire::head::RequestHead;

/// The fields of a request. What only a trusted peer may claim is there only if it comes from one.
pub(crate) struct Believed<'a> {
    fields: &'a Fields,
    client: &'a Client,
}

impl<'a> Believed<'a> {
    pub(crate) fn of(request: &'a RequestHead, client: &'a Client) -> Self {
        Self {
            fields: request.fields(),
            client,
        }
    }
}

/// As [`believes`], of a field by its name.
pub(crate) fn believes_in(client: &Client, name: &str) -> bool {
    believes(client, Known::of(name.as_bytes()))
}

/// Whether what `client` says in such a field is taken for true, as far as this proxy can tell.
fn believes(client: &Client, known: Known) -> bool {
    match known {
        Known::Imposter | Known::FalseFraming => false,
        Known::ClientCert
        | Known::Forwarded
        | Known::XForwarded
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedProto
        | Known::XRealIp => client.listener.trusts(client.peer),
        _ => true,
    }
}

impl Headers for Believed<'_> {
    fn each<'a>(&'a self, see: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>) {
        let fields = self.fields.iter();
        let mut believed =
            fields.filter(|field| !field.skipped && believes(self.client, field.known));
        // Stopped is stopped.
        let _ = believed.try_for_each(|field| see(field.name, field.value));
    }
}

/// What decides where `request` goes.
pub(crate) fn asked<'a>(request: &'a RequestHead, fields: &'a Believed<'_>) -> Asked<'a> {
    Asked {
        method: request.method(),
        host: request.host(),
        path: request.path(),
        query: request.query(),
        headers: fields,
    }
}
