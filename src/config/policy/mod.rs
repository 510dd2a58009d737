//! What a route does to its requests and answers besides sending them somewhere. One file a policy.

mod basic_auth;
mod clients;
mod compress;
mod cors;
mod error_pages;
mod forward_auth;
mod header_edits;
mod injection;
mod mirror;
mod redirect;
mod rewrite;

use std::sync::Arc;

use serde::Serialize;

pub(super) use basic_auth::fill;
pub use basic_auth::{BasicAuth, Hash, User, redact};
pub use clients::Clients;
pub use compress::{Coding, Compress};
pub use cors::{Cors, Origin};
pub use error_pages::ErrorPage;
pub use forward_auth::ForwardAuth;
pub use header_edits::{Edits, HeaderEdits};
pub use injection::{Abort, Delay, FaultInjection};
pub use mirror::Mirror;
pub use redirect::{Redirect, Scheme};
pub use rewrite::{NewPath, Rewrite};

/// What a route does besides sending its requests somewhere: at least one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Who may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
    /// Who may use it by name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Which service says who may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_auth: Option<ForwardAuth>,
    /// Where the client is sent instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// What the backend is asked for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Which scripts of other origins may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Longest body of a request, without its framing; a longer one is answered with 413.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// What becomes of header fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderEdits>,
    /// What goes wrong with requests on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,
    /// Where copies of requests go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Which answers are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<Compress>,
    /// What clients read when the proxy itself answers that something failed: the first that is for the status.
    #[serde(skip_serializing_if = "<[ErrorPage]>::is_empty")]
    pub error_pages: Arc<[ErrorPage]>,
}

impl Policy {
    /// Whether something has a request wait before it goes on.
    pub fn holds_up(&self) -> bool {
        self.fault_injection.is_some() || self.forward_auth.is_some()
    }

    /// How many regular expressions are in it.
    pub fn patterns(&self) -> usize {
        let redirect = self.redirect.iter().filter_map(|to| to.path.as_ref());
        let rewrite = self.rewrite.iter().filter_map(|to| to.path.as_ref());
        let paths = redirect.chain(rewrite);
        paths
            .filter(|path| matches!(path, NewPath::Regex { .. }))
            .count()
    }
}
