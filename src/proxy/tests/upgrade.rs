//! Tunnels: when a connection becomes one, what passes, how long it lasts, what is noted.

use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::*;
use crate::telemetry::metrics::BackendError;

const ASK: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: b2s=\r\n\r\n";

/// Switches, then sends back what it is sent, until the client's way ends.
pub(super) fn echo() -> Scripted {
    Scripted::new(|peer, _| {
        peer.head();
        peer.send(SWITCH);
        while peer.pass_back() {}
    })
}

pub(super) fn tunnel(harness: &Harness) -> Peer {
    let mut client = harness.client();
    client.send(ASK);
    assert_eq!(status(&client.head()), 101);
    client
}

fn assert_echoes(client: &mut Peer, text: &str) {
    client.send(text);
    assert_eq!(client.exactly(text.len()), text.as_bytes());
}

#[test]
fn a_deliberate_upgrade_is_passed_on_and_so_is_the_switch() {
    let (sender, heads) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        sender.send(peer.head()).unwrap();
        peer.send(SWITCH);
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send(ASK);
    let head = client.head();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert_eq!(field(&head, "connection"), Some("upgrade"));
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "sec-websocket-accept"), Some("b2s="));
    let head = heads.recv().unwrap();
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "connection"), Some("upgrade"));
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "sec-websocket-key"), Some("a2V5"));
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn an_upgrade_that_is_not_deliberate_or_not_clear_ends_here() {
    let table = [
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nbody",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
    ];
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    for request in table {
        let (head, _) = harness.once(request);
        assert_eq!(status(&head), 200, "{request}");
        let head = heads.recv().unwrap();
        for gone in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(field(&head, gone), None, "{request} as {head}");
        }
    }
}

/// Its own idle timeout is all that ends it.
#[test]
fn a_tunnel_outlives_the_times_of_its_route() {
    let backend = echo();
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["timeouts"] = json!({"try": "200ms", "total": "300ms"});
    let harness = Harness::new(options(), &config);
    let mut client = tunnel(&harness);
    assert_echoes(&mut client, "at once");
    std::thread::sleep(Duration::from_millis(700));
    assert_echoes(&mut client, "later");
}

#[test]
fn what_either_side_sent_ahead_is_passed() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send(format!("{SWITCH}hello"));
        assert_eq!(peer.rest(), "early and late");
        peer.send("bye");
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send(format!("{ASK}early"));
    assert_eq!(status(&client.head()), 101);
    assert_eq!(client.exactly(5), b"hello");
    client.send(" and late");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "bye", "one way has ended, the other goes on");
}

#[test]
fn each_side_may_end_its_way_first() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send(format!("{SWITCH}all I have"));
        peer.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest(), "still listening?");
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = tunnel(&harness);
    assert_eq!(client.rest(), "all I have");
    client.send("still listening?");
    client.stream.shutdown(Shutdown::Write).unwrap();
    backend.wait_for_ended(1);
    let metrics = harness.metrics.backend("web", "b1");
    wait_until(|| metrics.in_flight() == 0);
    assert_eq!(metrics.errors(BackendError::Reset), 0);
}

#[test]
fn a_backend_that_does_not_switch_answers_normally() {
    let backend = Scripted::always(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nno",
    );
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..3 {
        client.send(ASK);
        let (head, body) = client.response();
        assert_eq!((status(&head), body.as_str()), (426, "no"));
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "connection"), Some("upgrade"));
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_switch_to_what_nobody_asked_for_is_502() {
    for fields in [
        "Connection: upgrade\r\nUpgrade: irc\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, irc\r\n",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "",
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
        let backend = Scripted::always(answer);
        let harness = Harness::to(&[backend.address]);
        let (head, _) = harness.once(ASK);
        assert_eq!(status(&head), 502, "{fields}");
        let why = field(&head, "proxy-status");
        assert_eq!(why, Some("synod; error=http_upgrade_failed"));
    }
}

