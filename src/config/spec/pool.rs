//! Reads pools and backends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::balance::read_balance;
use super::capacity::read_capacity;
use super::health::read_health;
use super::object::Object;
use super::outlier::read_outlier;
use super::sticky::read_sticky;
use super::tls::read_tls;
use crate::config::address::EXPECTED;
use crate::config::fault::{Faults, Pointer};
use crate::config::{
    Address, Backend, Name, Outlier, Pool, PoolTimeouts, Protocol, ProxyProtocol, Retries, State,
    limits,
};

const POOL: &[&str] = &[
    "name",
    "balance",
    "hash",
    "bounded_load",
    "backends",
    "timeouts",
    "retries",
    "proxy_protocol",
    "tls",
    "protocol",
    "health",
    "outlier",
    "slow_start",
    "limits",
    "sticky",
];
const BACKEND: &[&str] = &["id", "address", "weight", "state", "backup"];
const TIMEOUTS: &[&str] = &[
    "connect",
    "response_headers",
    "stream_idle",
    "idle",
    "tunnel_idle",
];
const RETRIES: &[&str] = &["attempts", "budget_percent", "budget_min_per_second"];
const PROXY_PROTOCOLS: [(&str, ProxyProtocol); 2] =
    [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
const PROTOCOLS: [(&str, Protocol); 2] = [("http1", Protocol::Http1), ("http2", Protocol::Http2)];
const STATES: [(&str, State); 3] = [
    ("ready", State::Ready),
    ("drain", State::Drain),
    ("maint", State::Maint),
];

/// Reads a pool as far as it can be read; `None` if it has no name.
pub(in crate::config) fn read_pool(
    value: &Value,
    at: &Pointer<'_>,
    name: Option<&Name>,
    faults: &mut Faults,
) -> Option<Pool> {
    let object = Object::read(value, at, POOL, faults)?;
    let name = object.own_name("name", name, faults);
    let (balance, hash, bounded_load) = read_balance(&object, at, faults);
    let backends = read_backends(&object, at, faults);
    let timeouts = object
        .get("timeouts")
        .map_or_else(PoolTimeouts::default, |value| {
            read_timeouts(value, &at.field("timeouts"), faults)
        });
    let retries = object
        .get("retries")
        .map_or_else(Retries::default, |value| {
            read_retries(value, &at.field("retries"), faults)
        });
    let proxy_protocol = object.get("proxy_protocol").and_then(|_| {
        let words = PROXY_PROTOCOLS.map(|(word, version)| (word, Some(version)));
        object.choice("proxy_protocol", &words, faults)
    });
    let tls = object
        .get("tls")
        .and_then(|value| read_tls(value, &at.field("tls"), faults));
    let protocol = object.choice("protocol", &PROTOCOLS, faults);
    let health = object
        .get("health")
        .and_then(|value| read_health(value, &at.field("health"), faults));
    let outlier = object
        .get("outlier")
        .map_or_else(Outlier::default, |value| {
            read_outlier(value, &at.field("outlier"), faults)
        });
    let slow_start = object
        .get("slow_start")
        .map(|_| object.duration("slow_start", Duration::ZERO, faults));
    let limits = object
        .get("limits")
        .map(|value| read_capacity(value, &at.field("limits"), faults));
    if protocol == Protocol::Http2
        && limits
            .as_ref()
            .is_some_and(|limits| limits.connections.is_some())
    {
        let place = at.field("limits");
        let detail = "is for HTTP/1.1: over HTTP/2 requests share connections; limit `requests`";
        faults.add(&place.field("connections"), detail);
    }
    let sticky = object
        .get("sticky")
        .and_then(|value| read_sticky(value, name.as_ref(), &at.field("sticky"), faults));
    Some(Pool {
        name: name?,
        balance,
        hash,
        bounded_load,
        backends,
        timeouts,
        retries,
        proxy_protocol,
        tls,
        protocol,
        health,
        outlier,
        slow_start,
        limits,
        sticky,
    })
}

fn read_backends(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<Backend> {
    let list = at.field("backends");
    let mut first_of: BTreeMap<Name, usize> = BTreeMap::new();
    let values = object.list("backends", limits::BACKENDS_PER_POOL, faults);
    let mut backends = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        let Some(backend) = read_backend(value, &list.index(i), None, faults) else {
            continue;
        };
        match first_of.get(&backend.id) {
            Some(first) => {
                let detail = format!("must be unique in the pool; element {} has it too", first);
                faults.add(&list.index(i).field("id"), detail);
            }
            None => {
                first_of.insert(backend.id.clone(), i);
                backends.push(backend);
            }
        }
    }
    backends
}

/// Reads a backend as far as it can be read; `None` if it has no id or address.
pub(in crate::config) fn read_backend(
    value: &Value,
    at: &Pointer<'_>,
    id: Option<&Name>,
    faults: &mut Faults,
) -> Option<Backend> {
    let object = Object::read(value, at, BACKEND, faults)?;
    let id = object.own_name("id", id, faults);
    let address = read_address(&object, &at.field("address"), faults);
    let weight = object.integer("weight", 0..=limits::WEIGHT.into(), 1, faults);
    let state = object.choice("state", &STATES, faults);
    let backup = object.integer("backup", 0..=limits::BACKUP.into(), 0, faults);
    Some(Backend {
        id: id?,
        address: address?,
        weight: weight.try_into().unwrap_or(limits::WEIGHT),
        state,
        backup: backup.try_into().unwrap_or(limits::BACKUP),
    })
}

fn read_address(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<Address> {
    let text = object.text("address", EXPECTED, faults)?;
    let bad = match text.parse() {
        Ok(address) => return Some(address),
        Err(bad) => bad,
    };
    let shown = super::object::shown(&Value::from(text));
    faults.add(at, format!("{bad}, not {shown}"));
    None
}

fn read_timeouts(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> PoolTimeouts {
    let default = PoolTimeouts::default();
    let Some(object) = Object::read(value, at, TIMEOUTS, faults) else {
        return default;
    };
    PoolTimeouts {
        connect: object.duration("connect", default.connect, faults),
        response_headers: object.duration("response_headers", default.response_headers, faults),
        stream_idle: object.duration("stream_idle", default.stream_idle, faults),
        idle: object.duration("idle", default.idle, faults),
        tunnel_idle: object.duration("tunnel_idle", default.tunnel_idle, faults),
    }
}

fn read_retries(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Retries {
    let default = Retries::default();
    let Some(object) = Object::read(value, at, RETRIES, faults) else {
        return default;
    };
    let mut integer = |field, least: u32, most: u32, default: u32| {
        let number = object.integer(field, least.into()..=most.into(), default.into(), faults);
        u32::try_from(number).unwrap_or(default)
    };
    Retries {
        attempts: integer("attempts", 1, limits::ATTEMPTS, default.attempts),
        budget_percent: integer("budget_percent", 0, 100, default.budget_percent),
        budget_min_per_second: integer(
            "budget_min_per_second",
            0,
            limits::BUDGET_MIN_PER_SECOND,
            default.budget_min_per_second,
        ),
    }
}
