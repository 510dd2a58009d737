//! Calls of the admin API over one connection that is kept.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::nodes::address;

pub(crate) struct Caller {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Caller {
    pub(crate) async fn connect(node: usize) -> Self {
        let host = address(node);
        let stream = tokio::net::TcpStream::connect(&host)
            .await
            .expect("the node accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP");
        tokio::task::spawn_local(connection);
        Self { sender, host }
    }

    /// The answer, which must be a success.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))
            .expect("a request");
        let answer = self.sender.send_request(request).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body");
        let body = body.to_bytes();
        assert!(status.is_success(), "{method} {path}: {status}: {body:?}");
        serde_json::from_slice(&body).expect("JSON")
    }

    pub(crate) async fn open(&mut self, lease: &str) -> u64 {
        let body = json!({ "lease": lease });
        number(&self.call("POST", "/v1/sessions", &body).await["session"])
    }

    /// Waits for the lock, for 30 s at most.
    pub(crate) async fn acquire(&mut self, lock: &str, session: u64) -> u64 {
        let path = format!("/v1/locks/{lock}/acquire?timeout=30s");
        let body = json!({"session": session, "wait": "30s"});
        number(&self.call("POST", &path, &body).await["token"])
    }

    pub(crate) async fn release(&mut self, lock: &str, session: u64) {
        let path = format!("/v1/locks/{lock}/release");
        self.call("POST", &path, &json!({"session": session})).await;
    }

    /// Returns once so many wait for the lock, as this node knows.
    pub(crate) async fn queue(&mut self, lock: &str, count: usize) {
        let path = format!("/v1/locks/{lock}?consistency=local");
        let waiting = |answer: Value| answer["queue"].as_array().map_or(0, Vec::len);
        while waiting(self.call("GET", &path, &Value::Null).await) < count {
            tokio::task::yield_now().await;
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
