//! A node's process replaced by the next one under load: no request is refused or fails, tunnels live on, and a program
//! that does not come to serve changes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use serde_json::json;
use synod::client::Call;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::backends::Backends;
use crate::encrypted;
use crate::harness::{Cluster, DEADLINE, free_addresses, wait_until};
use crate::load::{Load, OnLoss, get};

/// With settings that end a drain after this.
fn draining_within(within: &str) -> impl Fn(&Path, &str) -> Vec<String> {
    move |data, name| {
        let path = data.join(format!("{name}.toml"));
        std::fs::write(&path, format!("[timeouts]\ndrain = \"{within}\"\n")).unwrap();
        vec![format!("--config={}", path.display())]
    }
}

/// Clients of every kind at one address, until they are ended.
struct Clients {
    kept: Load,
    stop: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<String>>>,
    done: Vec<Arc<AtomicU64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(cluster: &Cluster, at: SocketAddr) -> Self {
        let mut clients = Self {
            kept: Load::start(cluster.runtime(), &[at], 3, OnLoss::Fail),
            stop: Arc::default(),
            failures: Arc::default(),
            done: vec![Arc::default(), Arc::default()],
            tasks: Vec::new(),
        };
        let (stop, failures) = (clients.stop.clone(), clients.failures.clone());
        let done = clients.done[0].clone();
        clients.tasks.push(cluster.runtime().spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                match get(at).await {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    other => failures.lock().unwrap().push(format!("new: {other:?}")),
                }
            }
        }));
        let (stop, failures) = (clients.stop.clone(), clients.failures.clone());
        let done = clients.done[1].clone();
        clients.tasks.push(cluster.runtime().spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if let Err(why) = over_http2(at, &stop, &done).await {
                    failures.lock().unwrap().push(format!("HTTP/2: {why}"));
                }
            }
        }));
        clients
    }

    /// Waits until each kind has had so many more answers.
    fn pass(&self, answers: u64) {
        self.kept.pass(answers);
        for done in &self.done {
            let goal = done.load(Ordering::Relaxed) + answers;
            wait_until("answers", DEADLINE, || {
                (done.load(Ordering::Relaxed) >= goal).then_some(())
            });
        }
    }

    fn stop_without_failure(self, cluster: &Cluster) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            cluster.block_on(task).unwrap();
        }
        let failures = std::mem::take(&mut *self.failures.lock().unwrap());
        assert!(
            failures.is_empty(),
            "{} failed: {:?}",
            failures.len(),
            failures.first()
        );
        self.kept.stop_without_failure(cluster.runtime());
    }
}

