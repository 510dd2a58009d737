//! Which resource a path names: `/v1/config`, `/v1/pools/{pool}`, `/v1/pools/{pool}/backends/{backend}`,
//! `/v1/routes/{route}`, `/v1/policies/{policy}`. One extractor, so that the handlers of [`super::resource`] serve all
//! kinds alike.

use axum::extract::{FromRequestParts, RawPathParams};
use http::Method;
use http::request::Parts;

use super::problem::{Kind, Problem};
use crate::config::{Name, ResourcePath};

/// The resource that the request's path names.
pub(super) struct Target(pub(super) ResourcePath);

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new(Kind::Malformed, error.body_text()))?;
        let (mut pool, mut backend) = (None, None);
        for (key, given) in &params {
            let parsed = name(&parts.method, key, given)?;
            match key {
                "pool" => pool = Some(parsed),
                "backend" => backend = Some(parsed),
                "policy" => return Ok(Self(ResourcePath::Policy(parsed))),
                _ => return Ok(Self(ResourcePath::Route(parsed))),
            }
        }
        Ok(Self(match (pool, backend) {
            (Some(pool), Some(backend)) => ResourcePath::Backend(pool, backend),
            (Some(pool), None) => ResourcePath::Pool(pool),
            (None, _) => ResourcePath::Config,
        }))
    }
}

/// What has no valid name cannot be there, so only a PUT is told what a name must be.
fn name(method: &Method, key: &str, given: &str) -> Result<Name, Problem> {
    given.parse().map_err(|wrong| match *method {
        Method::PUT => {
            let pointer = if key == "backend" { "/id" } else { "/name" };
            Problem::at(
                Kind::Invalid,
                pointer,
                format!("the {key} name in the path, {given:?}, {wrong}"),
            )
        }
        _ => Problem::not_found(format!("{key} {given:?}")),
    })
}
