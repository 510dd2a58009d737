//! What can go wrong with a request, grouped by whose fault it is. Statuses are `respond`'s matter.

use std::io;
use std::time::Duration;

use crate::telemetry::metrics::BackendError;
use crate::wire::http1::Refusal;
use crate::wire::http2::Fault;

/// Why a request gets no backend's answer, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client sent what is not to be passed on.
    Refused(Refusal),
    /// The client speaks plaintext where TLS is spoken.
    PlaintextToTls,
    /// The client did not send its head in time.
    HeadTimeout,
    /// The client did not send its body in time.
    BodyTimeout,
    /// The client is gone: nobody to answer.
    ClientGone,
    /// It may not be forwarded any further, and this proxy has its own answer to OPTIONS.
    OptionsEndHere,
    /// It may not be forwarded any further, and this proxy reflects nothing: TRACE would show a script what it must
    /// not see.
    TraceEndsHere,
    /// No failure: the client is sent elsewhere, with this status.
    Redirected(u16),
    /// No failure: the question of a browser is answered.
    Preflight,
    /// No failure: the route answers by itself, with this status.
    Responded(u16),
    /// The route is not for clients at this address.
    ClientDenied,
    /// The route is not for scripts of this origin.
    OriginDenied,
    /// The route is for those who show a name and a password.
    Unauthorized,
    /// The service that is asked about requests answered this one itself, with this status.
    AuthRefused(u16),
    /// That service cannot be asked.
    AuthUnavailable,
    /// The body is longer than the route takes.
    BodyTooLarge,
    /// The target that the route makes of the request's is too long.
    RewrittenTooLong,
    /// Different readers take the path for different ones.
    AmbiguousPath,
    /// The route has it fail on purpose, with this status.
    Injected(u16),
    /// No route matches.
    NoRoute,
    /// This node has not come to know any config yet.
    NoConfig,
    /// The route wants the token of a lock, and the request shows none.
    NoToken,
    /// The token is older than a grant of the lock to somebody else.
    OldToken,
    /// No such token of the lock was granted.
    UnknownToken,
    /// Whether the token is old cannot be told here now.
    UnsureOfToken,
    /// Its route takes no more in this time; how many seconds later it will.
    TooMany(u32),
    /// The revision that the request wants is none.
    NoRevision,
    /// This node does not serve the revision that the request wants yet.
    RevisionAhead,
    /// The node has all the requests it takes.
    Overloaded,
    /// All backends are at their limits, and so is the queue.
    QueueFull,
    /// All backends stayed at their limits for too long.
    QueueTimeout,
    /// A route matches, and no backend is eligible.
    NoBackend,
    /// The backend's host refused the connection.
    ConnectRefused,
    /// No way to the backend.
    Unreachable,
    /// The backend's name has no address.
    Unresolved,
    /// The backend did not take the connection in time.
    ConnectTimeout,
    /// The backend shows a certificate that is not to be trusted, or not its own.
    TlsCertificate,
    /// The backend refuses the connection by an alert of TLS.
    TlsAlert,
    /// TLS with the backend fails: versions, ciphers, what is no TLS at all, an end in the handshake.
    TlsBroken,
    /// The backend closed or reset the connection before its answer was whole.
    BackendGone,
    /// The backend said that it did not act on the request, and will not on this connection.
    TurnedAway,
    /// The backend takes the request's body too slowly.
    WriteTimeout,
    /// The backend did not answer in time.
    AnswerTimeout,
    /// The client's own deadline has passed, which may be as short as it likes.
    DeadlinePassed,
    /// The answer's body stands still: either side.
    Stalled,
    /// The backend switched to a protocol that nobody asked for.
    UnaskedUpgrade,
    /// The backend took a switch of protocols for an ordinary request, and a success that it did not mean would be read
    /// as one.
    Unswitched,
    /// The backend does not let a protocol be switched to over HTTP/2.
    NoTunnels,
    /// The client asks for a protocol that cannot be switched to here.
    UnknownProtocol,
    /// The backend reset the stream of HTTP/2.
    StreamReset,
    /// What the backend sent breaks the rules of HTTP/2.
    Http2Broken,
    /// The backend gives one interim answer after the other.
    InterimFlood,
    /// The backend answered with a status that the route takes for a failure, and no other try came about after all.
    Declined(u16),
    /// What the backend answered is not to be passed on.
    Malformed(Refusal),
}

