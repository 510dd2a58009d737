//! `/v1/explain`: where a request would go on this node, and why. Reads the snapshot that the data plane reads.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::body::JsonBody;
use super::layers::{SYNOD_REVISION, revision_value};
use super::options::{Consistency, ReadOptions};
use super::problem::Problem;
use super::{AdminState, read};
use crate::config::policy::Scheme;
use crate::config::{Faults, Pointer};
use crate::routing::{self, Question};

/// How long the data plane may take to serve what this node knows before the older snapshot is explained.
const CATCH_UP: Duration = Duration::from_secs(1);

/// The explanation for programs, and as text for people.
#[derive(serde::Serialize)]
struct Answer {
    #[serde(flatten)]
    explanation: routing::Explanation,
    text: String,
}

pub(super) async fn post(
    State(state): State<AdminState>,
    options: ReadOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let question = question(&body).map_err(Problem::invalid)?;
    read::fresh(&state, options.consistency).await?;
    if options.consistency == Consistency::Linearizable {
        catch_up(&state).await;
    }
    let snapshot = state.cell.load();
    let head = [(SYNOD_REVISION, revision_value(snapshot.revision))];
    let explanation = routing::explain(&snapshot, question);
    let answer = Answer {
        text: explanation.to_string(),
        explanation,
    };
    Ok((head, Json(answer)).into_response())
}

/// Waits a little for the data plane, so that what was just written is explained; it tells its revision anyway.
async fn catch_up(state: &AdminState) {
    let wanted = read::local(state).revision;
    let until = Instant::now() + CATCH_UP;
    let mut changed = state.replication.nodes_changed();
    while state.cell.load().revision < wanted {
        if !matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// `{"method", "scheme", "host", "path", "headers", "client"}`, or `url` in the place of scheme, host and path; the
/// method is GET and the scheme http unless said.
fn question(body: &Value) -> Result<Question, Faults> {
    let root = Pointer::Root("");
    let mut faults = Faults::new();
    let Some(fields) = body.as_object() else {
        return Err(Faults::one(
            "",
            "must be an object with url, or with host and path",
        ));
    };
    let mut question = Question::default();
    for (name, value) in fields {
        let at = root.field(name);
        match (name.as_str(), value) {
            ("method", Value::String(text)) => question.method.clone_from(text),
            ("host", Value::String(text)) => question.host.clone_from(text),
            ("path", Value::String(text)) if text.starts_with('/') => {
                question.path.clone_from(text)
            }
            ("path", Value::String(_)) => faults.add(&at, "must begin with /"),
            ("scheme", Value::String(text)) => match scheme(text) {
                Some(scheme) => question.scheme = scheme,
                None => faults.add(&at, "must be http or https"),
            },
            ("url", Value::String(text)) => match split(text) {
                Some((scheme, host, path)) => {
                    (question.scheme, question.host, question.path) = (scheme, host, path)
                }
                None => faults.add(&at, "must be a URL such as http://shop.example/cart"),
            },
            ("client", Value::String(text)) => match text.parse() {
                Ok(client) => question.client = Some(client),
                Err(_) => faults.add(&at, "must be an IP address"),
            },
            ("headers", Value::Object(headers)) => {
                for (name, value) in headers {
                    match value.as_str() {
                        Some(text) => question.headers.push((name.clone(), text.to_owned())),
                        None => faults.add(&at.field(name), "must be a string"),
                    }
                }
            }
            ("headers", _) => faults.add(&at, "must be an object from names to strings"),
            ("method" | "scheme" | "host" | "path" | "url" | "client", _) => {
                faults.add(&at, "must be a string")
            }
            _ => faults.add(
                &at,
                "unknown field; there are method, url, scheme, host, path, headers, client",
            ),
        }
    }
    let parts = ["scheme", "host", "path"];
    if fields.contains_key("url") && parts.iter().any(|part| fields.contains_key(*part)) {
        faults.add(
            &root.field("url"),
            "says scheme, host and path already; give one or the other",
        );
    }
    if faults.is_empty() {
        Ok(question)
    } else {
        Err(faults)
    }
}

fn scheme(text: &str) -> Option<Scheme> {
    let schemes = [Scheme::Http, Scheme::Https];
    let named = |scheme: &Scheme| scheme.name().eq_ignore_ascii_case(text);
    schemes.into_iter().find(named)
}

fn split(url: &str) -> Option<(Scheme, String, String)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().map_or(Some(Scheme::Http), scheme)?;
    let host = uri.authority()?.as_str();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = host.rsplit('@').next()?;
    Some((scheme, host.to_owned(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_named_by_url_or_by_parts() {
        let asked =
            question(&json!({"method": "POST", "url": "http://shop.example:8080/cart?x=1"}));
        let asked = asked.expect("a URL is enough");
        assert_eq!(
            (asked.method.as_str(), asked.host.as_str()),
            ("POST", "shop.example:8080")
        );
        assert_eq!((asked.scheme, &asked.path[..]), (Scheme::Http, "/cart?x=1"));
        let asked = question(&json!({"url": "HTTPS://a/", "client": "2001:db8::7"}));
        let asked = asked.expect("a URL and a client");
        assert_eq!(asked.scheme, Scheme::Https);
        assert_eq!(
            asked.client,
            Some("2001:db8::7".parse().expect("it is one"))
        );
        assert_eq!(
            question(&json!({"host": "a", "headers": {"x": "y"}}))
                .expect("the path is / unless said")
                .path,
            "/"
        );
        let faults = question(
            &json!({"host": 1, "path": "x", "scheme": "ftp", "client": "a", "url": "ftp://a", "headers": {"a": 1},
                    "more": 1}),
        );
        let pointers: Vec<String> = faults
            .expect_err("all are wrong")
            .0
            .into_iter()
            .map(|f| f.pointer)
            .collect();
        let expected = [
            "/host",
            "/path",
            "/scheme",
            "/client",
            "/url",
            "/headers/a",
            "/more",
            "/url",
        ];
        assert_eq!(pointers, expected);
    }
}
