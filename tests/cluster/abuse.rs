//! Clients that hold what they were given and go no further, and those that flood: each may cost the node so much
//! memory, and no more, and the others not one request.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Cluster, DEADLINE, wait_until};
use crate::load::{Load, OnLoss};

/// A kind of client.
struct Kind {
    name: &'static str,
    clients: usize,
    /// What one of them sends.
    says: fn() -> Vec<u8>,
    /// Requests of it that reach the backend.
    asks: usize,
    /// Whether it waits for an answer, and reads that.
    listens: bool,
    /// Bytes of the node's memory for one of them, at most: half as much again as it takes in a node that is built
    /// without optimizations, or less.
    most: usize,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "heads that do not end",
        clients: 2_000,
        says: || b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: a".to_vec(),
        asks: 0,
        listens: false,
        most: 34_000,
    },
    Kind {
        name: "bodies that do not end",
        clients: 1_000,
        says: || b"POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc".to_vec(),
        asks: 1,
        listens: false,
        most: 35_000,
    },
    Kind {
        name: "connections of HTTP/2 that were used once",
        clients: 2_000,
        says: || [opening(), streams(1, "/")].concat(),
        asks: 1,
        listens: true,
        most: 67_000,
    },
    Kind {
        name: "answers over HTTP/1.1 that nobody reads",
        clients: 300,
        says: || b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        asks: 1,
        listens: false,
        most: 170_000,
    },
    Kind {
        name: "a hundred answers each over HTTP/2 for which there is no room",
        clients: 4,
        says: || [opening(), streams(100, "/large")].concat(),
        asks: 100,
        listens: false,
        most: 5_500_000,
    },
    Kind {
        name: "a hundred answers each over HTTP/2 that nobody reads",
        clients: 4,
        says: || [opening(), open_windows(), streams(100, "/large")].concat(),
        asks: 100,
        listens: false,
        most: 10_500_000,
    },
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What a client of HTTP/2 begins with: the preface and SETTINGS.
fn opening() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(4, 0, 0, &[])].concat()
}

/// What says that there is room for whatever comes: SETTINGS of INITIAL_WINDOW_SIZE, and a WINDOW_UPDATE.
fn open_windows() -> Vec<u8> {
    [
        frame(4, 0, 0, &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]),
        frame(8, 0, 0, &[0x7F, 0, 0, 0]),
    ]
    .concat()
}

/// So many requests over HTTP/2.
fn streams(count: u32, path: &str) -> Vec<u8> {
    (0..count).flat_map(|n| request(n, path)).collect()
}

fn request(n: u32, path: &str) -> Vec<u8> {
    // GET and http, of the static table; an authority and a path.
    let mut block = b"\x82\x86\x41\x01x\x04".to_vec();
    block.push(path.len() as u8);
    block.extend(path.as_bytes());
    // HEADERS that end both the block and the request.
    frame(1, 5, 2 * n + 1, &block)
}

/// What a backend tells of the abuse.
#[derive(Default)]
struct Told {
    /// Requests that came of it.
    asked: AtomicUsize,
    /// Bytes of large answers that went.
    written: AtomicU64,
}

/// A backend that answers `/large` with more than anyone holds, and `/held` never.
fn backend(runtime: &tokio::runtime::Runtime) -> (SocketAddr, Arc<Told>) {
    let listener = runtime
        .block_on(TcpListener::bind(("127.0.0.1", 0)))
        .unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::new(Told::default());
    let tells = told.clone();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What the kernel holds is not what is measured.
            let socket = socket2::SockRef::from(&stream);
            socket.set_send_buffer_size(16 * 1024).unwrap();
            tokio::spawn(serve(stream, tells.clone()));
        }
    });
    (address, told)
}

async fn serve(mut stream: tokio::net::TcpStream, told: Arc<Told>) {
    let mut head = vec![0; 4_096];
    loop {
        let mut filled = 0;
        while !head[..filled].windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut head[filled..]).await {
                Ok(read @ 1..) => filled += read,
                _ => return,
            }
        }
        let path = head.split(|byte| *byte == b' ').nth(1);
        // The load asks too.
        if path != Some(b"/some/path") {
            told.asked.fetch_add(1, Ordering::SeqCst);
        }
        let answer: &[u8] = match path {
            Some(b"/large") => b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n",
            Some(b"/held") => b"",
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        };
        let mut written = stream.write_all(answer).await;
        while path == Some(b"/large") && written.is_ok() {
            written = stream.write(&[b'x'; 16_384]).await.map(|bytes| {
                told.written.fetch_add(bytes as u64, Ordering::SeqCst);
            });
        }
        if written.is_err() {
            return;
        }
    }
}

