//! gRPC: what it asks of a proxy beyond HTTP/2.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use serde_json::json;

use super::backend::Backend;
use super::client::*;
use crate::proxy::tests::harness::*;

fn call(timeout: Option<&str>) -> Request<()> {
    let mut request = Request::post("http://x/greet.Greeter/Greet")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    request.body(()).unwrap()
}

/// An answer that is a head only: its status of gRPC, and its fields.
async fn status_only(client: &mut Client, request: Request<()>) -> (String, HeaderMap) {
    let (response, mut stream) = client.send(request, false).await;
    // One that failed already takes no more.
    let _ = stream.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true);
    let (head, body) = response.await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    assert!(body.is_end_stream(), "a head only");
    assert!(!head.headers.contains_key("content-length"));
    let status = head.headers["grpc-status"].to_str().unwrap().to_owned();
    (status, head.headers)
}

#[test]
fn failures_are_told_in_words_of_grpc() {
    let proxy = Harness::with_pool(&[nobody()], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (status, fields) = status_only(&mut client, call(None)).await;
        assert_eq!(status, "14");
        assert_eq!(fields["content-type"], "application/grpc");
        assert_eq!(
            fields["grpc-message"],
            "The backend refused the connection."
        );
        assert!(
            fields["proxy-status"]
                .to_str()
                .unwrap()
                .contains("connection_refused")
        );
    }));
    proxy.publish(&json!({"pools": [], "routes": []}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(status_only(&mut client, call(None)).await.0, "12");
    }));
}

#[test]
fn a_deadline_ends_the_call_here_and_at_the_backend() {
    let (sender, reset) = std::sync::mpsc::channel();
    let backend = Backend::new(move |_, mut respond| {
        let sender = sender.clone();
        async move {
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            sender.send(reason.unwrap()).unwrap();
        }
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(status_only(&mut client, call(Some("200m"))).await.0, "4");
    }));
    assert_eq!(reset.recv().unwrap(), Reason::CANCEL);
}

#[test]
fn an_answer_of_trailers_only_stays_one() {
    let backend = Backend::new(|_, mut respond| async move {
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .header("grpc-message", "no such thing");
        respond
            .send_response(response.body(()).unwrap(), true)
            .unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (status, fields) = status_only(&mut client, call(Some("10S"))).await;
        assert_eq!(
            (status.as_str(), &fields["grpc-message"]),
            ("5", &"no such thing".parse().unwrap())
        );
    }));
}

#[test]
fn calls_of_all_four_kinds_pass() {
    // Answers as many messages as were asked for, or one for each that comes.
    let backend = Backend::new(|request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let kind = request.uri().path().to_owned();
        let response = Response::builder().header("content-type", "application/grpc");
        let mut stream = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        let mut body = request.into_body();
        let asked = text(&mut body).await.len() / 7;
        let answers = match kind.as_str() {
            "/unary" | "/client-stream" => 1,
            "/server-stream" => 100,
            _ => asked,
        };
        for _ in 0..answers {
            push(&mut stream, Bytes::from_static(b"\0\0\0\0\x02ok"), false).await;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for (kind, messages, answers) in [
            ("unary", 1, 1),
            ("client-stream", 50, 1),
            ("server-stream", 1, 100),
            ("both", 50, 50),
        ] {
            let request = Request::post(format!("http://x/{kind}"))
                .header("content-type", "application/grpc+proto")
                .header("te", "trailers");
            let (response, mut stream) = client.send(request.body(()).unwrap(), false).await;
            for n in 1..=messages {
                let message = Bytes::from_static(b"\0\0\0\0\x02hi");
                push(&mut stream, message, n == messages).await;
            }
            let (_, body, trailers) = whole(response).await;
            assert_eq!(
                (body.len(), &trailers["grpc-status"]),
                (7 * answers, &"0".parse().unwrap()),
                "{kind}"
            );
        }
    }));
}
