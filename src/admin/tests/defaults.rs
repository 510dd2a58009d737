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

/// Where defaults stand in the schemas, who reads the smallest resource around them, that, and where they are in it.
type Place = (&'static str, Read, Value, &'static str);

fn of_pools() -> Vec<Place> {
    let places = [
        ("/Pool", json!({}), ""),
        ("/Pool", json!({"balance": "maglev"}), ""),
        (
            "/Pool/properties/timeouts",
            json!({"timeouts": {}}),
            "/timeouts",
        ),
        (
            "/Pool/properties/retries",
            json!({"retries": {}}),
            "/retries",
        ),
        ("/Pool/properties/sticky", json!({"sticky": {}}), "/sticky"),
        (
            "/Pool/properties/limits",
            json!({"limits": {"requests": 1}}),
            "/limits",
        ),
        ("/Outlier", json!({"outlier": {}}), "/outlier"),
        ("/BackendTls", json!({"tls": {}}), "/tls"),
        ("/Health", json!({"health": {"tcp": {}}}), "/health"),
        (
            "/Health/properties/http",
            json!({"health": {"http": {"path": "/"}}}),
            "/health/http",
        ),
        (
            "/Health/properties/grpc",
            json!({"health": {"grpc": {}}}),
            "/health/grpc",
        ),
    ];
    let named = places.map(|(schema, mut whole, at)| {
        whole["name"] = json!("p");
        (schema, pool as Read, whole, at)
    });
    named.into()
}

fn of_routes() -> Vec<Place> {
    let user = json!({"name": "u", "password_sha256": "0".repeat(64)});
    let places = [
        ("fence", json!({"fence": {"lock": "l"}}), "/fence"),
        (
            "cors",
            json!({"cors": {"origins": ["https://a.example"]}}),
            "/cors",
        ),
        ("compress", json!({"compress": {}}), "/compress"),
        (
            "forward_auth",
            json!({"forward_auth": {"pool": "auth"}}),
            "/forward_auth",
        ),
        (
            "basic_auth",
            json!({"basic_auth": {"users": [user]}}),
            "/basic_auth",
        ),
        (
            "error_pages/items",
            json!({"error_pages": [{"body": "no"}]}),
            "/error_pages/0",
        ),
        ("mirror", json!({"mirror": {"pool": "m"}}), "/mirror"),
        (
            "fault_injection/properties/delay",
            json!({"fault_injection": {"delay": {"for": "1s"}}}),
            "/fault_injection/delay",
        ),
        (
            "fault_injection/properties/abort",
            json!({"fault_injection": {"abort": {}}}),
            "/fault_injection/abort",
        ),
        ("respond", json!({"respond": {}}), "/respond"),
        (
            "redirect",
            json!({"redirect": {"scheme": "https"}}),
            "/redirect",
        ),
        ("retries", json!({"retries": {}}), "/retries"),
        (
            "rate_limit",
            json!({"rate_limit": {"requests": 1}}),
            "/rate_limit",
        ),
    ];
    let named = places.map(|(schema, mut whole, at)| {
        whole["name"] = json!("r");
        if schema != "redirect" {
            whole["to"] = json!([{"pool": "p"}]);
        }
        (
            &*format!("/Route/properties/{schema}").leak(),
            route as Read,
            whole,
            at,
        )
    });
    named.into()
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
    let of_backends: Place = (
        "/Backend",
        backend,
        json!({"id": "b", "address": "127.0.0.1:1"}),
        "",
    );
    let places = of_pools()
        .into_iter()
        .chain(of_routes())
        .chain([of_backends]);
    for (schema, read, whole, at) in places {
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
