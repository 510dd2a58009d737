//! What each kind of check calls good, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Way;
use crate::backend::Registry;
use crate::config::spec::parse_pool;
use crate::config::{Name, Probe, Protocol, ProxyProtocol};

fn probe(health: Value) -> Probe {
    let pool = parse_pool(&json!({"name": "web", "health": health}), None);
    pool.unwrap().health.unwrap().probe
}

async fn ask(probe: &Probe, address: SocketAddr, timeout: Duration) -> Result<(), String> {
    let (pool, id) = (Name::new("web").unwrap(), Name::new("b1").unwrap());
    let backend = Registry::scratch().backend(&pool, &id, address);
    super::ask(probe, &backend, &Way::default(), timeout).await
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
async fn it_asks_by_the_method_and_with_the_headers_that_are_said() {
    let (address, told) = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await;
    let headers = json!({"Authorization": "Bearer x", "User-Agent": "mine"});
    let http = json!({"path": "/", "method": "HEAD", "headers": headers});
    let asked = ask(&probe(json!({ "http": http })), address, LONG).await;
    assert_eq!(asked, Ok(()));
    let request = told.await.unwrap();
    assert!(request.starts_with("HEAD / HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer x\r\n"), "{request}");
    assert_eq!(request.matches("user-agent: mine\r\n").count(), 1);
    assert_eq!(request.matches("user-agent").count(), 1, "{request}");
}

#[tokio::test]
async fn a_pool_of_http2_is_asked_by_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let mut body = respond
            .send_response(http::Response::new(()), false)
            .unwrap();
        body.send_data("all is well".into(), true).unwrap();
        request.into_parts().0
    });
    let (pool, id) = (Name::new("web").unwrap(), Name::new("b1").unwrap());
    let backend = Registry::scratch().backend(&pool, &id, address);
    let way = Way {
        protocol: Protocol::Http2,
        ..Way::default()
    };
    let http = json!({"path": "/ok?deep=1", "host": "shop.example", "body": "is well"});
    let asked = super::ask(&probe(json!({ "http": http })), &backend, &way, LONG).await;
    assert_eq!(asked, Ok(()));
    let request = served.await.unwrap();
    assert_eq!(request.method, "GET");
    assert_eq!(request.uri, "http://shop.example/ok?deep=1");
    assert!(!request.headers.contains_key("connection"));
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

#[tokio::test]
async fn a_check_says_that_it_is_the_proxys_own_where_backends_are_told() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let (address, told) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let (pool, id) = (Name::new("web").unwrap(), Name::new("b1").unwrap());
        let backend = Registry::scratch().backend(&pool, &id, address);
        let probe = probe(json!({"http": {"path": "/healthz"}}));
        let way = Way {
            proxy_protocol: Some(version),
            ..Way::default()
        };
        let asked = super::ask(&probe, &backend, &way, LONG).await;
        assert_eq!(asked, Ok(()));
        let text = String::from_utf8(version.own().to_vec()).unwrap();
        assert!(
            told.await
                .unwrap()
                .starts_with(&(text + "GET /healthz HTTP/1.1\r\n"))
        );
    }
}

#[tokio::test]
async fn a_check_shakes_hands_as_the_pool_does() {
    use std::sync::Arc;

    use crate::tls::testing::Authority;
    use crate::tls::{ClientOptions, Keyring, MinVersion, Trust};
    let (ca, directory) = (Authority::new("ca"), tempfile::tempdir().unwrap());
    let tls = crate::tls::ServerTls::load(crate::tls::ServerOptions {
        certificates: vec![ca.issue(&["api.internal"]).write(directory.path(), "api")],
        min_version: MinVersion::default(),
        clients: crate::tls::ClientCertificates::None,
        alpn: Vec::new(),
    });
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.unwrap().config());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(socket).await?;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.read(&mut [0; 1024]).await?;
                stream.write_all(answer).await?;
                stream.shutdown().await
            });
        }
    });
    let (pool, id) = (Name::new("web").unwrap(), Name::new("b1").unwrap());
    let backend = Registry::scratch().backend(&pool, &id, address);
    let keyring = Keyring::empty();
    for (pem, expected) in [
        (ca.pem, ""),
        (
            Authority::new("other").pem,
            "no TLS: invalid peer certificate",
        ),
    ] {
        let client = keyring.client(&ClientOptions {
            trust: Trust::Pem(pem),
            server_name: Some("api.internal".into()),
            names: Vec::new(),
            certificate: None,
            min_version: MinVersion::default(),
            alpn: Vec::new(),
        });
        let way = Way {
            tls: Some(Arc::clone(&client.unwrap())),
            ..Way::default()
        };
        for kind in [json!({"tcp": {}}), json!({"http": {"path": "/"}})] {
            let result = super::ask(&probe(kind), &backend, &way, LONG).await;
            let why = result.err().unwrap_or_default();
            assert!(
                why.starts_with(expected) && why.is_empty() == expected.is_empty(),
                "{why}"
            );
        }
    }
}

/// A gRPC server of one connection: answers with this message and these trailers, or a head only.
async fn grpc_server(
    status: Option<i32>,
    trailers: &'static [(&'static str, &'static str)],
) -> SocketAddr {
    use super::grpc::{HealthCheckRequest, HealthCheckResponse, framed};
    use prost::Message as _;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let message = request.into_body().data().await.unwrap().unwrap();
        let asked = HealthCheckRequest::decode(&message[5..]).unwrap();
        assert_eq!(asked.service, "shop.Cart");
        let mut fields = http::HeaderMap::new();
        for (name, value) in trailers {
            fields.insert(*name, value.parse().unwrap());
        }
        let mut head = http::Response::new(());
        match status {
            Some(status) => {
                let mut body = respond.send_response(head, false).unwrap();
                let message = framed(&HealthCheckResponse { status });
                body.send_data(message, false).unwrap();
                body.send_trailers(fields).unwrap();
            }
            None => {
                *head.headers_mut() = fields;
                respond.send_response(head, true).unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn a_grpc_answer_is_good_if_it_says_serving() {
    let probe = probe(json!({"grpc": {"service": "shop.Cart"}}));
    let well = &[("grpc-status", "0")][..];
    let unknown = &[("grpc-status", "5"), ("grpc-message", "unknown service")][..];
    for (status, trailers, expected) in [
        (Some(1), well, Ok(())),
        (Some(0), well, Err("says UNKNOWN")),
        (Some(2), well, Err("says NOT_SERVING")),
        (Some(3), well, Err("says SERVICE_UNKNOWN")),
        (
            Some(1),
            unknown,
            Err("answered with gRPC status 5: unknown service"),
        ),
        (
            None,
            unknown,
            Err("answered with gRPC status 5: unknown service"),
        ),
        (Some(1), &[], Err("answered without a status of gRPC")),
    ] {
        let address = grpc_server(status, trailers).await;
        let result = ask(&probe, address, LONG).await;
        assert_eq!(result, expected.map_err(str::to_owned));
    }
    let (address, _told) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let why = ask(&probe, address, LONG).await.unwrap_err();
    assert!(why.starts_with("no gRPC answer: "), "{why}");
}
