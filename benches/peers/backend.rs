//! The backend all proxies forward to: as little work a request as can be.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Where it listens.
pub(crate) const ADDRESS: &str = "127.0.0.1:18090";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";

/// Answers every head with the same bytes, until killed.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(ADDRESS)
            .await
            .expect("the backend's port is free");
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 << 10];
                // Proxies send a small head in one write, so one read holds whole heads.
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let heads = buffer[..read]
                        .windows(4)
                        .filter(|window| *window == b"\r\n\r\n")
                        .count();
                    for _ in 0..heads {
                        if stream.write_all(ANSWER).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}
