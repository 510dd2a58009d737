//! Clients that write one after the other on a connection they keep.
//!
//! They share the machine with what they measure, so they are as cheap as can be: a request is bytes, of an answer only
//! the status and the end are looked for. The same code asks every system.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::clusters::{Cluster, Wait};

/// The latency of every acknowledged write.
pub(crate) async fn run(
    cluster: &Cluster,
    clients: usize,
    wait: Wait,
    time: Duration,
) -> Vec<Duration> {
    let deadline = Instant::now() + time;
    let local = tokio::task::LocalSet::new();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let (cluster, address) = (cluster.clone(), cluster.address(client));
        tasks.push(local.spawn_local(async move {
            let mut latencies = Vec::new();
            let mut connection = Connection::open(&address).await;
            let mut turn = 0;
            while Instant::now() < deadline {
                let request = cluster.write(client, turn, wait);
                let began = Instant::now();
                connection.ask(&request).await;
                latencies.push(began.elapsed());
                turn += 1;
            }
            latencies
        }));
    }
    local
        .run_until(async move {
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.expect("a client"));
            }
            all
        })
        .await
}

/// One keep-alive connection.
struct Connection {
    stream: TcpStream,
    /// Of the answer under way.
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        let answer = Vec::with_capacity(4096);
        Self { stream, answer }
    }

    /// Returns when the answer is there, to its last byte; it must tell of success.
    async fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect("it reads");
        self.answer.clear();
        while !is_whole(&self.answer) {
            let read = self.stream.read_buf(&mut self.answer).await;
            assert!(read.expect("an answer") > 0, "it closed the connection");
        }
        let shown = || String::from_utf8_lossy(&self.answer);
        assert!(self.answer.starts_with(b"HTTP/1.1 2"), "{}", shown());
    }
}

/// Whether these bytes are an answer with all of its body.
fn is_whole(answer: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(answer).expect("HTTP");
    let httparse::Status::Complete(length) = parsed else {
        return false;
    };
    let body = &answer[length..];
    let value = |name: &str| {
        let mut fields = head.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok()
    };
    match value("content-length") {
        Some(told) => body.len() == told.parse::<usize>().expect("a length"),
        // Nothing of what is asked for here has the end of a chunked body within it.
        None => body.ends_with(b"0\r\n\r\n"),
    }
}
