//! Which feature level a transaction needs: a node of a build that knows less would refuse what others apply, and is
//! waited for (see [`LEVEL`](crate::state::LEVEL)).

use serde_json::Value;

use super::{Action, Operation, ResourcePath, Transaction};

/// What every build knows.
pub const FIRST_LEVEL: u32 = 1;

/// Policies that routes share; checks by a method and with headers.
pub const POLICIES: u32 = 2;

/// Routes that answer by themselves; when a pool without checks panics.
pub const RESPOND: u32 = 3;

impl Transaction {
    /// The feature level it needs.
    pub fn level(&self) -> u32 {
        let levels = self.operations.iter().map(of_operation);
        levels.max().unwrap_or(FIRST_LEVEL)
    }
}

fn of_operation(operation: &Operation) -> u32 {
    let (Action::Put(value) | Action::Patch(value)) = &operation.action else {
        return match operation.path {
            ResourcePath::Policy(_) => POLICIES,
            _ => FIRST_LEVEL,
        };
    };
    match operation.path {
        ResourcePath::Policy(_) => of_policy(value),
        ResourcePath::Route(_) => of_route(value),
        ResourcePath::Pool(_) => of_pool(value),
        ResourcePath::Backend(..) => FIRST_LEVEL,
        ResourcePath::Config => {
            let policies = each(value.get("policies")).map(of_policy);
            let routes = each(value.get("routes")).map(of_route);
            let pools = each(value.get("pools")).map(of_pool);
            let own = if value.get("policies").is_some() {
                POLICIES
            } else {
                FIRST_LEVEL
            };
            policies.chain(routes).chain(pools).fold(own, u32::max)
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

fn of_policy(spec: &Value) -> u32 {
    of_route(spec).max(POLICIES)
}

fn of_route(spec: &Value) -> u32 {
    needs(spec, &[("/respond", RESPOND), ("/policies", POLICIES)])
}

fn of_pool(spec: &Value) -> u32 {
    let fields = [
        ("/outlier/panic_percent", RESPOND),
        ("/health/http/method", POLICIES),
        ("/health/http/headers", POLICIES),
    ];
    needs(spec, &fields)
}

/// The level of the first of `fields` that is there.
fn needs(spec: &Value, fields: &[(&str, u32)]) -> u32 {
    let mut there = fields
        .iter()
        .filter(|(field, _)| spec.pointer(field).is_some());
    there.next().map_or(FIRST_LEVEL, |(_, level)| *level)
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
            (put("/policies/x", json!({"respond": {}})), 3),
            (put("/routes/r", json!({"policies": [], "respond": {}})), 3),
            (put("/pools/p", json!({"outlier": {"panic_percent": 0}})), 3),
            (
                put(
                    "/config",
                    json!({"policies": [], "routes": [{"respond": {}}]}),
                ),
                3,
            ),
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
