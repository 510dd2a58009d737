//! Reads pools and backends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::health::read_health;
use super::object::{Fields, Object};
use crate::config::fault::{Faults, Pointer};
use crate::config::{Address, Backend, Balance, Name, Pool, PoolTimeouts, Retries, State, limits};

const POOL: Fields = Fields {
    known: &[
        "name", "balance", "backends", "timeouts", "retries", "health",
    ],
    planned: &[
        "tls",
        "sticky",
        "limits",
        "outlier",
        "slow_start",
        "protocol",
    ],
};
const BACKEND: Fields = Fields {
    known: &["id", "address", "weight", "state"],
    planned: &["backup", "tls", "max_connections"],
};
const TIMEOUTS: Fields = Fields {
    known: &["connect", "response_headers", "stream_idle", "idle"],
    planned: &["tunnel_idle"],
};
const RETRIES: Fields = Fields {
    known: &["attempts", "budget_percent", "budget_min_per_second"],
    planned: &["backoff"],
};
const BALANCES: [(&str, Balance); 2] = [
    ("round_robin", Balance::RoundRobin),
    ("least_connections", Balance::LeastConnections),
];
const PLANNED_BALANCES: &[&str] = &["power_of_two", "ewma", "maglev", "random"];
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
    let object = Object::read(value, at, &POOL, faults)?;
    let name = object.own_name("name", name, faults);
    let balance = object.choice("balance", &BALANCES, PLANNED_BALANCES, faults);
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
    let health = object
        .get("health")
        .and_then(|value| read_health(value, &at.field("health"), faults));
    Some(Pool {
        name: name?,
        balance,
        backends,
        timeouts,
        retries,
        health,
    })
}

fn read_backends(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<Backend> {
    let list = at.field("backends");
    let mut first_of: BTreeMap<Name, usize> = BTreeMap::new();
    let mut backends = Vec::new();
    for (i, value) in object
        .list("backends", limits::BACKENDS_PER_POOL, faults)
        .iter()
        .enumerate()
    {
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
    let object = Object::read(value, at, &BACKEND, faults)?;
    let id = object.own_name("id", id, faults);
    let address = read_address(&object, &at.field("address"), faults);
    let weight = object.integer("weight", 0..=limits::WEIGHT.into(), 1, faults);
    let state = object.choice("state", &STATES, &[], faults);
    Some(Backend {
        id: id?,
        address: address?,
        weight: weight.try_into().unwrap_or(limits::WEIGHT),
        state,
    })
}

fn read_address(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<Address> {
    const EXPECTED: &str =
        "an IP address and port, such as \"10.0.0.7:8080\" or \"[2001:db8::7]:8080\"";
    let text = object.text("address", EXPECTED, faults)?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => return Some(Address::new(address)),
        Ok(_) => faults.add(at, "must have a port from 1 to 65535"),
        Err(_) => {
            let shown = super::object::shown(&Value::from(text));
            faults.add(
                at,
                format!("must be {EXPECTED}, not {shown}; host names are not supported yet"),
            );
        }
    }
    None
}

fn read_timeouts(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> PoolTimeouts {
    let default = PoolTimeouts::default();
    let Some(object) = Object::read(value, at, &TIMEOUTS, faults) else {
        return default;
    };
    PoolTimeouts {
        connect: object.duration("connect", default.connect, faults),
        response_headers: object.duration("response_headers", default.response_headers, faults),
        stream_idle: object.duration("stream_idle", default.stream_idle, faults),
        idle: object.duration("idle", default.idle, faults),
    }
}

fn read_retries(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Retries {
    let default = Retries::default();
    let Some(object) = Object::read(value, at, &RETRIES, faults) else {
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
