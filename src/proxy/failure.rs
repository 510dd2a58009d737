//! What can go wrong with a request, grouped by whose fault it is. Statuses are `respond`'s matter.

use crate::telemetry::metrics::BackendError;
use crate::wire::http1::Refusal;

/// Why a request gets no backend's answer, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client sent what is not to be passed on.
    Refused(Refusal),
    /// The client did not send its head in time.
    HeadTimeout,
    /// The client did not send its body in time.
    BodyTimeout,
    /// The client is gone: nobody to answer.
    ClientGone,
    /// No route matches.
    NoRoute,
    /// A route matches, and no backend is eligible.
    NoBackend,
    /// The backend's host refused the connection.
    ConnectRefused,
    /// No way to the backend.
    Unreachable,
    /// The backend did not take the connection in time.
    ConnectTimeout,
    /// The backend closed or reset the connection before its answer was whole.
    BackendGone,
    /// The backend takes the request's body too slowly.
    WriteTimeout,
    /// The backend did not answer in time.
    AnswerTimeout,
    /// The answer's body stands still: either side.
    Stalled,
    /// What the backend answered is not to be passed on.
    Malformed(Refusal),
}

impl Failure {
    /// Whether no connection came about, so that any method may be tried elsewhere.
    pub(crate) fn is_connect(self) -> bool {
        matches!(
            self,
            Self::ConnectRefused | Self::Unreachable | Self::ConnectTimeout
        )
    }

    /// How it counts against the backend; `None` if it is not the backend's fault.
    pub(crate) fn of_backend(self) -> Option<BackendError> {
        match self {
            Self::ConnectRefused | Self::Unreachable | Self::ConnectTimeout => {
                Some(BackendError::Connect)
            }
            Self::BackendGone => Some(BackendError::Reset),
            Self::WriteTimeout | Self::AnswerTimeout => Some(BackendError::Timeout),
            Self::Malformed(_) => Some(BackendError::Malformed),
            Self::Refused(_)
            | Self::HeadTimeout
            | Self::BodyTimeout
            | Self::ClientGone
            | Self::NoRoute
            | Self::NoBackend
            | Self::Stalled => None,
        }
    }

    /// The error type of RFC 9209, section 2.3, for `proxy-status` and the access log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Malformed(refusal) => refusal.proxy_status(),
            Self::HeadTimeout | Self::BodyTimeout => "http_request_error",
            // No answer carries it, only the access log.
            Self::ClientGone => "client_gone",
            Self::NoRoute => "destination_not_found",
            Self::NoBackend => "destination_unavailable",
            Self::ConnectRefused => "connection_refused",
            Self::Unreachable => "destination_ip_unroutable",
            Self::ConnectTimeout => "connection_timeout",
            Self::BackendGone => "connection_terminated",
            Self::WriteTimeout => "connection_write_timeout",
            Self::AnswerTimeout => "http_response_timeout",
            Self::Stalled => "connection_read_timeout",
        }
    }
}
