//! As many requests through every node as the machine can do: no voter may take another for dead.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use synod::client::{Call, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::figures::Figure;
use crate::nodes::{COUNT, Nodes, address, traffic};

const TIME: Duration = Duration::from_secs(60);
/// Clients of each node, each with one request after the other.
const CLIENTS: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) async fn saturation(nodes: &Nodes) -> Vec<Figure> {
    let backend = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    serve(&backend.local_addr().expect("it is bound").to_string()).await;
    let backend = tokio::task::spawn_local(answer(backend));
    let done = Rc::<Cell<u64>>::default();
    let clients: Vec<_> = (0..COUNT * CLIENTS)
        .map(|client| tokio::task::spawn_local(ask(client % COUNT, done.clone())))
        .collect();
    let before = nodes.standing().await;
    tokio::time::sleep(TIME).await;
    let after = nodes.standing().await;
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    backend.abort();
    let seconds = TIME.as_secs();
    let what = format!("{seconds} s of {} clients on all nodes", COUNT * CLIENTS);
    vec![
        Figure::new(
            format!("{what}: requests"),
            done.get() as f64 / TIME.as_secs_f64(),
            "/s",
        ),
        Figure::new(
            format!("{what}: elections"),
            after.elections - before.elections,
            "",
        )
        .at_most(0.0),
    ]
}

/// Routes everything to one backend.
async fn serve(backend: &str) {
    let client = Client::new([address(0)], Duration::from_secs(10)).expect("an address");
    let pool = json!({"name": "all", "backends": [{"id": "one", "address": backend}]});
    let route = json!({"name": "all", "to": [{"pool": "all"}]});
    for (path, body) in [
        ("/v1/pools/all?wait=applied", pool),
        ("/v1/routes/all?wait=applied", route),
    ] {
        let call = Call::new(Method::PUT, path).json(body);
        client.call(call).await.expect("it is served");
    }
}

async fn answer(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        tokio::task::spawn_local(async move {
            let mut head = [0; 4096];
            // One request at a time comes on each connection, and fits.
            while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                if stream.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask(node: usize, done: Rc<Cell<u64>>) {
    let mut stream = TcpStream::connect(traffic(node))
        .await
        .expect("the node accepts");
    let mut answer = [0; 4096];
    loop {
        stream.write_all(REQUEST).await.expect("it is kept");
        let mut read = 0;
        while !answer[..read].ends_with(b"\r\n\r\nok") {
            let more = stream.read(&mut answer[read..]).await.expect("it is kept");
            assert!(
                more > 0,
                "ended: {}",
                String::from_utf8_lossy(&answer[..read])
            );
            read += more;
        }
        done.set(done.get() + 1);
    }
}
