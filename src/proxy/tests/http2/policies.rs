//! What routes and pools do besides, for clients and services of HTTP/2.

use std::io::Read as _;
use std::sync::mpsc::channel;

use http::{Request, Response};
use serde_json::json;

use super::backend::{Backend, say};
use super::client::*;
use crate::proxy::tests::harness::*;

#[test]
fn an_answer_is_compressed_and_a_client_kept() {
    let text: String = (0..50_000).map(|i| format!("line {i}\n")).collect();
    let length = text.len();
    let backend = Scripted::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{text}"
    ));
    let mut config = web(&[backend.address], json!({"sticky": {}}));
    config["routes"][0]["compress"] = json!({});
    let proxy = Harness::new(options(), &config);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for coding in ["gzip", "br"] {
            let request = Request::get("http://x/")
                .header("accept-encoding", coding)
                .body(())
                .unwrap();
            let (response, _) = client.send(request, true).await;
            let (head, mut body) = response.await.unwrap().into_parts();
            assert_eq!(head.headers["content-encoding"], coding);
            assert!(!head.headers.contains_key("content-length"));
            let cookie = head.headers["set-cookie"].to_str().unwrap();
            assert!(cookie.starts_with("synod-web="), "{cookie}");
            let mut data = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece.unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                data.extend_from_slice(&piece);
            }
            let mut decoded = String::new();
            match coding {
                "gzip" => flate2::read::GzDecoder::new(&data[..]).read_to_string(&mut decoded),
                _ => brotli::Decompressor::new(&data[..], 4_096).read_to_string(&mut decoded),
            }
            .unwrap();
            assert!(decoded == text);
        }
    }));
}

#[test]
fn an_answer_without_a_body_says_of_it_and_of_itself_what_it_does_in_http1() {
    let backend = Scripted::always(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\nETag: \"a\"\r\n\r\n",
    );
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["compress"] = json!({});
    let mut elsewhere = config["routes"][0].clone();
    elsewhere["name"] = json!("elsewhere");
    elsewhere["match"] = json!({"path": {"prefix": "/elsewhere"}});
    elsewhere["redirect"] = json!({"host": "b.example"});
    config["routes"].as_array_mut().unwrap().push(elsewhere);
    let proxy = Harness::new(options(), &config);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for (path, expected) in [
            ("/", ("W/\"a\"", "gzip", "Accept-Encoding", "")),
            ("/elsewhere", ("", "", "", "synod; details=\"redirect\"")),
        ] {
            let request = Request::head(format!("http://x{path}"))
                .header("accept-encoding", "gzip")
                .body(())
                .unwrap();
            let (response, _) = client.send(request, true).await;
            let (head, body) = response.await.unwrap().into_parts();
            let field = |name| head.headers.get(name).map_or("", |it| it.to_str().unwrap());
            let told = (
                field("etag"),
                field("content-encoding"),
                field("vary"),
                field("proxy-status"),
            );
            assert_eq!(told, expected, "{path}");
            assert!(body.is_end_stream());
            assert_eq!(head.headers.contains_key("content-length"), path != "/");
        }
    }));
}

#[test]
fn copies_and_questions_go_to_pools_of_http2() {
    let (tell, told) = channel();
    let aside = Backend::new(move |request, mut respond| {
        let tell = tell.clone();
        async move {
            let (head, mut body) = request.into_parts();
            let body = text(&mut body).await;
            match head.uri.path() {
                "/verify" => {
                    let answer = Response::builder().header("x-user", "ann");
                    let answer = answer.body(()).unwrap();
                    respond.send_response(answer, true).unwrap();
                }
                _ => say(&mut respond, "copied"),
            }
            tell.send((head, body)).unwrap();
        }
    });
    let (backend, heads) = recording();
    let mut config = web(&[backend.address], json!({}));
    let pool = json!({"name": "aside", "protocol": "http2",
        "backends": [{"id": "a1", "address": aside.address.to_string()}]});
    config["pools"].as_array_mut().unwrap().push(pool);
    config["routes"][0]["mirror"] = json!({"pool": "aside"});
    config["routes"][0]["forward_auth"] =
        json!({"pool": "aside", "path": "/verify", "answer_headers": ["X-User"]});
    let proxy = Harness::new(options(), &config);
    for _ in 0..3 {
        let request = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nmilk";
        assert_eq!(status(&proxy.once(request).0), 200);
        let (question, body) = told.recv().unwrap();
        assert_eq!((question.uri.path(), body.as_str()), ("/verify", ""));
        assert_eq!(question.method, "GET");
        assert_eq!(field(&heads.recv().unwrap(), "x-user"), Some("ann"));
        let (copy, body) = told.recv().unwrap();
        assert_eq!((copy.uri.path(), body.as_str()), ("/a", "milk"));
        assert_eq!(copy.headers["x-user"], "ann");
    }
    assert_eq!(aside.connections(), 1);
}
