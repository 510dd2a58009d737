//! Puts and patches: reads the spec an operation makes of a resource, and writes it into the draft.

use std::borrow::Cow;
use std::mem;

use serde::Serialize;
use serde_json::{Map, Value};

use super::apply::Effect;
use super::draft::Draft;
use super::merge::merge;
use super::policy::fill;
use super::spec::{read_backend, read_policy, read_pool, read_route, to_json};
use super::whole::write_config;
use super::{Name, Pointer, Policy, Pool, Rejection, ResourcePath, SharedPolicy};

/// How a value is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As the whole of the resource.
    Put,
    /// As an RFC 7396 patch of it.
    Patch,
}

impl Mode {
    /// The spec that `value` makes of `old`.
    fn resolve<'v, T: Serialize>(self, old: Option<&T>, value: &'v Value) -> Cow<'v, Value> {
        if self == Mode::Put {
            return Cow::Borrowed(value);
        }
        let mut merged = old.map_or_else(|| Value::Object(Map::new()), to_json);
        merge(&mut merged, value);
        Cow::Owned(merged)
    }
}

/// Puts or patches the resource at `path`, noting faults below `at`.
pub(super) fn write(
    draft: &mut Draft<'_>,
    path: &ResourcePath,
    value: &Value,
    mode: Mode,
    at: &Pointer<'_>,
) -> Result<Effect, Rejection> {
    match path {
        ResourcePath::Config => Ok(write_config(draft, value, mode, at)),
        ResourcePath::Pool(name) => Ok(write_pool(draft, name, value, mode, at)),
        ResourcePath::Backend(pool, id) => write_backend(draft, pool, id, value, mode, at),
        ResourcePath::Route(name) => Ok(write_route(draft, name, value, mode, at)),
        ResourcePath::Policy(name) => Ok(write_policy(draft, name, value, mode, at)),
    }
}

/// Puts or patches a pool. One that cannot be read is still there, so that routes to it are no faults of their own.
pub(super) fn write_pool(
    draft: &mut Draft<'_>,
    name: &Name,
    value: &Value,
    mode: Mode,
    at: &Pointer<'_>,
) -> Effect {
    let mut faults = mem::take(&mut draft.faults);
    let old = draft.pools.get(name);
    let pool = read_pool(&mode.resolve(old, value), at, Some(name), &mut faults);
    let effect = effect(old, pool.as_ref());
    let pool = pool
        .or_else(|| old.cloned())
        .unwrap_or_else(|| Pool::new(name.clone()));
    draft.faults = faults;
    draft.put_pool(pool);
    effect
}

/// Puts or patches a route.
pub(super) fn write_route(
    draft: &mut Draft<'_>,
    name: &Name,
    value: &Value,
    mode: Mode,
    at: &Pointer<'_>,
) -> Effect {
    let mut faults = mem::take(&mut draft.faults);
    let old = draft.routes.get(name);
    let known = old.and_then(|old| old.policy.as_deref());
    let value = with_secrets(mode.resolve(old, value), known);
    let route = read_route(&value, at, Some(name), &mut faults);
    let effect = effect(old, route.as_ref());
    draft.faults = faults;
    if let Some(route) = route {
        draft.put_route(route, at.to_string());
    }
    effect
}

/// Puts or patches a policy. One that cannot be read is still there, as with pools.
pub(super) fn write_policy(
    draft: &mut Draft<'_>,
    name: &Name,
    value: &Value,
    mode: Mode,
    at: &Pointer<'_>,
) -> Effect {
    let mut faults = mem::take(&mut draft.faults);
    let old = draft.policies.get(name);
    let value = with_secrets(mode.resolve(old, value), old.map(|old| &old.policy));
    let policy = read_policy(&value, at, Some(name), &mut faults);
    let effect = effect(old, policy.as_ref());
    let policy = policy
        .or_else(|| old.cloned())
        .unwrap_or_else(|| SharedPolicy::new(name.clone()));
    draft.faults = faults;
    draft.put_policy(policy, at.to_string());
    effect
}

/// The spec of a route or policy, with the secrets of `old` where it leaves them as they are.
pub(super) fn with_secrets<'v>(mut spec: Cow<'v, Value>, old: Option<&Policy>) -> Cow<'v, Value> {
    let auth = old.and_then(|old| old.basic_auth.as_deref());
    if let Some(auth) = auth
        && spec.get("basic_auth").is_some()
    {
        fill(spec.to_mut(), auth);
    }
    spec
}

/// Puts or patches a backend: in its place in the pool, or behind the others if it is new.
fn write_backend(
    draft: &mut Draft<'_>,
    pool: &Name,
    id: &Name,
    value: &Value,
    mode: Mode,
    at: &Pointer<'_>,
) -> Result<Effect, Rejection> {
    let mut faults = mem::take(&mut draft.faults);
    let Some(pool) = draft.pools.get_mut(pool) else {
        return Err(Rejection::NotFound(
            ResourcePath::Pool(pool.clone()).to_string(),
        ));
    };
    let old = pool.backends.iter_mut().find(|backend| backend.id == *id);
    let backend = read_backend(
        &mode.resolve(old.as_deref(), value),
        at,
        Some(id),
        &mut faults,
    );
    let effect = effect(old.as_deref(), backend.as_ref());
    match (old, backend) {
        (Some(old), Some(backend)) => *old = backend,
        (None, Some(backend)) => pool.backends.push(backend),
        (_, None) => {}
    }
    draft.faults = faults;
    Ok(effect)
}

fn effect<T: PartialEq>(old: Option<&T>, new: Option<&T>) -> Effect {
    match old {
        None => Effect::Created,
        Some(_) if old == new => Effect::Unchanged,
        Some(_) => Effect::Updated,
    }
}