/// What a backend may have seen of a request into a connection that had ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unheard {
    Unseen,
    MaybeSeen,
}

impl Failure {
    /// With what is left of the wait, in whole seconds and at least one.
    pub(crate) fn too_many(wait: Duration) -> Self {
        Self::TooMany(wait.as_secs_f64().ceil().max(1.0) as u32)
    }

    /// Whether no connection came about, or none for this request, so that any method may be tried elsewhere.
    pub(crate) fn is_connect(self) -> bool {
        matches!(
            self,
            Self::ConnectRefused
                | Self::Unreachable
                | Self::Unresolved
                | Self::ConnectTimeout
                | Self::TurnedAway
                | Self::NoTunnels
        )
    }

    /// Whether a reused connection came to nothing because it had ended by itself, before any byte of an answer was
    /// `heard`. It is nobody's failure, and what can be repeated is sent once more over a fresh one. `sent` tells
    /// whether any of the request may have gone.
    pub(crate) fn unheard(self, sent: bool, heard: bool) -> Option<Unheard> {
        match self {
            Self::TurnedAway => Some(Unheard::Unseen),
            Self::BackendGone if !heard => Some(match sent {
                true => Unheard::MaybeSeen,
                false => Unheard::Unseen,
            }),
            _ => None,
        }
    }

    /// Whether a backend that is connected to did not do its part in time.
    pub(crate) fn is_timeout(self) -> bool {
        matches!(
            self,
            Self::WriteTimeout | Self::AnswerTimeout | Self::Stalled
        )
    }

    /// Of an error of a backend's connection.
    pub(crate) fn of_connection(error: &io::Error) -> Self {
        match Fault::of(error) {
            Some(Fault::TurnedAway) => Self::TurnedAway,
            Some(Fault::Reset) => Self::StreamReset,
            Some(Fault::Malformed) => Self::Http2Broken,
            None => Self::of_tls(error).unwrap_or(Self::BackendGone),
        }
    }

