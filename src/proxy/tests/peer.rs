//! One end of a connection, whose reads end after a few seconds.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::harness::field;

/// For whatever is to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// One end of a connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    pub(super) fn from(stream: TcpStream) -> Self {
        Self::new(stream)
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(super) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// The same connection, for a thread that only sends.
    pub(super) fn connect_clone(other: &Self) -> Self {
        Self::new(other.stream.try_clone().unwrap())
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// As `send`, where the other side may have gone.
    pub(super) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // A read with a timeout does not go on by itself when the process was stopped meanwhile.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(),
            Err(error) => panic!(
                "read: {error}; have {:?}",
                String::from_utf8_lossy(&self.buffer)
            ),
        }
    }

    /// Up to and with `end`; `None` if the connection ends before.
    pub(super) fn try_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end.as_bytes()) {
                let taken: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&taken).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    pub(super) fn until(&mut self, end: &str) -> String {
        self.try_until(end)
            .unwrap_or_else(|| panic!("ended before {end:?}: {:?}", self.buffer))
    }

    /// A head, with its blank line.
    pub(super) fn head(&mut self) -> String {
        self.until("\r\n\r\n")
    }

    pub(super) fn exactly(&mut self, n: usize) -> Vec<u8> {
        self.try_exactly(n)
            .unwrap_or_else(|| panic!("ended after {} of {n} bytes", self.buffer.len()))
    }

    /// The next `n` bytes; `None` if the connection ends before.
    pub(super) fn try_exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < n {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..n).collect())
    }

    /// Everything to the end of the connection.
    pub(super) fn rest(&mut self) -> String {
        while self.fill() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// A response with Content-Length (or none): head and body.
    pub(super) fn response(&mut self) -> (String, String) {
        let head = self.head();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.exactly(length);
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    /// Reads once and sends it back; false at the end of the connection.
    pub(super) fn pass_back(&mut self) -> bool {
        if self.buffer.is_empty() && !self.fill() {
            return false;
        }
        let taken = std::mem::take(&mut self.buffer);
        self.try_send(taken)
    }

    /// Reads some and forgets it; tells how much.
    pub(super) fn skip(&mut self) -> usize {
        assert!(!self.buffer.is_empty() || self.fill(), "ended too early");
        std::mem::take(&mut self.buffer).len()
    }

    /// Whether the connection, with nothing more to read, ends by a reset.
    pub(super) fn ends_by_reset(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(0) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// The answer to a request for `/`, which leaves the connection open.
    pub(super) fn get(&mut self) -> (String, String) {
        self.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        self.response()
    }
}
