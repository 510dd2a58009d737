//! The admin API: HTTP and JSON on the control plane's runtime, the same on every node.
//!
//! A change goes one way (`write`): read whole and bounded, tried here, proposed, answered as it came out. A read is as
//! new as it asks to be (`read`). Every refusal is a problem document that names all faults (`problem`); this module
//! and `proxy::respond` are the only ones that know status codes. `node` serves the [`router`].

mod problem;

mod body;
mod conditions;
mod fields;
mod options;
mod query;
mod target;

mod access;
mod backup;
mod layers;
mod lengthy;
mod serve;

mod read;

mod outcome;
mod peers;
mod preflight;
mod wait;
mod write;

mod explain;
mod lists;
mod members;
mod nodes;
mod resource;
mod revisions;
mod status;
mod transactions;

mod fencing;
mod locks;
mod sessions;

mod watch;

mod dashboard;
mod metrics;
mod openapi;
mod probes;

#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use http::{HeaderValue, Method, Uri};

pub use self::access::{Access, Role, Token, Who};
pub use self::metrics::GroupCollector;
use self::options::StateOptions;
use self::problem::{Kind, Problem};
pub use self::serve::{Caller, serve};
use self::target::Target;
use crate::backend::Registry;
use crate::replication::Handle;
use crate::routing::SnapshotCell;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::MetricsRegistry;

/// What the API reads and changes. A clone is the same, and as cheap as can be: each request takes several.
#[derive(Clone)]
pub struct AdminState(Arc<AdminParts>);

impl From<AdminParts> for AdminState {
    fn from(parts: AdminParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AdminState {
    type Target = AdminParts;

    fn deref(&self) -> &AdminParts {
        &self.0
    }
}

/// What an [`AdminState`] is made of.
pub struct AdminParts {
    /// This node's replica.
    pub replication: Handle,
    /// What the data plane serves.
    pub cell: Arc<SnapshotCell>,
    /// Backends, for who is still in flight.
    pub registry: Arc<Registry>,
    /// What `/metrics` renders; [`router`] adds the replica's to it.
    pub metrics: Arc<MetricsRegistry>,
    /// True once the first snapshot since the start is in force: `/readyz`.
    pub serving: Arc<AtomicBool>,
    /// Set while this node has nearly all the requests it takes: `/readyz`.
    pub busy: Arc<AtomicBool>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// Whether this node is about to end: `/readyz`.
    pub shutdown: Shutdown,
}

/// The whole API, for [`serve`]. To be made once a node: it registers the replica's metrics.
pub fn router(state: AdminState) -> Router {
    let group = GroupCollector {
        replication: state.replication.clone(),
        cell: state.cell.clone(),
    };
    state.metrics.register(Arc::new(group));
    let name = state.replication.status().name;
    let node = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static(""));
    resources()
        .route("/v1/transactions", post(transactions::post))
        .route("/v1/validate", post(transactions::validate))
        .route("/v1/diff", post(transactions::compare))
        .route("/v1/rollback", post(transactions::rollback))
        .route("/v1/explain", post(explain::post))
        .route("/v1/revisions", get(revisions::list))
        .route("/v1/revisions/{revision}", get(revisions::get))
        .route("/v1/revisions/{revision}/diff", get(revisions::changes))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/backup", get(backup::get))
        .merge(lock_service())
        .route("/v1/watch", watch::route())
        .route("/v1/members", get(members::list).post(members::change))
        .route("/v1/members/{member}", delete(members::remove))
        .route("/v1/members/transfer", post(members::transfer))
        .route("/metrics", get(metrics::get))
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/openapi.json", get(openapi::get))
        .merge(dashboard::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state((state.clone(), node), layers::guard))
        .with_state(state)
}

fn resources() -> Router<AdminState> {
    let set_state = |word: &'static str| {
        post(
            move |state: State<AdminState>, target: Target, options: StateOptions| {
                resource::set_state(word, state, target, options)
            },
        )
    };
    let one = || {
        get(resource::get)
            .put(resource::put)
            .patch(resource::patch)
            .delete(resource::delete)
    };
    let backend = "/v1/pools/{pool}/backends/{backend}";
    Router::new()
        .route(
            "/v1/config",
            get(resource::get).put(resource::put).patch(resource::patch),
        )
        .route("/v1/pools", get(lists::pools))
        .route("/v1/pools/{pool}", one())
        .route("/v1/pools/{pool}/backends", get(lists::backends))
        .route(backend, one())
        .route(&format!("{backend}/drain"), set_state("drain"))
        .route(&format!("{backend}/ready"), set_state("ready"))
        .route(&format!("{backend}/maint"), set_state("maint"))
        .route("/v1/routes", get(lists::routes))
        .route("/v1/routes/{route}", one())
        .route("/v1/policies", get(lists::policies))
        .route("/v1/policies/{policy}", one())
}

fn lock_service() -> Router<AdminState> {
    Router::new()
        .route("/v1/sessions", get(sessions::list).post(sessions::open))
        .route("/v1/sessions/keep-alive", post(sessions::keep_alive))
        .route(
            "/v1/sessions/{session}",
            get(sessions::get).delete(sessions::close),
        )
        .route("/v1/locks", get(locks::list))
        .route("/v1/locks/{lock}", get(locks::get))
        .route("/v1/locks/{lock}/acquire", post(locks::acquire))
        .route("/v1/locks/{lock}/release", post(locks::release))
        .route("/v1/locks/{lock}/check", get(locks::check))
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!(
            "there is nothing at {:?}; /openapi.json lists what there is",
            uri.path()
        ),
    )
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{:?} does not take {method}; Allow names what it takes",
        uri.path()
    );
    Problem::new(Kind::MethodNotAllowed, detail)
}
