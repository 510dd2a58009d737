//! WebSocket over HTTP/2 (RFC 8441): from clients, to backends, and between the two versions.

mod life;

use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::backend::Backend;
use super::client::*;
use crate::proxy::tests::harness::*;
use crate::wire::websocket;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What switches as `head` asks.
fn switch(head: &str) -> String {
    let key = field(head, "sec-websocket-key").expect("a key");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        websocket::accept(key.as_bytes())
    )
}

/// Switches, and runs `then`.
fn switching(then: impl Fn(&mut Peer, usize) + Send + Sync + 'static) -> Scripted {
    Scripted::new(move |peer, n| {
        let head = peer.head();
        peer.send(switch(&head));
        then(peer, n);
    })
}

/// Switches, then sends back what it is sent, until the client's way ends.
fn echo() -> Scripted {
    switching(|peer, _| while peer.pass_back() {})
}

fn chat() -> Request<()> {
    let request = Request::get("http://x/chat?room=1");
    let request = request.header("sec-websocket-version", "13");
    request
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
}

/// Both ways of a tunnel that is open.
struct Tunnel {
    out: SendStream<Bytes>,
    back: RecvStream,
}

impl Tunnel {
    async fn open(client: &mut Client) -> Self {
        let (response, out) = client.connect_to(chat(), "websocket").await;
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let back = response.into_body();
        Self { out, back }
    }

    async fn echoes(&mut self, text: &'static str) {
        push(&mut self.out, Bytes::from_static(text.as_bytes()), false).await;
        assert_eq!(self.exactly(text.len()).await, text.as_bytes());
    }

    async fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < n {
            let piece = self.back.data().await.expect("more").unwrap();
            self.back
                .flow_control()
                .release_capacity(piece.len())
                .unwrap();
            read.extend_from_slice(&piece);
        }
        assert_eq!(read.len(), n);
        read
    }

    /// Has nothing more to read, and its other side ended in order.
    async fn ends(&mut self) {
        assert_eq!(text(&mut self.back).await, "");
    }

    fn end(&mut self) {
        self.out.send_data(Bytes::new(), true).unwrap();
    }

    /// By what it is reset, with nothing left to read.
    async fn reason(&mut self) -> Option<Reason> {
        self.back
            .data()
            .await
            .expect("no orderly end")
            .unwrap_err()
            .reason()
    }

    /// As a socket.
    fn socket(self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        carry(self.out, self.back, far);
        near
    }
}

/// Carries what passes over a stream to `far` and back, until both have ended.
fn carry(mut out: SendStream<Bytes>, mut back: RecvStream, far: DuplexStream) {
    let (mut read, mut write) = tokio::io::split(far);
    tokio::spawn(async move {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(n @ 1..) = read.read(&mut piece).await {
            push(&mut out, Bytes::copy_from_slice(&piece[..n]), false).await;
        }
        let _ = out.send_data(Bytes::new(), true);
    });
    tokio::spawn(async move {
        while let Some(Ok(piece)) = back.data().await {
            back.flow_control().release_capacity(piece.len()).unwrap();
            if write.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
}

/// A backend of HTTP/2 that takes extended CONNECT.
fn tunnelling<F: Future<Output = ()> + Send + 'static>(
    handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
) -> Backend {
    let mut builder = Builder::new();
    builder.enable_connect_protocol();
    Backend::with(builder, usize::MAX, handler)
}

fn success() -> Response<()> {
    Response::builder()
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
}

/// It sends back what it is sent.
fn echo_over_http2() -> Backend {
    tunnelling(|request, mut respond| async move {
        let mut out = respond.send_response(success(), false).unwrap();
        let mut back = request.into_body();
        while let Some(Ok(piece)) = back.data().await {
            back.flow_control().release_capacity(piece.len()).unwrap();
            push(&mut out, piece, false).await;
        }
        let _ = out.send_data(Bytes::new(), true);
    })
}

fn http2() -> Value {
    json!({"protocol": "http2"})
}

#[test]
fn an_extended_connect_is_an_upgrade_to_a_backend_of_http1() {
    let (sender, heads) = mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        let head = peer.head();
        peer.send(switch(&head));
        sender.send(head).unwrap();
        while peer.pass_back() {}
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut request = chat();
        let own = "AAAAAAAAAAAAAAAAAAAAAA==".parse().unwrap();
        request.headers_mut().insert("sec-websocket-key", own);
        let (response, out) = client.connect_to(request, "websocket").await;
        let (head, back) = response.await.unwrap().into_parts();
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers["sec-websocket-protocol"], "chat");
        for gone in [
            "sec-websocket-accept",
            "upgrade",
            "connection",
            "content-length",
        ] {
            assert!(!head.headers.contains_key(gone), "{gone}");
        }
        let mut tunnel = Tunnel { out, back };
        tunnel.echoes("hello").await;
        // Requests go on beside it.
        let metrics = proxy.metrics.backend("web", "b1");
        assert_eq!(metrics.in_flight(), 1);
        tunnel.end();
        tunnel.ends().await;
        wait_until(|| metrics.in_flight() == 0);
    }));
    assert_eq!(proxy.metrics.route("all").requests(100), 1);
    let head = heads.recv().unwrap();
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "x"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("x-forwarded-for", "127.0.0.1"),
        ("via", "2.0 synod"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert_eq!(head.matches("sec-websocket-key").count(), 1, "{head}");
    assert!(
        !head.contains("AAAAAAAA"),
        "a key of the proxy's own: {head}"
    );
}