#[test]
fn a_tunnel_in_which_nothing_moves_ends_after_its_time() {
    let backend = echo();
    let pool = json!({"timeouts": {"tunnel_idle": "1s", "stream_idle": "50ms"}});
    let harness = Harness::with_pool(&[backend.address], pool);
    let mut client = tunnel(&harness);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert_echoes(&mut client, "I am here");
    }
    let idle_since = Instant::now();
    assert!(client.is_closed());
    assert!(idle_since.elapsed() >= Duration::from_millis(500));
    backend.wait_for_ended(1);
}

/// A pool `web` of these backends: id, address, and the rest.
fn pool_of(backends: &[(&str, SocketAddr, Value)]) -> Value {
    let backends: Vec<Value> = backends
        .iter()
        .map(|(id, address, more)| {
            let mut backend = json!({"id": id, "address": address.to_string()});
            for (key, value) in more.as_object().into_iter().flatten() {
                backend[key] = value.clone();
            }
            backend
        })
        .collect();
    json!({"pools": [{"name": "web", "balance": "least_connections", "backends": backends}],
           "routes": [{"name": "all", "match": {}, "to": [{"pool": "web"}]}]})
}

#[test]
fn a_tunnel_survives_every_change_but_the_removal_of_its_backend() {
    let (one, other) = (echo(), echo());
    let at = one.address;
    let harness = Harness::new(options(), &pool_of(&[("b1", at, json!({}))]));
    let mut client = tunnel(&harness);
    let also = ("b2", other.address, json!({}));
    for config in [
        pool_of(&[("b1", at, json!({"weight": 7}))]),
        pool_of(&[("b1", at, json!({"weight": 0}))]),
        pool_of(&[("b1", at, json!({"state": "drain"})), also.clone()]),
        pool_of(&[("b1", at, json!({"state": "maint"}))]),
        pool_of(&[also.clone(), ("b1", at, json!({}))]),
    ] {
        harness.publish(&config);
        assert_echoes(&mut client, "still there");
    }
    let mut to_other = tunnel(&harness);
    assert_echoes(&mut to_other, "least connections count a tunnel");
    assert_eq!((one.connections(), other.connections()), (1, 1));
    harness.publish(&pool_of(&[also]));
    assert!(client.is_closed());
    assert_echoes(&mut to_other, "not mine");
    // The same id at another address is another backend.
    harness.publish(&pool_of(&[("b2", at, json!({}))]));
    assert!(to_other.is_closed());
}

#[test]
fn a_backend_that_comes_back_is_as_good_as_new() {
    let backend = echo();
    let config = pool_of(&[("b1", backend.address, json!({}))]);
    let harness = Harness::new(options(), &config);
    let mut client = tunnel(&harness);
    harness.publish(&pool_of(&[]));
    assert!(client.is_closed());
    harness.publish(&config);
    assert_echoes(&mut tunnel(&harness), "a removal does not stick");
}

#[test]
fn a_tunnel_is_in_flight_as_long_as_it_lasts() {
    let backend = echo();
    let harness = Harness::to(&[backend.address]);
    let mut client = tunnel(&harness);
    let metrics = harness.metrics.backend("web", "b1");
    assert_echoes(&mut client, "one");
    harness.settle();
    assert_eq!(metrics.in_flight(), 1);
    assert_eq!(harness.metrics.route("all").requests(100), 1);
    drop(client);
    wait_until(|| metrics.in_flight() == 0);
    backend.wait_for_ended(1);
}

