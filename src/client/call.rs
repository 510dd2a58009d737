//! One call, and what asking for it twice does.

use http::Method;
use serde_json::Value;

use super::Error;

/// One call of the API.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) repeat: Repeat,
}

/// What asking for it twice does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Nothing: it changes nothing.
    Read,
    /// Nothing more than once: its idempotency key is known to all nodes.
    Write,
    /// The same; it waits by itself, so that silence says nothing of a node until the time is up.
    Claim,
    /// It may be done again, or be refused for having been done: it has no key.
    Order,
}

impl Call {
    /// A call without a body; `path` begins with `/` and holds the query.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let repeat = match method {
            Method::GET => Repeat::Read,
            _ => Repeat::Write,
        };
        Self {
            method,
            path: path.into(),
            body: None,
            headers: Vec::new(),
            repeat,
        }
    }

    /// Reads `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// With a JSON body.
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With one more header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// It changes nothing, whatever its method.
    pub fn reading(mut self) -> Self {
        self.repeat = Repeat::Read;
        self
    }

    /// It waits by itself: another node is asked only when the time is up.
    pub fn waiting(mut self) -> Self {
        self.repeat = Repeat::Claim;
        self
    }

    /// It has no idempotency key: no other node is asked once it was sent.
    pub fn ordering(mut self) -> Self {
        self.repeat = Repeat::Order;
        self
    }

    /// Why this cannot be asked.
    pub(super) fn unfit(&self, error: &http::Error) -> Error {
        Error::Unfit {
            path: self.path.clone(),
            why: error.to_string(),
        }
    }

    /// Writes carry an idempotency key, so that repeating them is safe.
    pub(super) fn ensure_key(&mut self) -> Option<String> {
        const KEY: &str = "idempotency-key";
        if matches!(self.repeat, Repeat::Read | Repeat::Order) {
            return None;
        }
        if let Some((_, key)) = self.headers.iter().find(|(name, _)| *name == KEY) {
            return Some(key.clone());
        }
        // Not one that tells its time: the cluster's may be ahead of this machine's, and would take it for expired.
        let key = uuid::Uuid::new_v4().to_string();
        self.headers.push((KEY, key.clone()));
        Some(key)
    }
}