#[test]
fn each_side_may_end_its_way_first_and_send_ahead() {
    let backend = Scripted::new(|peer, n| {
        let head = peer.head();
        peer.send(format!("{}hello", switch(&head)));
        if n == 0 {
            assert_eq!(peer.rest(), "early and late");
            peer.send("bye");
        } else {
            peer.stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(peer.rest(), "still listening?");
        }
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut out) = client.connect_to(chat(), "websocket").await;
        push(&mut out, Bytes::from("early"), false).await;
        let back = response.await.unwrap().into_body();
        let mut tunnel = Tunnel { out, back };
        assert_eq!(tunnel.exactly(5).await, b"hello");
        push(&mut tunnel.out, Bytes::from(" and late"), true).await;
        assert_eq!(text(&mut tunnel.back).await, "bye");

        let mut tunnel = Tunnel::open(&mut client).await;
        assert_eq!(text(&mut tunnel.back).await, "hello");
        push(&mut tunnel.out, Bytes::from("still listening?"), true).await;
    }));
    backend.wait_for_ended(2);
}

#[test]
fn an_answer_that_does_not_switch_is_passed_on_and_nothing_behind_it_is_a_request() {
    let (sender, heads) = mpsc::channel();
    let (sent, wait_for_sent) = mpsc::channel();
    let wait_for_sent = Mutex::new(wait_for_sent);
    let backend = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            if head.starts_with("GET /chat") {
                // An answer ends the stream, and with it the client's way to send.
                wait_for_sent.lock().unwrap().recv().unwrap();
            }
            sender.send(head).unwrap();
            peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut out) = client.connect_to(chat(), "websocket").await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        push(&mut out, Bytes::from(smuggled), false).await;
        sent.send(()).unwrap();
        let (head, body, _) = whole(response).await;
        assert_eq!((head.status().as_u16(), body.as_str()), (403, "no"));
        assert_eq!(client.get("/after").await.0, 403);
    }));
    assert!(heads.recv().unwrap().starts_with("GET /chat"));
    assert!(heads.recv().unwrap().starts_with("GET /after"));
}

#[test]
fn what_the_client_would_take_for_a_switch_and_is_none_is_502() {
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (answer, status) in [
        (
            ok("I know of no upgrade"),
            "synod; error=http_upgrade_failed; details=\"not_switched\"",
        ),
        (wrong.to_owned(), "synod; error=http_upgrade_failed"),
    ] {
        let backend = Scripted::always(answer);
        let proxy = Harness::to(&[backend.address]);
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let (response, _out) = client.connect_to(chat(), "websocket").await;
            let (head, _, _) = whole(response).await;
            assert_eq!(head.status(), 502);
            assert_eq!(head.headers()["proxy-status"], status);
        }));
    }
}

