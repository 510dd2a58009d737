//! The PROXY protocol beside all else that a connection may be: in front of TLS, and to backends of TLS, of HTTP/2 and
//! behind Unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::backend_tls::server;
use super::harness::*;
use super::proxied::{LINE, binary, expecting};
use super::tls::{Encrypted, Site};
use crate::tls::MinVersion;
use crate::tls::testing::Authority;

#[test]
fn a_header_in_front_of_tls_tells_who_the_client_is_and_leaves_the_handshake_alone() {
    let (backend, heads) = recording();
    let clients = Authority::new("clients");
    let own = clients.issue(&["someone"]);
    let names = ["shop.example", "b.example"];
    let site = Site::of(&names, MinVersion::default(), Some(&clients));
    let mut options = expecting(trusting_loopback());
    options.listeners[0].tls = site.options().listeners[0].tls.clone();
    let proxy = Harness::new(options, &web(&[backend.address], json!({})));
    for header in [LINE.as_bytes().to_vec(), binary()] {
        // That the certificate is of the name asked for is for the client to see.
        for name in names {
            let config = Arc::new(site.ca.client_with(&own));
            let mut client = Encrypted::behind(&header, &proxy, config, name).unwrap();
            for _ in 0..2 {
                assert_eq!(status(&client.get().0), 200);
                let head = heard(&heads);
                assert_eq!(field(&head, "x-forwarded-for"), Some("192.0.2.7"));
                assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
            }
        }
        // The header shows who it is, and no certificate.
        let unknown = Arc::new(site.ca.client());
        if let Ok(mut client) = Encrypted::behind(&header, &proxy, unknown, "shop.example") {
            let _ = client.0.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client.0.read_exact(&mut [0]).unwrap_err();
        }
    }
    let without = Arc::new(site.ca.client_with(&own));
    assert!(Encrypted::connect(&proxy, without).is_err());
    assert_eq!(heads.try_iter().count(), 0);
}

/// Reads a header of either version: the address and the port that it tells of.
fn told(socket: &mut impl Read) -> String {
    let mut header = vec![0; 16];
    socket.read_exact(&mut header).unwrap();
    if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            header.push(byte[0]);
        }
        let line = String::from_utf8(header).unwrap();
        let words: Vec<_> = line.split(' ').collect();
        return format!("{}:{}", words[2], words[4]);
    }
    assert_eq!(header, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    let mut addresses = [0; 12];
    socket.read_exact(&mut addresses).unwrap();
    let [a, b, c, d, .., e, f, _, _] = addresses;
    format!("{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([e, f]))
}

/// Answers each request with `body`.
fn say(mut socket: impl Read + Write, body: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while socket.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            socket.write_all(ok(body).as_bytes()).unwrap();
            head.clear();
        }
    }
}

/// Likewise, by HTTP/2.
fn say_by_http2(socket: std::net::TcpStream, body: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::TcpStream::from_std(socket).unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let answer = http::Response::builder().header("content-length", body.len());
            let mut stream = respond
                .send_response(answer.body(()).unwrap(), false)
                .unwrap();
            stream.send_data(body.to_owned().into(), true).unwrap();
        }
    });
}

/// Requests of two clients in turn go to this backend, which answers each with the client that it was told of.
fn tells_of_each_client(address: &str, pool: &Value, connections: impl Fn() -> usize) {
    for version in ["v1", "v2"] {
        let before = connections();
        let mut config = web(&[nobody()], pool.clone());
        config["pools"][0]["proxy_protocol"] = json!(version);
        config["pools"][0]["backends"][0]["address"] = json!(address);
        let proxy = Harness::new(options(), &config);
        let mut clients = [proxy.client(), proxy.client()];
        for _ in 0..3 {
            for client in &mut clients {
                let (head, body) = client.get();
                assert_eq!(status(&head), 200, "{head}");
                let own = client.stream.local_addr().unwrap().to_string();
                assert_eq!(body, own, "{version} {pool}");
            }
        }
        // Each client's is kept and serves nobody else.
        assert_eq!(connections() - before, 2, "{version} {pool}");
    }
}

#[test]
fn a_backend_of_tls_is_told_of_each_client_in_front_of_the_handshake() {
    let ca = Authority::new("backends");
    let config = server(&ca, None);
    let backend = Scripted::new(move |peer, _| {
        let told = told(&mut peer.stream);
        let session = ServerConnection::new(config.clone()).unwrap();
        say(
            StreamOwned::new(session, peer.stream.try_clone().unwrap()),
            &told,
        );
    });
    let tls = json!({"tls": {"ca": ca.pem, "server_name": "api.internal"}});
    tells_of_each_client(&backend.address.to_string(), &tls, || backend.connections());
}

#[test]
fn a_backend_of_http2_is_told_of_each_client_by_connections_of_its_own() {
    let backend = Scripted::new(|peer, _| {
        let told = told(&mut peer.stream);
        say_by_http2(peer.stream.try_clone().unwrap(), &told);
    });
    let pool = json!({"protocol": "http2"});
    tells_of_each_client(&backend.address.to_string(), &pool, || {
        backend.connections()
    });
}

#[test]
fn a_backend_behind_a_unix_socket_is_told_of_each_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut socket = socket.unwrap();
            std::thread::spawn(move || {
                let told = told(&mut socket);
                say(socket, &told);
            });
        }
    });
    let address = format!("unix:{}", path.display());
    tells_of_each_client(&address, &json!({}), || connections.load(Ordering::SeqCst));
}
