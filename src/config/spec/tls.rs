//! Reads how a pool speaks TLS to its backends.
//!
//! What is in a PEM text is looked at when the config is compiled, before it is proposed: here, where every node must
//! judge alike for ever, only its form is.

use std::net::IpAddr;

use serde_json::Value;

use super::object::{Object, shown};
use crate::config::address::is_host_name;
use crate::config::fault::{Faults, Pointer};
use crate::config::tls::Yes;
use crate::config::{Authority, BackendTls, Name, TlsVersion, Trust, limits};

const TLS: &[&str] = &[
    "ca",
    "server_name",
    "names",
    "certificate",
    "min_version",
    "insecure",
];
const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

const CA: &str = "\"system\", a name out of the nodes' settings, or PEM text that begins with `-----BEGIN CERTIFICATE-----`";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Reads it as far as it can be read.
pub(super) fn read_tls(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<BackendTls> {
    let object = Object::read(value, at, TLS, faults)?;
    let host = |text: &str, at: &Pointer<'_>, faults: &mut Faults| {
        if !is_host_name(text) && text.parse::<IpAddr>().is_err() {
            let shown = shown(&Value::from(text));
            let expected = "must be a host name or an IP address, such as \"api.internal\"";
            faults.add(at, format!("{expected}, not {shown}"));
        }
        text.to_owned()
    };
    let server_name = object.get("server_name").and_then(|_| {
        let text = object.text("server_name", "a host name", faults)?;
        Some(host(text, &at.field("server_name"), faults))
    });
    let list = at.field("names");
    let mut names = Vec::new();
    let listed = object.list("names", limits::EXPECTED_NAMES, faults);
    for (i, value) in listed.iter().enumerate() {
        match value {
            Value::String(text) => names.push(host(text, &list.index(i), faults)),
            other => {
                let detail = format!("must be a host name, not {}", shown(other));
                faults.add(&list.index(i), detail);
            }
        }
    }
    let certificate = object
        .get("certificate")
        .and_then(|_| object.name("certificate", faults));
    Some(BackendTls {
        trust: read_trust(&object, at, faults),
        server_name,
        names,
        certificate,
        min_version: object.choice("min_version", &VERSIONS, faults),
    })
}

fn read_trust(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Trust {
    let insecure = object.boolean("insecure", faults) == Some(true);
    for checks in ["ca", "names"] {
        if insecure && object.get(checks).is_some() {
            let detail = "contradicts `insecure`, with which any certificate is taken";
            faults.add(&at.field(checks), detail);
        }
    }
    if insecure {
        return Trust::Insecure(Yes);
    }
    let text = object.get("ca").and_then(|_| object.text("ca", CA, faults));
    Trust::Ca(text.map_or(Authority::System, |text| {
        read_authority(text, &at.field("ca"), faults)
    }))
}

fn read_authority(text: &str, at: &Pointer<'_>, faults: &mut Faults) -> Authority {
    if text == Authority::SYSTEM {
        return Authority::System;
    }
    if let Ok(name) = Name::new(text) {
        return Authority::Named(name);
    }
    if text.len() > limits::AUTHORITY_BYTES {
        let most = limits::AUTHORITY_BYTES;
        faults.add(at, format!("must have at most {most} bytes"));
    } else if text.contains("PRIVATE KEY-----") {
        let detail = "holds a private key, which everybody could read here; give certificates alone, \
                      and keep the key where it is safe";
        faults.add(at, detail);
    } else if !text.contains(BEGIN) {
        faults.add(at, format!("must be {CA}"));
    }
    Authority::Pem(text.to_owned())
}
