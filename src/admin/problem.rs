//! Every refusal of the admin API: an RFC 9457 problem document that names all faults at once.
//!
//! Handlers return `Result<_, Problem>`; nothing else in this directory builds an error answer, so no path of the API
//! can answer an error in another shape. [`Kind`] is the whole list of what can go wrong, with its status code.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::config::{Fault, Faults};

/// What went wrong, as a client can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request cannot be understood: not JSON, an unknown query parameter, a bad header.
    Malformed,
    /// Nobody says, or nobody known, who sends this.
    Unauthorized,
    /// Who sends this may not.
    Forbidden,
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
    /// What was ordered cannot be done now, or would not be safe.
    Refused,
    /// The revision is older than the kept history.
    Compacted,
    /// The session was closed or has expired.
    SessionEnded,
    /// Others hold the lock, or the session claims it otherwise.
    LockHeld,
    /// The session has no claim on the lock.
    NotHeld,
    /// There are as many of it as there may be.
    TooMany,
    /// The resource changed since the revision that the request named.
    LostRace,
    TooLarge,
    UnsupportedMediaType,
    /// Understood, but breaks a rule of the config.
    Invalid,
    Internal,
    /// No quorum answered in time.
    Unavailable,
    /// A leader leads, but this node does not know in time what it has decided.
    Behind,
    /// This node does as much of this as it does at a time.
    Crowded,
    /// Traffic should not be sent here.
    NotReady,
    /// Done, but what was waited for did not happen in time.
    TimedOut,
}

impl Kind {
    fn status(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "malformed",
                "The request cannot be understood",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "It is not known who asks",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "The role does not allow this",
            ),
            Self::CrossOrigin => (
                StatusCode::FORBIDDEN,
                "cross-origin",
                "Requests of other origins are refused",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not-found",
                "There is no such resource",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The resource does not take this method",
            ),
            Self::KeyReused => (
                StatusCode::CONFLICT,
                "key-reused",
                "The idempotency key was used for another request",
            ),
            Self::KeyExpired => (
                StatusCode::CONFLICT,
                "key-expired",
                "The idempotency key is too old",
            ),
            Self::Referred => (
                StatusCode::CONFLICT,
                "referred",
                "The resource is referred to",
            ),
            Self::Refused => (
                StatusCode::CONFLICT,
                "refused",
                "The cluster refuses the order",
            ),
            Self::Compacted => (
                StatusCode::GONE,
                "compacted",
                "The revision is no longer kept",
            ),
            Self::SessionEnded => (StatusCode::GONE, "session-ended", "The session has ended"),
            Self::LockHeld => (StatusCode::CONFLICT, "lock-held", "The lock is held"),
            Self::NotHeld => (
                StatusCode::CONFLICT,
                "not-held",
                "The session has no claim on the lock",
            ),
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "There are as many as there may be",
            ),
            Self::LostRace => (
                StatusCode::PRECONDITION_FAILED,
                "lost-race",
                "The resource has changed",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
            ),
            Self::Invalid => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "What was sent is not valid",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "This node failed",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "No quorum answered in time",
            ),
            Self::Behind => (
                StatusCode::SERVICE_UNAVAILABLE,
                "behind",
                "This node is behind the others",
            ),
            Self::Crowded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "crowded",
                "This node takes no more of these",
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "This node is not ready",
            ),
            Self::TimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                "timed-out",
                "What was waited for did not happen in time",
            ),
        }
    }
}

/// One refusal, to be answered as `application/problem+json`.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    faults: Vec<Fault>,
    members: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            faults: Vec::new(),
            members: Vec::new(),
            headers: Vec::new(),
        }
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
            [only] => only.to_string(),
            all => format!("{} faults, nothing was changed", all.len()),
        };
        Self::new(Kind::Invalid, detail).faults(faults.0)
    }

    pub(super) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("{what} does not exist"))
    }

    pub(super) fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    /// An extension member (RFC 9457, 3.2) for programs: what the detail says in words.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn retry_after(self, seconds: u16) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    #[cfg(test)]
    pub(super) fn pointers(&self) -> Vec<String> {
        self.faults
            .iter()
            .map(|fault| fault.pointer.clone())
            .collect()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, token, title) = self.kind.status();
        let faults: Vec<Value> = self
            .faults
            .iter()
            .map(|fault| json!({"pointer": fault.pointer, "detail": fault.detail}))
            .collect();
        let mut document = json!({
            "type": format!("urn:synod:problem:{token}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "faults": faults,
        });
        for (name, value) in self.members {
            document[name] = value;
        }
        let mut headers: HeaderMap = self.headers.into_iter().collect();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        (status, headers, document.to_string()).into_response()
    }
}
