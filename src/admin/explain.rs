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

/// `{"method", "host", "path", "headers"}` or `{"method", "url", "headers"}`; the method is GET unless said.
fn question(body: &Value) -> Result<Question, Faults> {
    let root = Pointer::Root("");
    let mut faults = Faults::new();
    let Some(fields) = body.as_object() else {
        return Err(Faults::one(
            "",
            "must be an object with url, or with host and path",
        ));
    };
    let mut question = Question {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        ..Question::default()
    };
    for (name, value) in fields {
        let at = root.field(name);
        match (name.as_str(), value) {
            ("method", Value::String(text)) => question.method.clone_from(text),
            ("host", Value::String(text)) => question.host.clone_from(text),
            ("path", Value::String(text)) if text.starts_with('/') => {
                question.path.clone_from(text)
            }
            ("path", Value::String(_)) => faults.add(&at, "must begin with /"),
            ("url", Value::String(text)) => match split(text) {
                Some((host, path)) => (question.host, question.path) = (host, path),
                None => faults.add(&at, "must be a URL such as http://shop.example/cart"),
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
            ("method" | "host" | "path" | "url", _) => faults.add(&at, "must be a string"),
            _ => faults.add(
                &at,
                "unknown field; there are method, url, host, path, headers",
            ),
        }
    }
    if fields.contains_key("url") && (fields.contains_key("host") || fields.contains_key("path")) {
        faults.add(
            &root.field("url"),
            "says host and path already; give one or the other",
        );
    }
    if faults.is_empty() {
        Ok(question)
    } else {
        Err(faults)
    }
}

fn split(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.authority()?.as_str();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some((host.rsplit('@').next()?.to_owned(), path.to_owned()))
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
        assert_eq!(asked.path, "/cart?x=1");
        assert_eq!(
            question(&json!({"host": "a", "headers": {"x": "y"}}))
                .expect("the path is / unless said")
                .path,
            "/"
        );
        let faults = question(
            &json!({"host": 1, "path": "x", "url": "http://a", "headers": {"a": 1}, "more": 1}),
        );
        let pointers: Vec<String> = faults
            .expect_err("all are wrong")
            .0
            .into_iter()
            .map(|f| f.pointer)
            .collect();
        assert_eq!(pointers, ["/host", "/path", "/headers/a", "/more", "/url"]);
    }
}
