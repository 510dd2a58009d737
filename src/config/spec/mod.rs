//! What users write: reading it, with every fault at once, and writing it back in canonical form with every
//! default shown. What is written back is accepted as it is.

use serde::Serialize;
use serde_json::Value;

use super::{
    Backend, Config, Faults, Name, Operation, Pool, Rejection, ResourcePath, Revision, Route,
    Transaction,
};

/// Reads a pool. `name` is the one in the path; without it the body must have one.
pub fn parse_pool(value: &Value, name: Option<&Name>) -> Result<Pool, Faults> {
    let _ = value;
    name.map(|name| Pool::new(name.clone()))
        .ok_or_else(Faults::new)
}

/// Reads a backend. `id` is the one in the path; without it the body must have one.
pub fn parse_backend(value: &Value, id: Option<&Name>) -> Result<Backend, Faults> {
    let _ = (value, id);
    Err(Faults::new())
}

/// Reads a route, by itself: its pools need not be there. `name` as for a pool.
pub fn parse_route(value: &Value, name: Option<&Name>) -> Result<Route, Faults> {
    let _ = (value, name);
    Err(Faults::new())
}

/// Reads a whole config, references checked, at revision 1.
pub fn parse_config(value: &Value) -> Result<Config, Faults> {
    let put = Transaction::of(Operation::put(ResourcePath::Config, value.clone()));
    match Config::default()
        .apply(Revision(1), &put)
        .map_err(Rejection::of_single)
    {
        Ok(next) => Ok(next.config),
        Err(Rejection::Invalid(faults)) => Err(faults),
        Err(other) => Err(Faults::one("", other.to_string())),
    }
}

/// The canonical form of a pool, backend or route.
pub fn to_json<T: Serialize>(spec: &T) -> Value {
    serde_json::to_value(spec)
        .expect("specs serialise without fail: string keys, no floats, no failing Serialize")
}
