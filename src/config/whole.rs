//! Puts and patches of the whole config, `{"pools": [...], "routes": [...], "policies": [...]}`. A put replaces all
//! lists; one left out is empty. A patch leaves alone what it does not name; it names either a list, which replaces as
//! RFC 7396 has it, or an object from names to patches, in which `null` removes and a new name makes the resource from
//! the patch alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::apply::Effect;
use super::draft::Draft;
use super::spec::{Object, WHOLE, kind, read_policy, read_pool, read_route};
use super::write::{Mode, with_secrets, write_policy, write_pool, write_route};
use super::{Config, Faults, Name, Pointer, Revision, limits};

const CONFIG: &[&str] = &["pools", "routes", "policies"];

/// The lists of a config.
#[derive(Clone, Copy)]
enum Member {
    Pools,
    Routes,
    Policies,
}

impl Member {
    const ALL: [(&str, Self); 3] = [
        ("pools", Self::Pools),
        ("routes", Self::Routes),
        ("policies", Self::Policies),
    ];
}

/// Puts or patches the whole config, noting faults below `at`.
pub(super) fn write_config(
    draft: &mut Draft<'_>,
    value: &Value,
    mode: Mode,
    at: &Pointer<'_>,
) -> Effect {
    if let Some(object) = Object::read(value, at, CONFIG, &mut draft.faults) {
        for (field, member) in Member::ALL {
            let place = at.field(field);
            match (object.get(field), mode) {
                (None, Mode::Patch) => {}
                (Some(Value::Object(patches)), Mode::Patch) => {
                    patch_each(draft, member, patches, &place)
                }
                (None, Mode::Put) | (Some(Value::Null), Mode::Patch) => {
                    replace(draft, member, &[], &place)
                }
                (Some(Value::Array(specs)), _) => replace(draft, member, specs, &place),
                (Some(other), Mode::Put) => {
                    draft
                        .faults
                        .add(&place, format!("must be an array, not {}", kind(other)));
                }
                (Some(other), Mode::Patch) => {
                    let detail = format!(
                        "must be an object from names to patches, or an array, not {}",
                        kind(other)
                    );
                    draft.faults.add(&place, detail);
                }
            }
        }
    }
    if draft.differs() {
        Effect::Updated
    } else {
        Effect::Unchanged
    }
}

/// What is wrong with a put of the whole config by itself, without what it refers to.
pub(super) fn faults_of_lists(base: &Config, value: &Value) -> Faults {
    let mut draft = Draft::new(base, Revision(1));
    write_config(&mut draft, value, Mode::Put, &WHOLE);
    draft.faults
}

/// Patches, makes or removes each resource named.
fn patch_each(
    draft: &mut Draft<'_>,
    member: Member,
    patches: &Map<String, Value>,
    at: &Pointer<'_>,
) {
    for (text, patch) in patches {
        let place = at.field(text);
        if !affords(draft, &place) {
            return;
        }
        let name = match Name::new(text) {
            Ok(name) => name,
            Err(bad) => {
                draft.faults.add(&place, format!("a name {bad}"));
                continue;
            }
        };
        match (member, patch) {
            (Member::Pools, Value::Null) => draft.pools.remove(&name),
            (Member::Routes, Value::Null) => draft.routes.remove(&name),
            (Member::Policies, Value::Null) => draft.policies.remove(&name),
            (Member::Pools, patch) => {
                write_pool(draft, &name, patch, Mode::Patch, &place);
            }
            (Member::Routes, patch) => {
                write_route(draft, &name, patch, Mode::Patch, &place);
            }
            (Member::Policies, patch) => {
                write_policy(draft, &name, patch, Mode::Patch, &place);
            }
        }
    }
}

/// Whether the transaction may cost more; noted at the place where it may not.
fn affords(draft: &mut Draft<'_>, at: &Pointer<'_>) -> bool {
    if draft.is_spent() {
        let detail = "is too much work for one transaction: split it";
        draft.faults.add(at, detail);
    }
    !draft.is_spent()
}

/// Makes the list exactly these.
fn replace(draft: &mut Draft<'_>, member: Member, specs: &[Value], at: &Pointer<'_>) {
    let most = match member {
        Member::Pools => limits::POOLS,
        Member::Routes => limits::ROUTES,
        Member::Policies => limits::POLICIES,
    };
    if specs.len() > most {
        draft.faults.add(
            at,
            format!("must have at most {most} elements, not {}", specs.len()),
        );
    }
    let mut first_of: BTreeMap<Name, usize> = BTreeMap::new();
    for (i, spec) in specs.iter().enumerate().take(most) {
        let place = at.index(i);
        if !affords(draft, &place) {
            // Nothing of it comes to pass.
            return;
        }
        let Some(name) = put_listed(draft, member, spec, &place) else {
            continue;
        };
        if let Some(first) = first_of.get(&name) {
            let detail = format!("must be unique; element {} has it too", first);
            draft.faults.add(&place.field("name"), detail);
        } else {
            first_of.insert(name, i);
        }
    }
    match member {
        Member::Pools => draft.pools.keep(&first_of),
        Member::Routes => draft.routes.keep(&first_of),
        Member::Policies => draft.policies.keep(&first_of),
    }
}

/// Puts one element of a list, by the name in it.
fn put_listed(
    draft: &mut Draft<'_>,
    member: Member,
    spec: &Value,
    at: &Pointer<'_>,
) -> Option<Name> {
    let faults = &mut draft.faults;
    let named = spec.get("name").and_then(Value::as_str);
    let named = named.and_then(|name| Name::new(name).ok());
    match member {
        Member::Pools => {
            let pool = read_pool(spec, at, None, faults)?;
            let name = pool.name.clone();
            draft.put_pool(pool);
            Some(name)
        }
        Member::Routes => {
            let old = named.and_then(|name| draft.routes.get(&name));
            let old = old.and_then(|old| old.policy.as_deref());
            let spec = with_secrets(Cow::Borrowed(spec), old);
            let route = read_route(&spec, at, None, faults)?;
            let name = route.name.clone();
            draft.put_route(route, at.to_string());
            Some(name)
        }
        Member::Policies => {
            let old = named.and_then(|name| draft.policies.get(&name));
            let spec = with_secrets(Cow::Borrowed(spec), old.map(|old| &old.policy));
            let policy = read_policy(&spec, at, None, faults)?;
            let name = policy.name.clone();
            draft.put_policy(policy, at.to_string());
            Some(name)
        }
    }
}
