//! Which resource a path names: `/v1/config`, `/v1/pools/{pool}`, `/v1/pools/{pool}/backends/{backend}`,
//! `/v1/routes/{route}`. One extractor, so that the handlers of [`super::resource`] serve all kinds alike.

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
        let (mut pool, mut backend, mut route) = (None, None, None);
        for (key, given) in &params {
            let parsed = name(&parts.method, key, given)?;
            match key {
                "pool" => pool = Some(parsed),
                "backend" => backend = Some(parsed),
                _ => route = Some(parsed),
            }
        }
        Ok(Self(match (pool, backend, route) {
            (Some(pool), Some(backend), _) => ResourcePath::Backend(pool, backend),
            (Some(pool), None, _) => ResourcePath::Pool(pool),
            (None, _, Some(route)) => ResourcePath::Route(route),
            (None, _, None) => ResourcePath::Config,
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
