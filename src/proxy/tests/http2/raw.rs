//! A client of HTTP/2 that sends whatever frames a test likes, right or wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::proxy::tests::harness::Harness;
use crate::proxy::tests::tls::Site;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS; of SETTINGS and PING the same bit is ACK.
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

/// Of RST_STREAM and GOAWAY (RFC 9113, 7).
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const COMPRESSION_ERROR: u32 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

pub(in crate::proxy::tests) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What came of a connection's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// A stream was reset with this code.
    Reset(u32),
    /// The connection was ended with this code.
    GoAway(u32),
    /// The connection was ended with any code of an error.
    Ended,
    /// The connection ended without a word.
    Closed,
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field as a literal that no table remembers, without Huffman coding.
pub(super) fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        match text.len() {
            n @ ..127 => bytes.push(n as u8),
            n => {
                bytes.push(127);
                let mut left = n - 127;
                while left >= 128 {
                    bytes.push((left % 128) as u8 | 128);
                    left /= 128;
                }
                bytes.push(left as u8);
            }
        }
        bytes.extend_from_slice(text);
    }
    bytes
}

/// As [`literal`], for the dynamic table.
pub(super) fn remembered(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = literal(name, value);
    bytes[0] = 0x40;
    bytes
}

/// The block of these fields.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| literal(name, value);
    fields.iter().flat_map(field).collect()
}

/// The pseudo-header fields of a request.
pub(super) fn pseudo(method: &str) -> Vec<u8> {
    block(&[
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "x"),
    ])
}

pub(super) fn get_block() -> Vec<u8> {
    pseudo("GET")
}

/// A whole request without a body.
pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, get_block())
}

/// A request's head; its body is to follow.
pub(super) fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, pseudo("POST"))
}

impl Outcome {
    /// Whether this is what `expected` asks for.
    pub(super) fn is(self, expected: Self) -> bool {
        self == expected || expected == Self::Ended && matches!(self, Self::GoAway(1..))
    }
}

/// A connection.
pub(super) struct Raw(Box<dyn Wire>);

/// What carries it.
trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

impl Raw {
    /// Both sides have said what they must first.
    pub(super) fn connect(proxy: &Harness) -> Self {
        Self::silent(proxy).greeted()
    }

    /// The same over TLS.
    pub(super) fn encrypted(site: &Site, proxy: &Harness) -> Self {
        Self::silent_over_tls(site, proxy).greeted()
    }

    pub(super) fn silent_over_tls(site: &Site, proxy: &Harness) -> Self {
        Self(Box::new(site.http2(proxy).0))
    }

    fn greeted(mut self) -> Self {
        self.send(PREFACE);
        self.send(frame(SETTINGS, 0, 0, []));
        let (kind, flags, ..) = self.frame().unwrap();
        assert_eq!((kind, flags), (SETTINGS, 0));
        self
    }

    pub(super) fn silent(proxy: &Harness) -> Self {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self(Box::new(stream))
    }

    /// The other side may have ended already.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes);
    }

    /// Whether the other side may still take them.
    pub(super) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// Kind, flags, stream and payload of the next frame; none at the end.
    pub(super) fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let [a, b, c, kind, flags, d, e, f, g] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.read(&mut payload)?;
        Some((kind, flags, u32::from_be_bytes([d, e, f, g]), payload))
    }

    fn read(&mut self, to: &mut [u8]) -> Option<()> {
        match self.0.read_exact(to) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("waited in vain")
            }
            Err(_) => None,
        }
    }

    /// Reads until it is clear what came of what was sent.
    pub(super) fn outcome(&mut self) -> Outcome {
        let code = |payload: &[u8]| u32::from_be_bytes(payload.try_into().unwrap());
        while let Some((kind, _, _, payload)) = self.frame() {
            match kind {
                HEADERS => return Outcome::Status(status_of(&payload)),
                RST_STREAM => return Outcome::Reset(code(&payload)),
                GOAWAY => return Outcome::GoAway(code(&payload[4..8])),
                _ => {}
            }
        }
        Outcome::Closed
    }
}

/// The status in front of the first block of a connection.
pub(super) fn status_of(block: &[u8]) -> u16 {
    const COMMON: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        // The table's size, first of all.
        [0x20..=0x3F, rest @ ..] => status_of(rest),
        [indexed @ 0x88..=0x8E, ..] => COMMON[usize::from(indexed - 0x88)],
        [0x48 | 0x08, length, text @ ..] if length & 0x80 == 0 => {
            let text = &text[..usize::from(*length)];
            std::str::from_utf8(text).unwrap().parse().unwrap()
        }
        [0x48 | 0x08, length, text @ ..] => digits(&text[..usize::from(length & 0x7F)]),
        _ => panic!("no status in {block:x?}"),
    }
}

/// Three digits in the Huffman code (RFC 7541, appendix B): 0, 1, 2 have five bits, the others six.
fn digits(coded: &[u8]) -> u16 {
    let bit = |at: usize| u16::from(coded[at / 8] >> (7 - at % 8) & 1);
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = (at..at + 5).fold(0, |code, at| code << 1 | bit(at));
        let (digit, bits) = match five {
            0..=2 => (five, 5),
            _ => ((five << 1 | bit(at + 5)) - 0b01_1001 + 3, 6),
        };
        number = number * 10 + digit;
        at += bits;
    }
    number
}