impl Kind {
    /// So many clients of this kind that have said what they say, and were heard.
    fn clients(&self, count: usize, node: SocketAddr, load: &Load, told: &Told) -> Vec<TcpStream> {
        let goal = told.asked.load(Ordering::SeqCst) + count * self.asks;
        let says = (self.says)();
        let mut clients: Vec<TcpStream> = (0..count)
            .map(|_| {
                let mut client = TcpStream::connect(node).unwrap();
                client.set_read_timeout(Some(DEADLINE)).unwrap();
                client.write_all(&says).unwrap();
                client
            })
            .collect();
        wait_until(self.name, DEADLINE, || {
            (told.asked.load(Ordering::SeqCst) >= goal).then_some(())
        });
        for client in clients.iter_mut().filter(|_| self.listens) {
            // Its settings, their acknowledgement, and the answer.
            let mut heard = Vec::new();
            while !heard.ends_with(b"ok") {
                let mut piece = [0; 1_024];
                let read = client.read(&mut piece).unwrap();
                assert!(read > 0, "{}: it ended", self.name);
                heard.extend_from_slice(&piece[..read]);
            }
        }
        wait_until("nothing more goes", DEADLINE, || {
            let before = told.written.load(Ordering::SeqCst);
            (0..2).for_each(|_| load.pass(100));
            (told.written.load(Ordering::SeqCst) == before).then_some(())
        });
        clients
    }
}

#[test]
fn clients_that_go_no_further_cost_so_much_memory_and_no_more() {
    let mut faults = Vec::new();
    for kind in KINDS {
        let cluster = Cluster::start(1);
        let (address, told) = backend(cluster.runtime());
        cluster.serve_pool("web", &[("b1".to_owned(), address)].into());
        let node = cluster.nodes[0].traffic;
        let load = Load::start(cluster.runtime(), &[node], 4, OnLoss::Fail);
        // What the first of them make is not counted.
        let early = kind.clients(kind.clients / 20 + 1, node, &load, &told);
        let before = cluster.resident_bytes(0);
        let held = kind.clients(kind.clients, node, &load, &told);
        let each = cluster.resident_bytes(0).saturating_sub(before) / kind.clients;
        load.stop_without_failure(cluster.runtime());
        if each > kind.most {
            let (name, most) = (kind.name, kind.most);
            faults.push(format!("{name}: {each} bytes each, and not {most}"));
        }
        drop((early, held));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a client may flood a connection of HTTP/2 with, until it is ended.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let reset = |n| [request(n, "/held"), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat();
    // A value of 4,000 bytes that the table remembers, and as many times as a frame has room for.
    let mut bomb = b"\x82\x86\x41\x01x\x84\x40\x01a\x7F\xA1\x1E".to_vec();
    bomb.extend([b'v'; 4_000]);
    bomb.resize(16_000, 0xBE);
    let bombs = (0..200).flat_map(|n| frame(1, 5, 2 * n + 1, &bomb));
    let small = |kind, bytes: usize| frame(kind, 0, 0, &vec![0; bytes]);
    let more = frame(9, 0, 1, &[b"\x00\x01a\x01b".as_slice(); 20].concat());
    vec![
        ("resets", (0..2_000).flat_map(reset).collect()),
        (
            "a head without end",
            [frame(1, 0, 1, b"\x82\x86\x84"), more.repeat(5_000)].concat(),
        ),
        ("heads that grow", bombs.collect()),
        ("settings", small(4, 0).repeat(20_000)),
        ("pings", small(6, 8).repeat(20_000)),
    ]
}

/// Of a node's memory, for all floods of a kind together.
const MOST_OF_FLOODS: usize = 12 << 20;

#[test]
fn floods_cost_others_no_request_and_leave_no_memory_behind() {
    let cluster = Cluster::start(1);
    let (address, _) = backend(cluster.runtime());
    cluster.serve_pool("web", &[("b1".to_owned(), address)].into());
    let node = cluster.nodes[0].traffic;
    let load = Load::start(cluster.runtime(), &[node], 4, OnLoss::Fail);
    load.pass(100);
    let before = cluster.resident_bytes(0);
    for (name, flood) in floods() {
        let ended = cluster.metric(0, "synod_refusals_total");
        let flood = [opening(), flood].concat();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..50).for_each(|_| pour(node, &flood)));
            }
        });
        load.pass(20);
        let grown = cluster.resident_bytes(0).saturating_sub(before);
        assert!(grown < MOST_OF_FLOODS, "{name}: {grown} bytes");
        let ended = cluster.metric(0, "synod_refusals_total") - ended;
        assert!(ended >= 100.0, "{name}: {ended} of 100 were ended");
    }
    load.stop_without_failure(cluster.runtime());
}

/// Sends all of it, as far as it is taken, and reads to the end.
fn pour(node: SocketAddr, flood: &[u8]) {
    let mut client = TcpStream::connect(node).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reading = client.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut scrap = [0; 16_384];
            while matches!(reading.read(&mut scrap), Ok(1..)) {}
        });
        // It ends where the node has enough.
        let _ = client.write_all(flood);
    });
}
