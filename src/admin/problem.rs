//! Every refusal of the admin API: an RFC 9457 problem document that names all faults at once.
//!
//! Handlers return `Result<_, Problem>`; nothing else in this directory builds an error answer, so no path of the API
//! can answer an error in another shape. [`Kind`] is the whole list of what can go wrong, with its status code.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::config::{Fault, Faults};

/// What went wrong, as a client can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request cannot be understood: not JSON, an unknown query parameter, a bad header.
    Malformed,
    /// A page of another origin asked a browser to send this.
    CrossOrigin,
    NotFound,
    MethodNotAllowed,
    /// The idempotency key was used before, for another body.
    KeyReused,
    /// The idempotency key is too old for its result to be known.
    KeyExpired,
    /// Something else still refers to what was to be deleted.
    Referred,
    /// The revision is older than the kept history.
    Compacted,
    /// The resource changed since the revision that the request named.
    LostRace,
    TooLarge,
    UnsupportedMediaType,
    /// Understood, but breaks a rule of the config.
    Invalid,
    Internal,
    /// No quorum answered in time.
    Unavailable,
    /// Traffic should not be sent here.
    NotReady,
    /// Done, but what was waited for did not happen in time.
    TimedOut,
}

impl Kind {
    fn status(self) -> (StatusCode, &'static str, &'static str) {
        let (code, token, title) = match self {
            Self::Malformed => (400, "malformed", "The request cannot be understood"),
            Self::CrossOrigin => (403, "cross-origin", "Requests of other origins are refused"),
            Self::NotFound => (404, "not-found", "There is no such resource"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "The method is not allowed here"),
            Self::KeyReused => (409, "key-reused", "The key was used for another request"),
            Self::KeyExpired => (409, "key-expired", "The idempotency key is too old"),
            Self::Referred => (409, "referred", "The resource is referred to"),
            Self::Compacted => (410, "compacted", "The revision is no longer kept"),
            Self::LostRace => (412, "lost-race", "The resource has changed"),
            Self::TooLarge => (413, "too-large", "The request is too large"),
            Self::UnsupportedMediaType => (415, "unsupported-media-type", "The body must be JSON"),
            Self::Invalid => (422, "invalid", "What was sent is not valid"),
            Self::Internal => (500, "internal", "This node failed"),
            Self::Unavailable => (503, "unavailable", "No quorum answered in time"),
            Self::NotReady => (503, "not-ready", "This node is not ready"),
            Self::TimedOut => (
                504,
                "timed-out",
                "What was waited for did not happen in time",
            ),
        };
        let status = StatusCode::from_u16(code).expect("each number above is a status code");
        (status, token, title)
    }
}

/// One refusal, to be answered as `application/problem+json`. Boxed, since it is the error of everything here.
#[derive(Debug)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: String,
    faults: Vec<Fault>,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            faults: Vec::new(),
            members: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// The request broke one rule, at one place.
    pub(super) fn at(kind: Kind, pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(kind, detail.clone()).faults(vec![Fault {
            pointer: pointer.to_owned(),
            detail,
        }])
    }

    /// The config would break these rules.
    pub(super) fn invalid(faults: Faults) -> Self {
        let detail = match faults.0.as_slice() {
            [_] => faults.to_string(),
            all => format!("{} faults, nothing was changed", all.len()),
        };
        Self::new(Kind::Invalid, detail).faults(faults.0)
    }

    pub(super) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("{what} does not exist"))
    }

    pub(super) fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self
    }

    /// An extension member (RFC 9457, 3.2) for programs: what the detail says in words.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    pub(super) fn retry_after(self, seconds: u16) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> Kind {
        self.0.kind
    }

    #[cfg(test)]
    pub(super) fn pointers(&self) -> Vec<String> {
        self.0
            .faults
            .iter()
            .map(|fault| fault.pointer.clone())
            .collect()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let parts = *self.0;
        let (status, token, title) = parts.kind.status();
        let faults: Vec<Value> = parts
            .faults
            .iter()
            .map(|fault| json!({"pointer": fault.pointer, "detail": fault.detail}))
            .collect();
        let mut document = json!({
            "type": format!("urn:synod:problem:{token}"),
            "title": title,
            "status": status.as_u16(),
            "detail": parts.detail,
            "faults": faults,
        });
        if let Value::Object(members) = &mut document {
            members.extend(parts.members);
        }
        let mut headers = parts.headers;
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        (status, headers, document.to_string()).into_response()
    }
}
