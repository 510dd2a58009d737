//! What each kind of check calls good, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::ask;
use crate::config::Probe;
use crate::config::spec::parse_pool;

fn probe(health: Value) -> Probe {
    let pool = parse_pool(&json!({"name": "web", "health": health}), None);
    pool.unwrap().health.unwrap().probe
}

/// Answers one connection with these bytes, and tells what it was sent.
async fn answering(answer: &'static str) -> (SocketAddr, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = tell.send(String::from_utf8(request).unwrap());
    });
    (address, told)
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_http_answer_is_good_by_status_and_body() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nall is wel";
    for (http, answer, expected) in [
        (json!({}), ok, ""),
        (
            json!({}),
            "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
            "",
        ),
        (
            json!({}),
            "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            "answered 503",
        ),
        (json!({"status": ["201-299", 302]}), ok, "answered 200"),
        (json!({"status": 200, "body": "is wel"}), ok, ""),
        (
            json!({"body": "is well"}),
            ok,
            "the body lacks the wanted text",
        ),
        (
            json!({"body": "well"}),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nwe\r\n2\r\nll\r\n0\r\n\r\n",
            "",
        ),
        (json!({"body": "well"}), "HTTP/1.0 200 OK\r\n\r\nwell", ""),
        (
            json!({"body": "x"}),
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nall",
            "the body broke off: ",
        ),
        (json!({}), "SSH-2.0-OpenSSH_9.9\r\n", "no HTTP answer: "),
        (json!({}), "", "no HTTP answer: "),
    ] {
        let mut http = http;
        http["path"] = json!("/healthz");
        let (address, _told) = answering(answer).await;
        let result = ask(&probe(json!({ "http": http })), address, LONG).await;
        match result {
            Ok(()) => assert_eq!(expected, "", "{http} {answer:?}"),
            Err(why) => assert!(
                !expected.is_empty() && why.starts_with(expected),
                "{http} {why}"
            ),
        }
    }
}

#[tokio::test]
async fn it_asks_for_the_path_at_the_backend_or_the_host_that_is_said() {
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    for host in [None, Some("shop.example")] {
        let (address, told) = answering(answer).await;
        let mut http = json!({"path": "/ok?deep=1"});
        if let Some(host) = host {
            http["host"] = json!(host);
        }
        ask(&probe(json!({ "http": http })), address, LONG)
            .await
            .unwrap();
        let request = told.await.unwrap();
        assert!(
            request.starts_with("GET /ok?deep=1 HTTP/1.1\r\n"),
            "{request}"
        );
        let host = host.map_or(address.to_string(), str::to_owned);
        assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
        assert!(request.contains("connection: close\r\n"), "{request}");
    }
}

#[tokio::test]
async fn a_connection_is_all_that_tcp_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = probe(json!({"tcp": {}}));
    assert_eq!(ask(&tcp, address, LONG).await, Ok(()));
    drop(listener);
    let http = probe(json!({"http": {"path": "/"}}));
    for probe in [tcp, http] {
        let why = ask(&probe, address, LONG).await.unwrap_err();
        assert!(why.starts_with("cannot connect: "), "{why}");
    }
}

#[tokio::test]
async fn a_check_that_hangs_has_failed_when_its_time_is_over() {
    // Accepted by the kernel, answered by nobody.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = probe(json!({"http": {"path": "/"}}));
    let asked = ask(
        &http,
        listener.local_addr().unwrap(),
        Duration::from_millis(50),
    );
    assert_eq!(asked.await, Err("no answer within 50ms".to_owned()));
}
