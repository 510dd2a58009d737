//! Reads who may use a route.

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::policy::Clients;
use crate::config::spec::object::{Object, shown};
use crate::config::{BadNetwork, Network, limits};

const CLIENTS: &[&str] = &["allow", "deny"];

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Clients> {
    let object = Object::read(value, at, CLIENTS, faults)?;
    let clients = Clients {
        allow: read_networks(&object, "allow", &at.field("allow"), faults),
        deny: read_networks(&object, "deny", &at.field("deny"), faults),
    };
    if CLIENTS.iter().all(|field| object.get(field).is_none()) {
        faults.add(at, "must have `allow`, `deny` or both");
    }
    // An empty list of who may, left from a longer one, must not let everybody in.
    if object
        .get("allow")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        let detail = "must name one network at least; leave it out to allow everybody";
        faults.add(&at.field("allow"), detail);
    }
    Some(clients)
}

fn read_networks(
    object: &Object<'_>,
    field: &str,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Vec<Network> {
    let mut networks = Vec::new();
    let list = object.list(field, limits::NETWORKS, faults);
    for (i, value) in list.iter().enumerate() {
        match value.as_str().map(str::parse) {
            Some(Ok(network)) => networks.push(network),
            _ => faults.add(&at.index(i), format!("{BadNetwork}, not {}", shown(value))),
        }
    }
    networks
}
