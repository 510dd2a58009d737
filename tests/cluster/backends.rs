//! Small backends that say who they are and count what reaches them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A set of running backends; they end with their runtime.
pub(crate) struct Backends {
    pub addresses: BTreeMap<String, SocketAddr>,
    counts: BTreeMap<String, Arc<AtomicU64>>,
}

impl Backends {
    /// Starts a backend for each id.
    pub(crate) fn start(runtime: &tokio::runtime::Runtime, ids: &[&str]) -> Self {
        let mut backends = Self {
            addresses: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        for id in ids {
            backends.add(runtime, id, SocketAddr::from(([127, 0, 0, 1], 0)));
        }
        backends
    }

    /// Starts one more at that address.
    pub(crate) fn add(&mut self, runtime: &tokio::runtime::Runtime, id: &str, at: SocketAddr) {
        let listener = runtime.block_on(TcpListener::bind(at)).unwrap();
        let count = Arc::new(AtomicU64::new(0));
        self.addresses
            .insert(id.into(), listener.local_addr().unwrap());
        self.counts.insert(id.into(), count.clone());
        let body = format!("I am {id}\n");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, body.clone(), count.clone()));
            }
        });
    }

    /// Requests that reached a backend so far.
    pub(crate) fn count(&self, id: &str) -> u64 {
        self.counts[id].load(Ordering::SeqCst)
    }
}

/// Answers every request of a connection alike, and counts them.
pub(crate) async fn answer(mut stream: TcpStream, body: String, count: Arc<AtomicU64>) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut buffer = Vec::new();
    while stream
        .read_buf(&mut buffer)
        .await
        .is_ok_and(|read| read > 0)
    {
        while let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            buffer.drain(..end + 4);
            count.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
