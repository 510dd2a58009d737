//! The backend all proxies forward to: as little work a request as can be.
//!
//! `/` answers 13 bytes, `/bytes/N` N bytes; a request's body is read and dropped.

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Where it listens.
pub(crate) const ADDRESS: &str = "127.0.0.1:18090";

/// The body of the small answer.
pub(crate) const HELLO: &[u8] = b"Hello, world\n";

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";

/// Answers until killed.
pub(crate) fn run() {
    accept_each(ADDRESS, serve);
}

/// Gives every connection to `address` to a task of its own, on one thread, until killed.
pub(crate) fn accept_each<F>(address: &str, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output: Send> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|fault| panic!("{address}: {fault}"));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    });
}

/// Serves one connection until either side ends it.
async fn serve(mut stream: TcpStream) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        while let Some(end) = memmem::find(&buffer[..filled], b"\r\n\r\n") {
            let head = &buffer[..end + 4];
            let length = body_length(head);
            let answer = Answer::to(head);
            let buffered = (filled - head.len()).min(length);
            let used = head.len() + buffered;
            discard(&mut stream, length - buffered).await?;
            answer.write(&mut stream).await?;
            buffer.copy_within(used..filled, 0);
            filled -= used;
        }
        match stream.read(&mut buffer[filled..]).await {
            Ok(read @ 1..) => filled += read,
            _ => return None,
        }
    }
}

/// What a request is answered.
enum Answer {
    Small,
    Bytes(usize),
}

impl Answer {
    fn to(head: &[u8]) -> Self {
        let asked = head
            .splitn(3, |byte| *byte == b' ')
            .nth(1)
            .and_then(|path| path.strip_prefix(b"/bytes/"))
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        asked.map_or(Self::Small, Self::Bytes)
    }

    async fn write(&self, stream: &mut TcpStream) -> Option<()> {
        match self {
            Self::Small => stream.write_all(SMALL).await.ok(),
            Self::Bytes(length) => {
                let head =
                    format!("HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
                let block = [b'x'; 64 << 10];
                let mut left = *length;
                while left > 0 {
                    let part = left.min(block.len());
                    stream.write_all(&block[..part]).await.ok()?;
                    left -= part;
                }
                Some(())
            }
        }
    }
}

/// The length a head announces: by a field in the spelling of the loads that send bodies, else none.
fn body_length(head: &[u8]) -> usize {
    if head.starts_with(b"GET ") {
        return 0;
    }
    let text = std::str::from_utf8(head).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

async fn discard(stream: &mut TcpStream, mut left: usize) -> Option<()> {
    let mut sink = vec![0; if left > 0 { 64 << 10 } else { 0 }];
    while left > 0 {
        let part = sink.len().min(left);
        match stream.read(&mut sink[..part]).await {
            Ok(read @ 1..) => left -= read,
            _ => return None,
        }
    }
    Some(())
}