    /// Of an error that TLS brought about.
    pub(crate) fn of_tls(error: &io::Error) -> Option<Self> {
        use rustls::Error;
        Some(match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Self::TlsCertificate,
            Error::AlertReceived(_) => Self::TlsAlert,
            _ => Self::TlsBroken,
        })
    }

    /// How it counts against the backend; `None` if it is not the backend's fault.
    pub(crate) fn of_backend(self) -> Option<BackendError> {
        match self {
            Self::ConnectRefused | Self::Unreachable | Self::Unresolved | Self::ConnectTimeout => {
                Some(BackendError::Connect)
            }
            Self::TlsCertificate | Self::TlsAlert | Self::TlsBroken => Some(BackendError::Tls),
            Self::BackendGone | Self::StreamReset => Some(BackendError::Reset),
            Self::WriteTimeout | Self::AnswerTimeout => Some(BackendError::Timeout),
            Self::UnaskedUpgrade | Self::InterimFlood | Self::Http2Broken | Self::Malformed(_) => {
                Some(BackendError::Malformed)
            }
            Self::Refused(_)
            | Self::PlaintextToTls
            | Self::HeadTimeout
            | Self::BodyTimeout
            | Self::ClientGone
            | Self::OptionsEndHere
            | Self::TraceEndsHere
            | Self::Redirected(_)
            | Self::Preflight
            | Self::Responded(_)
            | Self::ClientDenied
            | Self::OriginDenied
            | Self::Unauthorized
            | Self::AuthRefused(_)
            | Self::AuthUnavailable
            | Self::BodyTooLarge
            | Self::RewrittenTooLong
            | Self::AmbiguousPath
            | Self::Injected(_)
            | Self::NoRoute
            | Self::NoConfig
            | Self::NoToken
            | Self::OldToken
            | Self::UnknownToken
            | Self::UnsureOfToken
            | Self::NoBackend
            | Self::TooMany(_)
            | Self::Overloaded
            | Self::NoRevision
            | Self::RevisionAhead
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::Declined(_)
            | Self::TurnedAway
            | Self::Unswitched
            | Self::NoTunnels
            | Self::UnknownProtocol
            | Self::DeadlinePassed
            | Self::Stalled => None,
        }
    }

    /// One word more than [`name`](Self::name), where several failures share that or it is no error, for the same
    /// places: the policy that made the answer, the rule that was broken.
    pub(crate) fn details(self) -> Option<&'static str> {
        Some(match self {
            Self::Refused(refusal) | Self::Malformed(refusal) => refusal.reason().token(),
            Self::PlaintextToTls => "plaintext_to_tls",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::TraceEndsHere => "trace",
            Self::OptionsEndHere | Self::Redirected(_) | Self::Preflight => self.name(),
            Self::ClientDenied => "clients",
            Self::OriginDenied => "cors",
            Self::Unauthorized => "basic_auth",
            Self::AuthRefused(_) | Self::AuthUnavailable => "forward_auth",
            Self::BodyTooLarge => "body_too_large",
            Self::RewrittenTooLong => "rewritten_too_long",
            Self::AmbiguousPath => "ambiguous_path",
            Self::TooMany(_) => "rate",
            Self::Overloaded => "overload",
            Self::NoRevision | Self::RevisionAhead => "min_revision",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Injected(_) => "fault_injection",
            Self::Responded(_) => "respond",
            Self::NoToken | Self::OldToken | Self::UnknownToken | Self::UnsureOfToken => "fence",
            Self::TurnedAway => "refused_stream",
            Self::DeadlinePassed => "client_deadline",
            Self::Unswitched => "not_switched",
            Self::NoTunnels => "no_extended_connect",
            Self::UnknownProtocol => "unknown_protocol",
            Self::ClientGone
            | Self::NoRoute
            | Self::NoConfig
            | Self::NoBackend
            | Self::Declined(_)
            | Self::ConnectRefused
            | Self::Unreachable
            | Self::Unresolved
            | Self::ConnectTimeout
            | Self::TlsCertificate
            | Self::TlsAlert
            | Self::TlsBroken
            | Self::BackendGone
            | Self::StreamReset
            | Self::Http2Broken
            | Self::WriteTimeout
            | Self::AnswerTimeout
            | Self::Stalled
            | Self::InterimFlood
            | Self::UnaskedUpgrade => return None,
        })
    }

    /// The error type of RFC 9209, section 2.3, for `proxy-status` and the access log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Malformed(refusal) => refusal.proxy_status(),
            Self::PlaintextToTls | Self::HeadTimeout | Self::BodyTimeout => "http_request_error",
            // No answer carries it, only the access log.
            Self::ClientGone => "client_gone",
            // No error: of an answer it is the detail.
            Self::OptionsEndHere => "max_forwards",
            Self::TraceEndsHere | Self::TooMany(_) | Self::Overloaded => "http_request_denied",
            Self::QueueFull | Self::QueueTimeout => "connection_limit_reached",
            // Likewise.
            Self::Redirected(_) => "redirect",
            Self::Preflight => "preflight",
            Self::ClientDenied | Self::OriginDenied => "http_request_denied",
            Self::Unauthorized | Self::AuthRefused(_) => "http_request_denied",
            Self::AuthUnavailable => "destination_unavailable",
            Self::BodyTooLarge => "http_request_error",
            Self::RewrittenTooLong | Self::AmbiguousPath => "http_request_error",
            Self::Injected(_) | Self::Responded(_) => "proxy_internal_response",
            Self::NoRoute => "destination_not_found",
            Self::NoConfig | Self::NoBackend | Self::Declined(_) => "destination_unavailable",
            Self::NoToken | Self::OldToken | Self::UnknownToken => "http_request_denied",
            Self::UnsureOfToken | Self::RevisionAhead => "proxy_internal_error",
            Self::NoRevision => "http_request_error",
            Self::ConnectRefused => "connection_refused",
            Self::Unreachable => "destination_ip_unroutable",
            Self::Unresolved => "dns_error",
            Self::ConnectTimeout => "connection_timeout",
            Self::TlsCertificate => "tls_certificate_error",
            Self::TlsAlert => "tls_alert_received",
            Self::TlsBroken => "tls_protocol_error",
            Self::BackendGone | Self::TurnedAway => "connection_terminated",
            Self::WriteTimeout => "connection_write_timeout",
            Self::AnswerTimeout | Self::DeadlinePassed => "http_response_timeout",
            Self::Stalled => "connection_read_timeout",
            Self::UnaskedUpgrade | Self::Unswitched | Self::NoTunnels => "http_upgrade_failed",
            Self::UnknownProtocol => "http_request_error",
            Self::StreamReset => "http_response_incomplete",
            Self::InterimFlood | Self::Http2Broken => "http_protocol_error",
        }
    }
}
