//! Memory that a keep-alive connection costs while it is idle.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::SETTLE;
use crate::process::Pinned;
use crate::proxies;

/// KiB a connection, each having been used for one request first.
pub(super) fn kib_per_connection(proxy: &Pinned, connections: usize) -> f64 {
    // Warm up, so that what is allocated once is not counted.
    drop(open(200));
    std::thread::sleep(SETTLE);
    let before = proxy.memory_kib();
    let held = open(connections);
    std::thread::sleep(SETTLE);
    let after = proxy.memory_kib();
    let count = held.len() as f64;
    after.saturating_sub(before) as f64 / count
}

fn open(count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(proxies::LISTEN).expect("the proxy accepts");
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: idle\r\n\r\n")
                .expect("the proxy reads");
            let mut answer = [0; 2048];
            let read = stream.read(&mut answer).expect("the proxy answers");
            assert!(
                answer[..read].starts_with(b"HTTP/1.1 200"),
                "an answer of 200"
            );
            stream
        })
        .collect()
}
