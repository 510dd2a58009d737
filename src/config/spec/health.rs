//! Reads the health checks of a pool.

use serde_json::Value;

use super::matches::is_method;
use super::object::{Object, shown};
use super::policy::read_check_headers;
use crate::config::fault::{Faults, Pointer};
use crate::config::{GrpcProbe, Health, HttpProbe, Probe, Statuses, limits};

const HEALTH: &[&str] = &[
    "http",
    "tcp",
    "grpc",
    "interval",
    "timeout",
    "rise",
    "fall",
    "panic_percent",
];
const HTTP: &[&str] = &["path", "method", "host", "headers", "status", "body"];
const TCP: &[&str] = &[];
const GRPC: &[&str] = &["service"];

/// Reads the checks as far as they can be read; `None` if it is not said what to ask.
pub(super) fn read_health(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Health> {
    let object = Object::read(value, at, HEALTH, faults)?;
    let probe = read_probe(&object, at, faults);
    // What was not read is a fault already; with any probe the rest is checked too.
    let default = Health::new(Probe::Tcp {});
    let interval = object.duration("interval", default.interval, faults);
    if interval < limits::SHORTEST_INTERVAL {
        faults.add(&at.field("interval"), "must be 100ms at least");
    }
    let timeout = object.duration("timeout", default.timeout, faults);
    if timeout > limits::LONGEST_CHECK {
        faults.add(&at.field("timeout"), "must be 1m at most");
    }
    let mut integer = |field, least: u32, most: u32, default: u32| {
        let number = object.integer(field, least.into()..=most.into(), default.into(), faults);
        u32::try_from(number).unwrap_or(default)
    };
    Some(Health {
        rise: integer("rise", 1, limits::CHECKS_IN_A_ROW, default.rise),
        fall: integer("fall", 1, limits::CHECKS_IN_A_ROW, default.fall),
        panic_percent: integer("panic_percent", 0, 100, default.panic_percent),
        probe: probe?,
        interval,
        timeout,
    })
}

fn read_probe(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<Probe> {
    const EXAMPLE: &str = "such as {\"http\": {\"path\": \"/healthz\"}}";
    let http = object
        .get("http")
        .map(|value| read_http(value, &at.field("http"), faults));
    let tcp = object
        .get("tcp")
        .map(|value| Object::read(value, &at.field("tcp"), TCP, faults).is_some());
    let grpc = object
        .get("grpc")
        .map(|value| read_grpc(value, &at.field("grpc"), faults));
    match (http, tcp, grpc) {
        (Some(http), None, None) => Some(Probe::Http(http?)),
        (None, Some(_), None) => Some(Probe::Tcp {}),
        (None, None, Some(grpc)) => Some(Probe::Grpc(grpc?)),
        (None, None, None) => {
            faults.add(at, format!("must have `http`, `tcp` or `grpc`, {EXAMPLE}"));
            None
        }
        _ => {
            faults.add(at, "must have one of `http`, `tcp` and `grpc`, not several");
            None
        }
    }
}

fn read_grpc(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<GrpcProbe> {
    let object = Object::read(value, at, GRPC, faults)?;
    let Some(value) = object.get("service") else {
        return Some(GrpcProbe::default());
    };
    let service = value.as_str().unwrap_or("\0");
    if service.len() > limits::SERVICE_BYTES || !service.bytes().all(|byte| byte.is_ascii_graphic())
    {
        let most = limits::SERVICE_BYTES;
        let expected = format!("must be the name of a service, up to {most} bytes");
        faults.add(
            &at.field("service"),
            format!("{expected}, not {}", shown(value)),
        );
    }
    Some(GrpcProbe {
        service: service.to_owned(),
    })
}

fn read_http(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<HttpProbe> {
    let object = Object::read(value, at, HTTP, faults)?;
    let path = object.text("path", "a path, such as \"/healthz\"", faults);
    if let Some(path) = path {
        check_path(path, &at.field("path"), faults);
    }
    let host = object.get("host").and_then(|_| {
        let host = object.text("host", "a host", faults)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || host.len() > limits::HOST_BYTES || !host.bytes().all(fits) {
            let detail = format!(
                "must be a host as in the Host field, up to {} bytes, not {}",
                limits::HOST_BYTES,
                shown(&Value::from(host))
            );
            faults.add(&at.field("host"), detail);
        }
        Some(host.to_owned())
    });
    let body = object.get("body").and_then(|_| {
        let body = object.text("body", "a text", faults)?;
        if body.is_empty() || body.len() > limits::PROBE_BODY_BYTES {
            let most = limits::PROBE_BODY_BYTES;
            let detail = format!("must have 1 to {most} bytes, not {}", body.len());
            faults.add(&at.field("body"), detail);
        }
        Some(body.to_owned())
    });
    let method = read_method(&object, &at.field("method"), faults);
    if method == "HEAD" && body.is_some() {
        faults.add(&at.field("body"), "is never there in an answer to HEAD");
    }
    let headers = read_check_headers(&object, &at.field("headers"), faults);
    let status = read_statuses(&object, Statuses::DEFAULT, &at.field("status"), faults);
    Some(HttpProbe {
        path: path?.to_owned(),
        method,
        host,
        headers,
        status,
        body,
    })
}

fn read_method(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> String {
    const EXPECTED: &str = "a method such as \"HEAD\", in capital letters as it is sent";
    let method = object
        .get("method")
        .and_then(|_| object.text("method", EXPECTED, faults));
    let method = method.unwrap_or("GET");
    if !is_method(method) || method == "CONNECT" {
        let shown = shown(&Value::from(method));
        faults.add(at, format!("must be {EXPECTED}, not {shown}"));
    }
    method.to_owned()
}

pub(super) fn check_path(path: &str, at: &Pointer<'_>, faults: &mut Faults) {
    let shown = shown(&Value::from(path));
    if !path.starts_with('/') {
        faults.add(at, format!("must begin with `/`, not {shown}"));
    } else if path.len() > limits::PATH_BYTES {
        let most = limits::PATH_BYTES;
        faults.add(at, format!("must have at most {most} bytes"));
    } else if !path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        let expected = "must be as on the wire, without spaces, `#` and what is not ASCII";
        faults.add(at, format!("{expected}, not {shown}"));
    }
}

/// One status or range, or a list of them.
pub(super) fn read_statuses(
    object: &Object<'_>,
    default: Statuses,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Vec<Statuses> {
    let elements = match object.get("status") {
        None => return vec![default],
        Some(Value::Array(elements)) => elements.as_slice(),
        Some(one) => {
            return read_range(one, at, faults).into_iter().collect();
        }
    };
    if !(1..=limits::STATUS_RANGES).contains(&elements.len()) {
        let most = limits::STATUS_RANGES;
        let detail = format!("must have 1 to {most} elements, not {}", elements.len());
        faults.add(at, detail);
        return Vec::new();
    }
    let elements = elements.iter().enumerate();
    elements
        .filter_map(|(i, value)| read_range(value, &at.index(i), faults))
        .collect()
}

fn read_range(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Statuses> {
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let range = match value {
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| u16::try_from(number).ok())
            .map(|one| (one, one)),
        Value::String(text) => match text.split_once('-') {
            Some((first, last)) => status(first).zip(status(last)),
            None => status(text).map(|one| (one, one)),
        },
        _ => None,
    };
    let fits = |(first, last): &(u16, u16)| 100 <= *first && first <= last && *last <= 599;
    let Some((first, last)) = range.filter(fits) else {
        let expected = "must be a status from 100 to 599 or a range of them, such as \"200-299\"";
        faults.add(at, format!("{expected}, not {}", shown(value)));
        return None;
    };
    Some(Statuses { first, last })
}
