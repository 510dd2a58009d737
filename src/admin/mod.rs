//! The admin API: HTTP and JSON on the control plane's runtime, the same on every node.
//!
//! A change goes one way (`write`): read whole and bounded, tried here, proposed, answered as it came out. A read is as
//! new as it asks to be (`read`). Every refusal is a problem document that names all faults (`problem`); this module
//! and `proxy::respond` are the only ones that know status codes. `node` serves the [`router`].

mod problem;

mod body;
mod conditions;
mod options;
mod query;
mod target;

mod layers;

mod read;

mod outcome;
mod peers;
mod preflight;
mod wait;
mod write;

mod explain;
mod lists;
mod nodes;
mod resource;
mod revisions;
mod status;
mod transactions;

mod dashboard;
mod metrics;
mod openapi;
mod probes;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use http::{HeaderValue, Method, Uri};

pub use self::metrics::GroupCollector;
use self::options::StateOptions;
use self::problem::{Kind, Problem};
use self::target::Target;
use crate::backend::Registry;
use crate::replication::Handle;
use crate::routing::SnapshotCell;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::MetricsRegistry;

/// What the API reads and changes.
#[derive(Clone)]
pub struct AdminState {
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
    /// Whether this node is about to end: `/readyz`.
    pub shutdown: Shutdown,
}

/// The whole API. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, so that the history can tell
/// where a change came from. To be made once a node: it registers the replica's metrics.
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
