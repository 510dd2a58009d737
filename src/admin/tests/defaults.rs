//! What `/openapi.json` says is the default is what the config reads where nothing is said.

use serde_json::{Value, json};

use crate::admin::openapi;
use crate::config::spec::{parse_backend, parse_pool, parse_route};

/// A resource as it is read, or nothing if it is refused.
type Read = fn(&Value) -> Option<String>;

fn pool(value: &Value) -> Option<String> {
    parse_pool(value, None).ok().map(|pool| format!("{pool:?}"))
}

fn backend(value: &Value) -> Option<String> {
    let backend = parse_backend(value, None);
    backend.ok().map(|backend| format!("{backend:?}"))
}

fn route(value: &Value) -> Option<String> {
    parse_route(value, None)
        .ok()
        .map(|route| format!("{route:?}"))
}

/// Where defaults stand in the schemas, the smallest resource around each, and where it is in that.
fn places() -> Vec<(&'static str, Read, Value, &'static str)> {
    let mut places: Vec<(&str, Read, Value, &str)> = vec![
        ("/Pool", pool, json!({"name": "p"}), ""),
        ("/Pool", pool, json!({"name": "p", "balance": "maglev"}), ""),
        (
            "/Backend",
            backend,
            json!({"id": "b", "address": "127.0.0.1:1"}),
            "",
        ),
    ];
    for (schema, field, whole, at) in [
        ("/Pool/properties/timeouts", "timeouts", json!({}), ""),
        ("/Pool/properties/retries", "retries", json!({}), ""),
        ("/Pool/properties/sticky", "sticky", json!({}), ""),
        (
            "/Pool/properties/limits",
            "limits",
            json!({"requests": 1}),
            "",
        ),
        ("/Outlier", "outlier", json!({}), ""),
        ("/BackendTls", "tls", json!({}), ""),
        ("/Health", "health", json!({"tcp": {}}), ""),
        (
            "/Health/properties/http",
            "health",
            json!({"http": {"path": "/"}}),
            "/http",
        ),
        (
            "/Health/properties/grpc",
            "health",
            json!({"grpc": {}}),
            "/grpc",
        ),
    ] {
        let at = format!("/{field}{at}").leak();
        places.push((schema, pool, json!({"name": "p", field: whole}), at));
    }
    let user = json!({"name": "u", "password_sha256": "0".repeat(64)});
    for (schema, field, whole, at) in [
        ("fence", "fence", json!({"lock": "l"}), ""),
        (
            "cors",
            "cors",
            json!({"origins": ["https://a.example"]}),
            "",
        ),
        ("compress", "compress", json!({}), ""),
        ("forward_auth", "forward_auth", json!({"pool": "auth"}), ""),
        ("basic_auth", "basic_auth", json!({"users": [user]}), ""),
        (
            "error_pages/items",
            "error_pages",
            json!([{"body": "no"}]),
            "/0",
        ),
        ("mirror", "mirror", json!({"pool": "m"}), ""),
        (
            "fault_injection/properties/delay",
            "fault_injection",
            json!({"delay": {"for": "1s"}}),
            "/delay",
        ),
        (
            "fault_injection/properties/abort",
            "fault_injection",
            json!({"abort": {}}),
            "/abort",
        ),
        ("redirect", "redirect", json!({"scheme": "https"}), ""),
        ("retries", "retries", json!({}), ""),
        ("rate_limit", "rate_limit", json!({"requests": 1}), ""),
    ] {
        let schema = format!("/Route/properties/{schema}").leak();
        let at = format!("/{field}{at}").leak();
        let mut value = json!({"name": "r", "to": [{"pool": "p"}], field: whole});
        if field == "redirect" {
            value.as_object_mut().unwrap().remove("to");
        }
        places.push((schema, route, value, at));
    }
    places
}

/// The pointers of all defaults below `value`, which is at `at`.
fn defaults(value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else {
        return;
    };
    if object.contains_key("default") && !at.ends_with("/properties") {
        found.push(at.to_owned());
    }
    for (key, value) in object {
        defaults(value, &format!("{at}/{key}"), found);
    }
}

#[test]
fn what_the_description_says_is_the_default_is_what_is_read() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    let schemas = &document["components"]["schemas"];
    let mut left = Vec::new();
    defaults(schemas, "", &mut left);
    // A weight stands in other things, and a question is no resource.
    left.retain(|at| at != "/Weight" && !at.starts_with("/Question/"));
    assert!(left.len() > 50, "{left:?}");
    for (schema, read, whole, at) in places() {
        let unsaid = read(&whole).unwrap_or_else(|| panic!("{whole} is refused"));
        let prefix = format!("{schema}/properties/");
        left.retain(|place| {
            let Some(field) = place
                .strip_prefix(&prefix)
                .filter(|field| !field.contains('/'))
            else {
                return true;
            };
            let mut said = whole.clone();
            let default = schemas.pointer(place).unwrap()["default"].clone();
            said.pointer_mut(at).unwrap()[field] = default;
            let read = read(&said);
            // Where something else must be said with it, another place does.
            let other = read.is_none() || whole.pointer(at).unwrap().get(field).is_some();
            assert!(other || read.as_deref() == Some(&unsaid), "{place}: {said}");
            other
        });
    }
    assert_eq!(left, [""; 0]);
}
