//! The answers the proxy makes itself. The only place of the data plane that knows status codes.
//!
//! Each says why in `proxy-status` (RFC 9209), and errors in a line of text. Clients of gRPC, for whom every status of
//! HTTP but 200 is a riddle, are told in its own words instead.

use super::connection::{After, Client};
use super::failure::Failure;
use super::forward_auth::Verdict;
use super::grpc;
use super::policy::Ruling;
use super::transfer::write_all;
use crate::config::Policy;
use crate::config::policy::{Edits, ErrorPage, Respond};
use crate::wire::head::{RequestHead, Version};
use crate::wire::http1::{Answer, encode_answer};

/// What the proxy's own words are.
const PLAIN: &str = "text/plain; charset=utf-8";

/// For whom the answer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addressee<'a> {
    pub(crate) version: Version,
    pub(crate) head_only: bool,
    /// Whether the connection may be kept: the next request's start is known, and both sides want it.
    pub(crate) keep: bool,
    pub(crate) revision: Option<u64>,
    /// Whether it speaks gRPC.
    pub(crate) grpc: bool,
    /// What the route says in place of the proxy's words, and of answers as such.
    pub(crate) policy: Option<&'a Policy>,
    /// What a service that was asked about the request answered instead.
    pub(crate) verdict: Option<&'a Verdict>,
    /// What the route adds.
    pub(crate) fields: &'a [(&'static str, String)],
}

impl Addressee<'_> {
    /// Of a request whose head was not understood.
    pub(crate) fn unknown() -> Self {
        Self {
            version: Version::Http11,
            head_only: false,
            keep: false,
            revision: None,
            grpc: false,
            policy: None,
            verdict: None,
            fields: &[],
        }
    }
}

impl<'a> Addressee<'a> {
    /// Of a request that was ruled on, over a connection that ends.
    pub(crate) fn of(request: &RequestHead, ruling: &'a Ruling) -> Self {
        Self {
            version: request.version(),
            head_only: request.method() == "HEAD",
            grpc: grpc::is_spoken(request),
            verdict: ruling.verdict.get().map(|verdict| &**verdict),
            fields: &ruling.fields,
            ..Self::unknown()
        }
    }

    /// What it is answered, if that is the route's own.
    fn responds(&self, failure: Failure) -> Option<&'a Respond> {
        let own = matches!(failure, Failure::Responded(_)) && !self.grpc;
        self.policy?.respond.as_deref().filter(|_| own)
    }

    /// What becomes of the fields of an answer that stands in a backend's place.
    fn edits(&self, failure: Failure) -> Option<&'a Edits> {
        let own = matches!(failure, Failure::Responded(_) | Failure::Redirected(_)) && !self.grpc;
        let headers = self.policy?.headers.as_deref().filter(|_| own)?;
        Some(&headers.response)
    }

    fn page(&self, status: u16) -> Option<&'a ErrorPage> {
        let mut pages = self.policy?.error_pages.iter();
        pages.find(|page| page.is_for(status))
    }
}

/// The fields of a route's own answer.
fn fields_of(respond: &Respond) -> impl Iterator<Item = (&str, &str)> {
    let headers = respond.headers.iter();
    let headers = headers.map(|(name, value)| (&name[..], &value[..]));
    let content_type = ("Content-Type", &respond.content_type[..]);
    let typed = (!respond.body.is_empty()).then_some(content_type);
    headers.chain(typed)
}

/// Does to the fields of the proxy's answer what the route does to those of a backend.
fn edit<'a>(fields: &mut Vec<(&'a str, &'a str)>, edits: &'a Edits) {
    let edited = edits.remove.iter().chain(edits.set.keys());
    fields.retain(|(name, _)| {
        !edited
            .clone()
            .any(|edited| edited.eq_ignore_ascii_case(name))
    });
    let new = edits.set.iter().chain(&edits.add);
    // Proxy-Status is written with every answer of the proxy's own.
    let new = new.filter(|(name, _)| !name.eq_ignore_ascii_case("proxy-status"));
    fields.extend(new.map(|(name, value)| (&name[..], &value[..])));
}

