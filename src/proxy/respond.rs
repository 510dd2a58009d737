//! The answers the proxy makes itself. The only place of the data plane that knows status codes.
//!
//! Each says why in `proxy-status` (RFC 9209) and in a line of text.

use super::connection::{After, Client};
use super::failure::Failure;
use super::transfer::write_all;
use crate::wire::head::Version;
use crate::wire::http1::{Answer, encode_answer};

/// For whom the answer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addressee {
    pub(crate) version: Version,
    pub(crate) head_only: bool,
    /// Whether the connection may be kept: the next request's start is known, and both sides want it.
    pub(crate) keep: bool,
    pub(crate) revision: Option<u64>,
}

impl Addressee {
    /// Of a request whose head was not understood.
    pub(crate) fn unknown() -> Self {
        Self {
            version: Version::Http11,
            head_only: false,
            keep: false,
            revision: None,
        }
    }
}

/// Status, one word more than the error's name where there is one, and a line for people.
fn words(failure: Failure) -> Option<(u16, Option<&'static str>, &'static str)> {
    Some(match failure {
        Failure::ClientGone => return None,
        Failure::Refused(refusal) => (
            refusal.status(),
            Some(refusal.reason().token()),
            "The request was refused.\n",
        ),
        Failure::HeadTimeout => (408, None, "The request's head did not arrive in time.\n"),
        Failure::BodyTimeout => (408, None, "The request's body did not arrive in time.\n"),
        Failure::NoRoute => (404, None, "No route matches this request.\n"),
        Failure::NoBackend => (503, None, "No backend is available.\n"),
        Failure::ConnectRefused => (502, None, "The backend refused the connection.\n"),
        Failure::Unreachable => (502, None, "The backend cannot be reached.\n"),
        Failure::ConnectTimeout => (
            504,
            None,
            "The backend did not accept the connection in time.\n",
        ),
        Failure::BackendGone => (
            502,
            None,
            "The backend closed the connection without an answer.\n",
        ),
        Failure::WriteTimeout => (504, None, "The backend did not take the request in time.\n"),
        Failure::AnswerTimeout | Failure::Stalled => {
            (504, None, "The backend did not answer in time.\n")
        }
        Failure::Malformed(refusal) => (
            502,
            Some(refusal.reason().token()),
            "The backend's answer is not valid HTTP.\n",
        ),
    })
}

/// Answers a failed request. Tells the status, 0 if nobody was there to get one, the bytes of the body, and what
/// becomes of the connection.
pub(crate) async fn refuse(
    client: &mut Client,
    failure: Failure,
    to: Addressee,
) -> (u16, u64, After) {
    let Some((status, details, body)) = words(failure) else {
        return (0, 0, After::Close);
    };
    client.worker.shared.listener.refused(failure.name());
    let keep = to.keep && !client.worker.is_draining();
    let revision = to.revision.map(|revision| revision.to_string());
    let mut fields = [("", ""); 2];
    let mut count = 0;
    let mut add = |name, value| {
        fields[count] = (name, value);
        count += 1;
    };
    if let Some(revision) = &revision {
        add("Synod-Revision", revision.as_str());
    }
    if status == 405 {
        add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    let worker = client.worker.clone();
    let mut out = worker.staging.lease();
    worker.date.with(|date| {
        let answer = Answer {
            status,
            error: Some(failure.name()),
            details,
            date,
            fields: &fields[..count],
            body,
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
    let sent = if to.head_only { 0 } else { body.len() as u64 };
    match written {
        Ok(Ok(())) if keep => (status, sent, After::Idle),
        Ok(Ok(())) => (status, sent, After::Linger),
        _ => (status, 0, After::Close),
    }
}
