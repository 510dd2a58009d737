//! What a route does to its requests and answers besides sending them somewhere, of its own or by a policy that it
//! shares with others. One file a kind.

mod basic_auth;
mod clients;
mod compress;
mod cors;
mod error_pages;
mod fence;
mod forward_auth;
mod header_edits;
mod injection;
mod mirror;
mod rate_limit;
mod redirect;
mod respond;
mod rewrite;
mod shared;
mod tries;

use std::sync::Arc;

use serde::Serialize;

pub(super) use basic_auth::fill;
pub use basic_auth::{BasicAuth, Hash, User, redact, stand_in};
pub use clients::Clients;
pub use compress::{Coding, Compress};
pub use cors::{Cors, Origin};
pub use error_pages::ErrorPage;
pub use fence::Fence;
pub use forward_auth::ForwardAuth;
pub use header_edits::{Edits, HeaderEdits};
pub use injection::{Abort, Delay, FaultInjection};
pub use mirror::Mirror;
pub use rate_limit::RateLimit;
pub use redirect::{Redirect, Scheme};
pub use respond::Respond;
pub use rewrite::{NewPath, Rewrite};
pub use shared::SharedPolicy;
pub use tries::{RouteRetries, RouteTimeouts};

use super::Name;

/// What a route does besides sending its requests somewhere. What may be large is shared with the policies it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// How long a request may take; without limit unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// What is tried again besides what can be without harm; nothing unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<RouteRetries>,
    /// The rate a route takes, each counting by itself; without limit unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Which lock's tokens requests must show. A route's own alone: whoever grants the lock asks who has a fence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// Who may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Arc<Clients>>,
    /// Who may use it by name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<Arc<BasicAuth>>,
    /// Which service says who may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_auth: Option<Arc<ForwardAuth>>,
    /// Where the client is sent instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// What it is answered instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<Arc<Respond>>,
    /// What the backend is asked for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Which scripts of other origins may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Arc<Cors>>,
    /// Longest body of a request, without its framing; a longer one is answered with 413.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// What becomes of header fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Arc<HeaderEdits>>,
    /// What goes wrong with requests on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,
    /// Where copies of requests go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Which answers are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<Arc<Compress>>,
    /// What clients read when the proxy itself answers that something failed: the first that is for the status.
    #[serde(skip_serializing_if = "<[ErrorPage]>::is_empty")]
    pub error_pages: Arc<[ErrorPage]>,
}

impl Policy {
    /// The pools that it names, each by the field that does.
    pub fn pools(&self) -> impl Iterator<Item = (&'static str, &Name)> {
        let mirror = self.mirror.iter().map(|mirror| ("mirror", &mirror.pool));
        let auth = self.forward_auth.iter();
        mirror.chain(auth.map(|auth| ("forward_auth", &auth.pool)))
    }

    /// Takes from `other`, whole, each thing that it does not say itself.
    pub(super) fn take(&mut self, other: &Self) {
        fn take<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            if own.is_none() {
                own.clone_from(other);
            }
        }
        let Self {
            timeouts,
            retries,
            rate_limit,
            fence,
            clients,
            basic_auth,
            forward_auth,
            redirect,
            respond,
            rewrite,
            cors,
            max_body_bytes,
            headers,
            fault_injection,
            mirror,
            compress,
            error_pages,
        } = other;
        take(&mut self.timeouts, timeouts);
        take(&mut self.retries, retries);
        take(&mut self.rate_limit, rate_limit);
        take(&mut self.fence, fence);
        take(&mut self.clients, clients);
        take(&mut self.basic_auth, basic_auth);
        take(&mut self.forward_auth, forward_auth);
        take(&mut self.redirect, redirect);
        take(&mut self.respond, respond);
        take(&mut self.rewrite, rewrite);
        take(&mut self.cors, cors);
        take(&mut self.max_body_bytes, max_body_bytes);
        take(&mut self.headers, headers);
        take(&mut self.fault_injection, fault_injection);
        take(&mut self.mirror, mirror);
        take(&mut self.compress, compress);
        if self.error_pages.is_empty() {
            self.error_pages = error_pages.clone();
        }
    }

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