/// Status, and a line for people.
fn words(failure: Failure) -> Option<(u16, &'static str)> {
    Some(match failure {
        Failure::ClientGone => return None,
        Failure::Refused(refusal) => (refusal.status(), "The request was refused.\n"),
        Failure::PlaintextToTls => (400, "This port speaks TLS: use https instead of http.\n"),
        Failure::HeadTimeout => (408, "The request's head did not arrive in time.\n"),
        Failure::BodyTimeout => (408, "The request's body did not arrive in time.\n"),
        Failure::OptionsEndHere => (200, ""),
        Failure::TraceEndsHere => (405, "TRACE is not answered here.\n"),
        Failure::Redirected(status) => (status, ""),
        Failure::Preflight => (204, ""),
        Failure::ClientDenied | Failure::OriginDenied => (403, "This is not for you.\n"),
        Failure::Unauthorized => (401, "This is for those who show a name and a password.\n"),
        Failure::AuthRefused(status) => (status, ""),
        Failure::AuthUnavailable => (503, "Whether you may do this cannot be told now.\n"),
        Failure::BodyTooLarge => (413, "The request's body is too large.\n"),
        Failure::RewrittenTooLong => (414, "The request's target is too long.\n"),
        Failure::AmbiguousPath => (400, "The request's path can be read as different ones.\n"),
        Failure::TooMany(_) => (429, "Too many requests: try again later.\n"),
        Failure::Overloaded => (503, "This proxy is busy: try again later.\n"),
        Failure::NoRevision => (400, "Synod-Min-Revision must be a number.\n"),
        Failure::RevisionAhead => (
            503,
            "This proxy does not serve that revision yet: try again.\n",
        ),
        Failure::QueueFull => (503, "All backends are busy: try again later.\n"),
        Failure::QueueTimeout => (503, "All backends are busy: try again later.\n"),
        Failure::Injected(status) => (status, "This request fails on purpose.\n"),
        Failure::Responded(status) => (status, "No backend is asked about this.\n"),
        Failure::NoRoute => (404, "No route matches this request.\n"),
        Failure::NoConfig => (503, "This proxy has no config yet.\n"),
        Failure::NoToken => (
            428,
            "This route takes only requests that show the token of a lock, once.\n",
        ),
        Failure::OldToken => (
            412,
            "The token is old: somebody else was granted the lock since.\n",
        ),
        Failure::UnknownToken => (412, "No such token of the lock was granted.\n"),
        Failure::UnsureOfToken => (
            503,
            "Whether the token is still good cannot be told here now.\n",
        ),
        Failure::NoBackend | Failure::Declined(_) => (503, "No backend is available.\n"),
        Failure::ConnectRefused => (502, "The backend refused the connection.\n"),
        Failure::Unreachable => (502, "The backend cannot be reached.\n"),
        Failure::Unresolved => (502, "The backend's name cannot be resolved.\n"),
        Failure::ConnectTimeout => (504, "The backend did not accept the connection in time.\n"),
        Failure::TlsCertificate => (502, "The backend's certificate is not to be trusted.\n"),
        Failure::TlsAlert => (502, "The backend refused to speak TLS.\n"),
        Failure::TlsBroken => (502, "TLS with the backend failed.\n"),
        Failure::BackendGone => (
            502,
            "The backend closed the connection without an answer.\n",
        ),
        Failure::StreamReset => (502, "The backend reset the stream.\n"),
        Failure::Http2Broken => (502, "The backend's answer breaks the rules of HTTP/2.\n"),
        Failure::TurnedAway => (503, "The backend takes no request now.\n"),
        Failure::WriteTimeout => (504, "The backend did not take the request in time.\n"),
        Failure::DeadlinePassed => (504, "The time that the client gave has passed.\n"),
        Failure::AnswerTimeout | Failure::Stalled => (504, "The backend did not answer in time.\n"),
        Failure::InterimFlood => (502, "The backend answers without end.\n"),
        Failure::UnaskedUpgrade => (502, "The backend changed the protocol unasked.\n"),
        Failure::Unswitched => (502, "The backend did not change the protocol.\n"),
        Failure::NoTunnels => (502, "The backend takes no WebSocket over HTTP/2.\n"),
        Failure::UnknownProtocol => (501, "Of extended CONNECT only `websocket` is known here.\n"),
        Failure::Malformed(_) => (502, "The backend's answer is not valid HTTP.\n"),
    })
}