#[test]
fn an_answer_of_the_routes_own_is_no_switch_either() {
    let backend = Scripted::named("not asked");
    for (status, expected) in [(200, 502), (404, 404)] {
        let mut config = web(&[backend.address], json!({}));
        config["routes"][0]["respond"] = json!({"status": status, "body": "hello"});
        let proxy = Harness::new(options(), &config);
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let (response, _out) = client.connect_to(chat(), "websocket").await;
            let (head, _, _) = whole(response).await;
            assert_eq!(head.status(), expected);
        }));
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn an_unknown_protocol_is_501_and_one_that_is_no_name_is_malformed() {
    let (backend, _heads) = recording();
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for unknown in ["connect-udp", "h2c", "webtransport"] {
            let (response, _out) = client.connect_to(chat(), unknown).await;
            let (head, _, _) = whole(response).await;
            assert_eq!(head.status(), 501, "{unknown}");
            let why = "synod; error=http_request_error; details=\"unknown_protocol\"";
            assert_eq!(head.headers()["proxy-status"], why);
        }
        for none in ["web socket", "x\r\nx-smuggled: 1", "websocket, irc"] {
            let (response, _out) = client.connect_to(chat(), none).await;
            let error = response.await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{none:?}");
        }
    }));
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_handshake_goes_to_a_backend_of_http2_as_an_extended_connect() {
    let (sender, heads) = mpsc::channel();
    let backend = tunnelling(move |request, mut respond| {
        let sender = sender.clone();
        async move {
            let (head, mut back) = request.into_parts();
            sender.send(head).unwrap();
            let mut out = respond.send_response(success(), false).unwrap();
            let said = text(&mut back).await;
            push(&mut out, Bytes::from(format!("you said {said}")), true).await;
        }
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    let mut client = proxy.client();
    client.send(ASK);
    let head = client.head();
    assert_eq!(status(&head), 101, "{head}");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    client.send("hello");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "you said hello");
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut tunnel = Tunnel::open(&mut client).await;
        push(&mut tunnel.out, Bytes::from("hi"), true).await;
        assert_eq!(text(&mut tunnel.back).await, "you said hi");
    }));
    for _ in 0..2 {
        let head = heads.recv().unwrap();
        assert_eq!(head.method, Method::CONNECT);
        let protocol = head.extensions.get::<h2::ext::Protocol>().unwrap();
        assert_eq!(protocol.as_str(), "websocket");
        assert!(
            head.uri.to_string().starts_with("http://x/chat"),
            "{}",
            head.uri
        );
        assert_eq!(head.headers["sec-websocket-version"], "13");
        assert!(!head.headers.contains_key("sec-websocket-key"));
    }
    assert_eq!(backend.connections(), 1, "tunnels share a connection");
}

#[test]
fn a_backend_of_http2_may_refuse_a_tunnel_or_not_know_of_any() {
    let refusing = tunnelling(|_, mut respond| async move {
        let response = Response::builder().status(403).body(()).unwrap();
        let mut out = respond.send_response(response, false).unwrap();
        out.send_data("no".into(), true).unwrap();
    });
    let unaware = Backend::new(|_, _| async { panic!("it was asked all the same") });
    let why = "synod; error=http_upgrade_failed; details=\"no_extended_connect\"";
    for (backend, status, body, why) in [
        (refusing.address, 403, "no", None),
        (
            unaware.address,
            502,
            "The backend takes no WebSocket over HTTP/2.\n",
            Some(why),
        ),
    ] {
        let proxy = Harness::with_pool(&[backend], http2());
        let (head, told) = proxy.once(ASK);
        assert_eq!(
            crate::proxy::tests::harness::status(&head),
            status,
            "{head}"
        );
        assert_eq!(field(&head, "proxy-status"), why);
        if why.is_some() {
            assert_eq!(told, body);
        }
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let (response, _out) = client.connect_to(chat(), "websocket").await;
            let (head, told, _) = whole(response).await;
            assert_eq!((head.status().as_u16(), told.as_str()), (status, body));
        }));
        let errors = proxy.metrics.backend("web", "b1");
        assert_eq!(
            errors.errors(crate::telemetry::metrics::BackendError::Reset),
            0
        );
    }
}

#[test]
fn websocket_is_understood_between_every_two_versions() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
        mut socket: WebSocketStream<S>,
    ) {
        for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
            let message = Message::Binary(vec![size as u8; size].into());
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message, "{size}");
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    }

    async fn listen<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
        mut socket: WebSocketStream<S>,
    ) {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    }

    let over_http2 = tunnelling(|request, mut respond| async move {
        let out = respond.send_response(Response::new(()), false).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        carry(out, request.into_body(), far);
        listen(WebSocketStream::from_raw_socket(near, Role::Server, None).await).await;
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let over_http1 = listener.local_addr().unwrap();
    for (backend, pool) in [(over_http1, json!({})), (over_http2.address, http2())] {
        let proxy = Harness::with_pool(&[backend], pool);
        let listener = listener.try_clone().unwrap();
        proxy.runtime.block_on(soon(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let server = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let accepted = tokio_tungstenite::accept_async(stream).await;
                    tokio::spawn(listen(accepted.unwrap()));
                }
            });
            let stream = tokio::net::TcpStream::connect(proxy.address()).await;
            let url = format!("ws://{}/chat", proxy.address());
            let client = tokio_tungstenite::client_async(url, stream.unwrap()).await;
            talk(client.unwrap().0).await;
            let mut client = Client::connect(&proxy).await;
            let socket = Tunnel::open(&mut client).await.socket();
            talk(WebSocketStream::from_raw_socket(socket, Role::Client, None).await).await;
            server.abort();
        }));
    }
}