#[test]
fn a_side_that_breaks_takes_the_other_with_it() {
    let backend = Scripted::new(|peer, n| {
        peer.head();
        peer.send(SWITCH);
        if n == 0 {
            peer.exactly(1);
            let socket = socket2::SockRef::from(&peer.stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        } else {
            peer.rest();
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = tunnel(&harness);
    client.send("x");
    assert!(client.is_closed());
    let client = tunnel(&harness);
    let socket = socket2::SockRef::from(&client.stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    backend.wait_for_ended(2);
}

#[test]
fn a_side_that_does_not_read_holds_the_other_up() {
    const WHOLE: usize = 128 * 1024 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.send(SWITCH);
        let piece = [7; 64 * 1024];
        while count.load(Ordering::SeqCst) < WHOLE && peer.try_send(piece) {
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = tunnel(&harness);
    // The backend goes on for as long as anybody takes it, and then stands still.
    let mut before = 0;
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(100));
        let now = sent.load(Ordering::SeqCst);
        let still = now == std::mem::replace(&mut before, now);
        still && now > 0
    });
    assert!(before < WHOLE / 2, "{before} bytes lie somewhere");
    let mut read = 0;
    while read < WHOLE {
        read += client.skip();
    }
    assert_eq!(read, WHOLE);
    assert!(client.is_closed());
}

#[test]
fn a_drain_lets_tunnels_live_to_its_end_and_cuts_them_then() {
    let directory = tempfile::tempdir().unwrap();
    let (logging, path) = logging_to(&directory);
    let backend = echo();
    let harness = Harness::new(logging, &web(&[backend.address], json!({})));
    let mut client = tunnel(&harness);
    assert_echoes(&mut client, "hello");
    let draining = std::thread::spawn(move || harness.drain_within(Duration::from_millis(700)));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        assert_echoes(&mut client, "draining");
    }
    assert_eq!(draining.join().unwrap(), 1);
    client.rest();
    assert_eq!(lines(&path)[0]["reason"], json!("drained"));
}

#[test]
fn the_access_log_tells_how_a_tunnel_ended_and_what_passed() {
    let directory = tempfile::tempdir().unwrap();
    let (logging, path) = logging_to(&directory);
    let backend = echo();
    let pool = json!({"timeouts": {"tunnel_idle": "300ms"}});
    let harness = Harness::new(logging, &web(&[backend.address], pool.clone()));
    let mut client = tunnel(&harness);
    assert_echoes(&mut client, "twelve bytes");
    client.stream.shutdown(Shutdown::Write).unwrap();
    client.rest();
    let metrics = harness.metrics.backend("web", "b1");
    wait_until(|| metrics.in_flight() == 0);
    assert!(tunnel(&harness).is_closed(), "after its idle time");
    let mut removed = tunnel(&harness);
    let empty = pool_of(&[]);
    harness.publish(&empty);
    assert!(removed.is_closed());
    harness.drain();
    let lines = lines(&path);
    let told: Vec<_> = lines.iter().map(|line| &line["reason"]).collect();
    assert_eq!(told, ["complete", "tunnel_idle", "backend_removed"]);
    let first = json!({"method": "GET", "target": "/chat?room=1", "status": 101, "received": 12, "sent": 12,
        "route": "all", "pool": "web", "backend": "b1", "tries": 1});
    for (key, value) in first.as_object().unwrap() {
        assert_eq!(&lines[0][key], value, "{key}");
    }
    assert!(lines[1]["total_us"].as_u64() >= Some(300_000));
}

#[test]
fn a_websocket_client_and_server_understand_each_other_through_the_proxy() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let harness = Harness::to(&[listener.local_addr().unwrap()]);
    let address = harness.address();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() || message.is_binary() {
                    socket.send(message).await.unwrap();
                }
            }
        };
        let client = async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let url = format!("ws://{address}/chat");
            let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
            for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
                let message = Message::Binary(vec![size as u8; size].into());
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message, "{size}");
            }
            socket.send(Message::Ping("p".into())).await.unwrap();
            let pong = socket.next().await.unwrap().unwrap();
            assert_eq!(pong, Message::Pong("p".into()));
            socket.close(None).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        };
        let both = async { tokio::join!(server, client) };
        tokio::time::timeout(Duration::from_secs(20), both)
            .await
            .unwrap();
    });
}
