//! A config with all that the log says of it, as a checkpoint keeps it: what users read has no revisions of parts.
//!
//! The specs in it are what users write, so that a later build reads them; what does not read back without a fault is
//! refused, never repaired.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::resource::Spec;
use super::spec::{WHOLE, read_policy, read_pool, read_route};
use super::{
    Config, Faults, Name, Pointer, Pool, Resource, Resources, Revision, Route, SharedPolicy,
    StickyKey,
};

#[derive(Serialize)]
struct Out<'a> {
    revision: Revision,
    pools: Vec<Kept<&'a Pool>>,
    routes: Vec<Kept<&'a Route>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Kept<&'a SharedPolicy>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sticky_key: Option<StickyKey>,
}

#[derive(Deserialize)]
struct In {
    revision: Revision,
    pools: Vec<Kept<Value>>,
    routes: Vec<Kept<Value>>,
    #[serde(default)]
    policies: Vec<Kept<Value>>,
    #[serde(default)]
    sticky_key: Option<StickyKey>,
}

#[derive(Serialize, Deserialize)]
struct Kept<S> {
    spec: S,
    created: Revision,
    revision: Revision,
    /// By the order of their names.
    parts: Vec<Revision>,
}

impl Config {
    /// Writes it whole.
    pub(crate) fn write_image(&self, to: impl io::Write) {
        let out = Out {
            revision: self.revision,
            pools: kept(&self.pools),
            routes: kept(&self.routes),
            policies: kept(&self.policies),
            sticky_key: self.sticky_key,
        };
        // Specs serialise without fail, and whoever asks writes into memory.
        let written = serde_json::to_writer(to, &out);
        assert!(written.is_ok(), "a config serialises: {written:?}");
    }

    /// Reads what [`Config::write_image`] wrote; total over all bytes.
    pub(crate) fn read_image(bytes: &[u8]) -> Result<Self, Faults> {
        let unreadable = |error: serde_json::Error| Faults::one("", error.to_string());
        let image: In = serde_json::from_slice(bytes).map_err(unreadable)?;
        let faults = &mut Faults::new();
        let at = &WHOLE.field("pools");
        let pools = resources(image.pools, at, faults, |spec, at, faults| {
            let pool = read_pool(spec, at, None, faults)?;
            let ids = pool.backends.iter().map(|it| it.id.clone()).collect();
            Some((pool.name.clone(), ids, pool))
        });
        let at = &WHOLE.field("routes");
        let routes = resources(image.routes, at, faults, |spec, at, faults| {
            let route = read_route(spec, at, None, faults)?;
            Some((route.name.clone(), Vec::new(), route))
        });
        let at = &WHOLE.field("policies");
        let policies = resources(image.policies, at, faults, |spec, at, faults| {
            let policy = read_policy(spec, at, None, faults)?;
            Some((policy.name.clone(), Vec::new(), policy))
        });
        if !faults.is_empty() {
            return Err(std::mem::take(faults));
        }
        Ok(Self {
            revision: image.revision,
            pools,
            routes,
            policies,
            sticky_key: image.sticky_key,
        })
    }
}

fn kept<T>(resources: &Resources<T>) -> Vec<Kept<&T>> {
    let kept = resources.values().map(|resource| Kept {
        spec: &resource.spec,
        created: resource.created,
        revision: resource.revision,
        parts: resource.parts().values().copied().collect(),
    });
    kept.collect()
}

/// Reads each by `read`, which gives its name, the names of its parts and itself.
fn resources<T: Spec>(
    images: Vec<Kept<Value>>,
    at: &Pointer<'_>,
    faults: &mut Faults,
    read: impl Fn(&Value, &Pointer<'_>, &mut Faults) -> Option<(Name, Vec<Name>, T)>,
) -> Resources<T> {
    let mut resources = Resources::default();
    for (i, image) in images.into_iter().enumerate() {
        let at = at.index(i);
        let Some((name, mut ids, spec)) = read(&image.spec, &at, faults) else {
            continue;
        };
        ids.sort_unstable();
        if ids.len() != image.parts.len() {
            faults.add(&at.field("parts"), "must be one for each part");
        }
        let parts: BTreeMap<Name, Revision> = ids.into_iter().zip(image.parts).collect();
        let resource = Resource::new(spec, image.created, image.revision, parts);
        if resources.insert(name, Arc::new(resource)) {
            faults.add(&at, "must have a name of its own");
        }
    }
    resources
}