/// In how many seconds another attempt may fare better, where that can be told.
fn retry_after(failure: Failure) -> Option<u32> {
    match failure {
        Failure::TooMany(seconds) => Some(seconds),
        Failure::QueueFull | Failure::QueueTimeout | Failure::Overloaded => Some(1),
        Failure::RevisionAhead => Some(1),
        _ => None,
    }
}

/// What an answer says besides its status.
struct Said<'a> {
    fields: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
    /// Nothing where the fields tell it, or nothing does.
    content_type: &'a str,
}

impl<'a> Said<'a> {
    /// `words` are the proxy's own, `more` the fields that it has a value of its own for.
    fn of(
        failure: Failure,
        (status, words): (u16, &'a str),
        to: &Addressee<'a>,
        more: [(&'a str, Option<&'a str>); 2],
    ) -> Self {
        let mut fields = Vec::with_capacity(3 + to.fields.len());
        let responds = to.responds(failure);
        fields.extend(responds.into_iter().flat_map(fields_of));
        if let Some(edits) = to.edits(failure) {
            edit(&mut fields, edits);
        }
        fields.extend(to.fields.iter().map(|(name, value)| (*name, &value[..])));
        let told = more
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        fields.extend(told);
        let verdict = to.verdict.filter(|_| !to.grpc);
        let allows = verdict.is_some_and(|verdict| verdict.names("allow"))
            || fields
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("allow"));
        if (status == 405 && !allows) || failure == Failure::OptionsEndHere {
            fields.push(("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        if to.grpc {
            fields.push(("Content-Type", "application/grpc"));
            fields.push(("Grpc-Status", grpc::code(failure, status)));
            fields.push(("Grpc-Message", words.trim_end()));
        }
        for (name, value) in verdict.into_iter().flat_map(|verdict| &verdict.fields) {
            let is_own = to.revision.is_some() && name.eq_ignore_ascii_case("synod-revision");
            if !is_own {
                fields.push((name, value));
            }
        }
        let (body, content_type) = match (responds, verdict, to.page(status)) {
            _ if to.grpc => (&b""[..], PLAIN),
            (Some(respond), ..) => (respond.body.as_bytes(), ""),
            (None, Some(verdict), _) => (&verdict.body[..], ""),
            (None, None, Some(page)) => (page.body.as_bytes(), &page.content_type[..]),
            (None, None, None) => (words.as_bytes(), PLAIN),
        };
        Self {
            fields,
            body,
            content_type,
        }
    }
}

/// Answers a failed request. Tells the status (of plain HTTP: what is logged and counted), 0 if nobody was there to get
/// one, the bytes of the body, and what becomes of the connection.
pub(crate) async fn refuse(
    client: &mut Client,
    failure: Failure,
    to: Addressee<'_>,
) -> (u16, u64, After) {
    let Some((status, words)) = words(failure) else {
        return (0, 0, After::Close);
    };
    if status >= 400 {
        client.worker.shared.listener.refused(failure.name());
    }
    let keep = to.keep && !client.worker.is_draining();
    let revision = to.revision.map(|revision| revision.to_string());
    let retry_after = retry_after(failure).map(|seconds| seconds.to_string());
    let more = [
        ("Synod-Revision", revision.as_deref()),
        ("Retry-After", retry_after.as_deref()),
    ];
    let said = Said::of(failure, (status, words), &to, more);
    let worker = client.worker.clone();
    let mut out = worker.staging.lease();
    worker.date.with(|date| {
        let answer = Answer {
            status: if to.grpc { 200 } else { status },
            error: (status >= 400).then(|| failure.name()),
            details: failure.details(),
            date,
            fields: &said.fields,
            body: said.body,
            content_type: said.content_type,
            head_only: to.head_only,
            client: to.version,
            close: !keep,
        };
        encode_answer(&answer, &mut out);
    });
    client
        .deadline
        .set(client.worker.shared.timeouts.client_headers);
    let mut written = std::pin::pin!(write_all(&mut client.stream, &out, &[]));
    let written = client.deadline.bound(|cx| written.as_mut().poll(cx)).await;
    let sent = if to.head_only {
        0
    } else {
        said.body.len() as u64
    };
    match written {
        Ok(Ok(())) if keep => (status, sent, After::Idle),
        Ok(Ok(())) => (status, sent, After::Linger),
        _ => (status, 0, After::Close),
    }
}