/// Requests over one connection, until it says goodbye in order (RFC 9113, 6.8): a connection that is merely cut fails.
async fn over_http2(at: SocketAddr, stop: &AtomicBool, done: &AtomicU64) -> Result<(), String> {
    let mut send = connect_http2(at).await?;
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = std::future::poll_fn(|cx| send.poll_ready(cx)).await {
            return said_goodbye(&error);
        }
        let request = Request::get(format!("http://{at}/")).body(()).unwrap();
        let response = match send.send_request(request, true) {
            Ok((response, _)) => response,
            Err(error) => return said_goodbye(&error),
        };
        let response = response.await.map_err(|error| error.to_string())?;
        let status = response.status();
        let mut body = response.into_body();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(|error| error.to_string())?;
            let _ = body.flow_control().release_capacity(piece.len());
        }
        if status != 200 {
            return Err(status.to_string());
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn connect_http2(at: SocketAddr) -> Result<SendRequest<Bytes>, String> {
    let socket = TcpStream::connect(at)
        .await
        .map_err(|error| error.to_string())?;
    let (send, connection) = h2::client::handshake(socket)
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(send)
}

/// Whether it is a goodbye of the other side, for no error, after which no more is sent.
fn said_goodbye(error: &h2::Error) -> Result<(), String> {
    let orderly = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    (orderly && error.is_remote())
        .then_some(())
        .ok_or_else(|| format!("no goodbye: {error}"))
}

/// A backend that sends back what it is sent.
fn websockets(cluster: &Cluster) -> SocketAddr {
    let listener = cluster.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    cluster.runtime().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

type Socket = WebSocketStream<TcpStream>;

fn open(cluster: &Cluster, at: SocketAddr) -> Socket {
    cluster.block_on(async {
        let stream = TcpStream::connect(at).await.unwrap();
        let url = format!("ws://{at}/chat");
        tokio_tungstenite::client_async(url, stream)
            .await
            .unwrap()
            .0
    })
}

/// A WebSocket over HTTP/2 (RFC 8441), which the proxy makes one of HTTP/1.1.
struct OverHttp2 {
    out: SendStream<Bytes>,
    back: RecvStream,
}

impl OverHttp2 {
    fn open(cluster: &Cluster, at: SocketAddr) -> Self {
        let opened = async {
            let mut send = connect_http2(at).await.unwrap();
            while !send.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
            let mut request = Request::connect(format!("http://{at}/chat"))
                .header("sec-websocket-version", "13")
                .body(())
                .unwrap();
            let protocol = h2::ext::Protocol::from_static("websocket");
            request.extensions_mut().insert(protocol);
            let (response, out) = send.send_request(request, false).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            let back = response.into_body();
            Self { out, back }
        };
        cluster
            .block_on(async { tokio::time::timeout(DEADLINE, opened).await })
            .unwrap()
    }

    fn echoes(&mut self, cluster: &Cluster) {
        // A frame of text, masked by zeros as a client's must be, and as a server's comes.
        let sent = b"\x81\x8c\0\0\0\0still there?";
        let expected = b"\x81\x0cstill there?";
        self.out.send_data(Bytes::from_static(sent), false).unwrap();
        let echoed = async {
            let mut echoed = Vec::new();
            while echoed.len() < expected.len() {
                echoed.extend(self.back.data().await.unwrap().unwrap());
            }
            echoed
        };
        let within = cluster.block_on(async { tokio::time::timeout(DEADLINE, echoed).await });
        assert_eq!(within.unwrap(), expected);
    }

    /// What it ends by: the other side's end of the stream, or its reset.
    fn ends(&mut self, cluster: &Cluster) -> Option<h2::Error> {
        let ended = async {
            loop {
                match self.back.data().await {
                    Some(Ok(piece)) => assert_eq!(piece, "", "nothing is left"),
                    Some(Err(error)) => return Some(error),
                    None => return None,
                }
            }
        };
        let within = cluster.block_on(async { tokio::time::timeout(DEADLINE, ended).await });
        within.unwrap()
    }
}

fn echoes(cluster: &Cluster, socket: &mut Socket) {
    let echoed = async {
        socket.send(Message::text("still there?")).await.unwrap();
        socket.next().await.unwrap().unwrap()
    };
    let within = cluster.block_on(async { tokio::time::timeout(DEADLINE, echoed).await });
    assert_eq!(within.unwrap(), Message::text("still there?"));
}

/// A pool of ordinary backends for everything, and one of WebSocket for `/chat`.
fn serve(cluster: &Cluster) {
    let backends = Backends::start(cluster.runtime(), &["b1", "b2"]);
    cluster.serve_pool("web", &backends.addresses);
    let chat = BTreeMap::from([("c1".to_owned(), websockets(cluster))]);
    let members = json!([{"id": "c1", "address": chat["c1"].to_string()}]);
    let operations = json!([
        {"op": "put", "path": "/pools/chat", "value": {"name": "chat", "backends": members}},
        {"op": "put", "path": "/routes/chat",
         "value": {"name": "chat", "match": {"path": {"prefix": "/chat"}}, "to": [{"pool": "chat"}]}},
    ]);
    let leader = cluster.wait_for_leader();
    let call = Call::new(Method::POST, "/v1/transactions?wait=applied&timeout=10s");
    cluster.call(leader, call.json(operations));
}

fn add_weight(cluster: &Cluster, index: usize, weight: u32) {
    let path = "/v1/pools/web/backends/b1?wait=applied&timeout=10s";
    cluster.call(
        index,
        Call::new(Method::PATCH, path).json(json!({"weight": weight})),
    );
}

#[test]
fn a_lone_node_is_replaced_again_and_again_and_no_request_fails() {
    let mut cluster = Cluster::start_with(1, draining_within("20s"));
    let at = cluster.nodes[0].traffic;
    replace_again_and_again(&mut cluster, at);
}

#[test]
fn a_node_that_speaks_tls_is_replaced_likewise() {
    let at = free_addresses(1)[0];
    let settings = |data: &Path, name: &str| {
        let path = data.join(format!("{name}.toml"));
        let listener = encrypted::listener(data, at);
        std::fs::write(&path, format!("[timeouts]\ndrain = \"20s\"\n{listener}")).unwrap();
        vec![format!("--config={}", path.display())]
    };
    let mut cluster = Cluster::start_with(1, settings);
    cluster.listen_by_settings(0);
    let way = encrypted::way_to(&cluster, at);
    replace_again_and_again(&mut cluster, way);
}

/// Clients of all kinds at `at` are the lone node's.
fn replace_again_and_again(cluster: &mut Cluster, at: SocketAddr) {
    serve(cluster);
    let clients = Clients::start(cluster, at);
    for round in 1..=3 {
        clients.pass(20);
        let mut socket = open(cluster, at);
        echoes(cluster, &mut socket);
        let mut over_http2 = OverHttp2::open(cluster, at);
        over_http2.echoes(cluster);
        let before = cluster.upgrade(0);
        clients.pass(20);
        echoes(cluster, &mut socket);
        over_http2.echoes(cluster);
        assert!(!before.has_ended(), "tunnels are left in it");
        // The new one votes, and the one before is no hindrance.
        cluster.wait_for_leader();
        add_weight(cluster, 0, round + 1);
        cluster.block_on(socket.close(None)).unwrap();
        drop(socket);
        over_http2.echoes(cluster);
        assert!(!before.has_ended(), "a tunnel is left in it");
        over_http2.out.send_data(Bytes::new(), true).unwrap();
        assert!(over_http2.ends(cluster).is_none());
        before.wait();
    }
    clients.stop_without_failure(cluster);
}

#[test]
fn the_leader_of_three_is_replaced_and_what_is_left_of_it_goes_by_newer_configs() {
    let mut cluster = Cluster::start_with(3, draining_within("20s"));
    serve(&cluster);
    for _ in 0..2 {
        let leader = cluster.wait_for_leader();
        let at = cluster.nodes[leader].traffic;
        let clients = Clients::start(&cluster, at);
        clients.pass(20);
        let mut socket = open(&cluster, at);
        echoes(&cluster, &mut socket);
        let before = cluster.upgrade(leader);
        clients.pass(20);
        echoes(&cluster, &mut socket);
        cluster.wait_for_leader();
        add_weight(&cluster, leader, 5);
        echoes(&cluster, &mut socket);
        // Nothing else is left in it, and the removal of its backend ends a tunnel.
        let route = Call::new(Method::PATCH, "/v1/routes/chat");
        cluster.call(leader, route.json(json!({"to": [{"pool": "web"}]})));
        cluster.call(
            leader,
            Call::new(Method::DELETE, "/v1/pools/chat?wait=applied&timeout=10s"),
        );
        let ended = cluster.block_on(async { tokio::time::timeout(DEADLINE, socket.next()).await });
        assert!(!matches!(ended.unwrap(), Some(Ok(_))));
        before.wait();
        clients.stop_without_failure(&cluster);
        serve(&cluster);
    }
}

#[test]
fn a_tunnel_lasts_no_longer_than_the_drain_of_the_process_before() {
    let mut cluster = Cluster::start_with(1, draining_within("1s"));
    serve(&cluster);
    let at = cluster.nodes[0].traffic;
    let mut socket = open(&cluster, at);
    let mut over_http2 = OverHttp2::open(&cluster, at);
    let before = cluster.upgrade(0);
    echoes(&cluster, &mut socket);
    over_http2.echoes(&cluster);
    let reset = over_http2.ends(&cluster).expect("no orderly end");
    assert!(reset.is_reset(), "{reset}");
    before.wait();
    let ended = cluster.block_on(async { tokio::time::timeout(DEADLINE, socket.next()).await });
    assert!(!matches!(ended.unwrap(), Some(Ok(_))));
    echoes(&cluster, &mut open(&cluster, at));
}

/// A program of these lines of shell, by this name.
fn program(cluster: &Cluster, name: &str, lines: &str) -> std::path::PathBuf {
    let path = cluster.data.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).unwrap();
    path
}

#[test]
fn a_program_that_does_not_come_to_serve_leaves_the_old_one_serving_and_voting() {
    let mut cluster = Cluster::start_with(1, draining_within("20s"));
    serve(&cluster);
    let at = cluster.nodes[0].traffic;
    let clients = Clients::start(&cluster, at);
    let ended = |name: &str| cluster.data.path().join(format!("{name}.ended"));
    let failing = [
        ("at-once", "touch $0.ended; exit 7"),
        (
            "when-released",
            "echo prepared >&0; while read -r line; do [ \"$line\" = released ] && break; done; touch $0.ended; exit 7",
        ),
        (
            "with-other-words",
            "touch $0.ended; echo what >&0; sleep 60",
        ),
    ];
    for (round, (name, lines)) in failing.into_iter().enumerate() {
        // What it is told is its own path.
        let lines = lines.replace("$0.ended", &ended(name).display().to_string());
        cluster.point_to(&program(&cluster, name, &lines));
        cluster.signal(0, rustix::process::Signal::USR2);
        wait_until(name, DEADLINE, || ended(name).exists().then_some(()));
        clients.pass(20);
        wait_until("a write", DEADLINE, || {
            let path = "/v1/pools/web/backends/b1";
            let call = Call::new(Method::PATCH, path).json(json!({"weight": round + 2}));
            cluster.try_call(0, call).ok()
        });
    }
    cluster.point_to(Path::new(env!("CARGO_BIN_EXE_synod")));
    wait_until(
        "the ones that failed to be given up",
        Duration::from_secs(30),
        || {
            let answer = cluster.try_call(0, Call::get("/readyz"));
            answer.is_ok().then_some(())
        },
    );
    let before = cluster.upgrade(0);
    clients.pass(20);
    before.wait();
    clients.stop_without_failure(&cluster);
}
