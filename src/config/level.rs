//! Which feature level a transaction needs: a node of a build that knows less would refuse what others apply, and is
//! waited for (see [`LEVEL`](crate::state::LEVEL)).

use serde_json::Value;

use super::{Action, Operation, ResourcePath, Transaction};

/// What every build knows.
pub const FIRST_LEVEL: u32 = 1;

/// Policies that routes share; checks by a method and with headers.
pub const POLICIES: u32 = 2;

impl Transaction {
    /// The feature level it needs.
    pub fn level(&self) -> u32 {
        match self.operations.iter().any(speaks_of_policies) {
            true => POLICIES,
            false => FIRST_LEVEL,
        }
    }
}

fn speaks_of_policies(operation: &Operation) -> bool {
    let (Action::Put(value) | Action::Patch(value)) = &operation.action else {
        return matches!(operation.path, ResourcePath::Policy(_));
    };
    match operation.path {
        ResourcePath::Policy(_) => true,
        ResourcePath::Route(_) => of_route(value),
        ResourcePath::Pool(_) => of_pool(value),
        ResourcePath::Backend(..) => false,
        ResourcePath::Config => {
            value.get("policies").is_some()
                || each(value.get("routes")).any(of_route)
                || each(value.get("pools")).any(of_pool)
        }
    }
}

/// The specs of a list, or the patches of an object.
fn each(specs: Option<&Value>) -> Box<dyn Iterator<Item = &Value> + '_> {
    match specs {
        Some(Value::Array(specs)) => Box::new(specs.iter()),
        Some(Value::Object(patches)) => Box::new(patches.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn of_route(spec: &Value) -> bool {
    spec.get("policies").is_some()
}

fn of_pool(spec: &Value) -> bool {
    let check = spec.pointer("/health/http");
    check.is_some_and(|check| check.get("method").or(check.get("headers")).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_lower_level_does_not_know_needs_the_higher_one() {
        let put = |path: &str, value: Value| json!([{"op": "put", "path": path, "value": value}]);
        let checked = |more: Value| json!({"name": "p", "health": {"http": more}});
        for (transaction, level) in [
            (put("/pools/p", checked(json!({"path": "/"}))), 1),
            (put("/pools/p", checked(json!({"headers": {}}))), 2),
            (put("/routes/r", json!({"to": []})), 1),
            (put("/routes/r", json!({"policies": []})), 2),
            (put("/policies/x", json!({})), 2),
            (json!([{"op": "delete", "path": "/policies/x"}]), 2),
            (put("/config", json!({"pools": [], "routes": []})), 1),
            (put("/config", json!({"policies": []})), 2),
            (put("/config", json!({"routes": [{"policies": ["x"]}]})), 2),
            (
                put(
                    "/config",
                    json!({"pools": {"p": checked(json!({"method": "HEAD"}))}}),
                ),
                2,
            ),
        ] {
            let read = Transaction::from_json(transaction.clone()).expect("well formed");
            assert_eq!(read.level(), level, "{transaction}");
        }
    }
}
