//! What users write: reading it, with every fault at once, and writing it back in canonical form with every
//! default shown. What is written back is accepted as it is.
//!
//! Reading goes on after a fault, with the default in the place of what was wrong, so that whatever depends on the
//! rest is checked too; the result counts only if there was none.

mod balance;
mod capacity;
mod health;
mod matches;
mod nearest;
mod object;
mod outlier;
mod policy;
mod pool;
mod route;
mod sticky;
#[cfg(test)]
mod tests;
mod tls;
mod transaction;

use serde::Serialize;
use serde_json::Value;

pub(in crate::config) use nearest::nearest;
pub(in crate::config) use object::{Object, kind};
pub(in crate::config) use policy::read_policy;
pub(in crate::config) use pool::{read_backend, read_pool};
pub(in crate::config) use route::read_route;

use super::whole::faults_of_lists;
use super::{
    Backend, Config, Faults, Name, Operation, Pointer, Pool, Rejection, ResourcePath, Revision,
    Route, Transaction,
};

/// The pointer of a document itself.
pub(in crate::config) const WHOLE: Pointer<'static> = Pointer::Root("");

/// Reads a pool. `name` is the one in the path; without it the body must have one.
pub fn parse_pool(value: &Value, name: Option<&Name>) -> Result<Pool, Faults> {
    let mut faults = Faults::new();
    let pool = read_pool(value, &WHOLE, name, &mut faults);
    faults.or(pool)
}

/// Reads a backend. `id` is the one in the path; without it the body must have one.
pub fn parse_backend(value: &Value, id: Option<&Name>) -> Result<Backend, Faults> {
    let mut faults = Faults::new();
    let backend = read_backend(value, &WHOLE, id, &mut faults);
    faults.or(backend)
}

/// Reads a route, by itself: its pools need not be there. `name` as for a pool.
pub fn parse_route(value: &Value, name: Option<&Name>) -> Result<Route, Faults> {
    let mut faults = Faults::new();
    let route = read_route(value, &WHOLE, name, &mut faults);
    faults.or(route)
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

/// Looks for faults in the lists of a config file. What they refer to may be there already, and is not looked for.
pub fn check_lists(value: &Value) -> Result<(), Faults> {
    let nothing = Config::default();
    let faults = faults_of_lists(&nothing, value);
    faults.or(Some(()))
}

/// The canonical form of a pool, backend, route or policy.
pub fn to_json<T: Serialize>(spec: &T) -> Value {
    serde_json::to_value(spec)
        .expect("specs serialise without fail: string keys, no floats, no failing Serialize")
}
