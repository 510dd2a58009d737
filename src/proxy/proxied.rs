//! The PROXY protocol, versions 1 and 2: who is connected, told in front of a connection.
//!
//! In from trusted proxies only, and never a byte too much is read: what follows may be a TLS handshake. Out to the
//! backends of pools that ask for it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncRead, ReadBuf};

use super::connection::Client;
use crate::backend::Origin;
use crate::config::ProxyProtocol;
use crate::wire::stream::Stream;

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// No header of either version is shorter.
const SHORTEST: usize = 15;
/// The fixed part of version 2; the length of the rest stands in its last two bytes.
const FIXED: usize = 16;
/// The longest line of version 1.
const LONGEST_LINE: usize = 107;
/// The longest header taken of version 2: addresses, and what a proxy may say besides.
const LONGEST: usize = 2 * 1024;

/// The type of a checksum among what version 2 says besides.
const CHECKSUM: u8 = 0x03;

/// Reads the header of a connection from a trusted peer; nobody else is expected, or believed, to send one. False if
/// it is missing or malformed, and the connection of no use.
pub(crate) async fn accept(client: &mut Client) -> bool {
    if !client.listener.trusts(client.peer) {
        return true;
    }
    let mut header = Vec::with_capacity(LONGEST_LINE);
    let Client {
        stream, deadline, ..
    } = &mut *client;
    let read = deadline.bound(|cx| poll_header(stream, &mut header, cx));
    match read.await {
        Ok(Ok(Some(origin))) => {
            client.peer = origin.source.ip().to_canonical();
            client.preamble_mut().origin = Some(origin);
            true
        }
        // The proxy itself speaks: to see whether somebody is here, say.
        Ok(Ok(None)) => true,
        Ok(Err(error)) => {
            tracing::debug!(peer = %client.peer, %error, "no PROXY header");
            client.worker.shared.listener.refused("proxy_protocol");
            false
        }
        Err(_) => false,
    }
}

fn poll_header(
    stream: &mut Stream,
    header: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<Origin>>> {
    loop {
        let missing = missing(header)?;
        if missing == 0 {
            return Poll::Ready(parse(header));
        }
        let mut piece = [0; LONGEST];
        let mut buffer = ReadBuf::new(&mut piece[..missing]);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        header.extend_from_slice(buffer.filled());
    }
}

/// How many bytes certainly still belong to the header; 0 when it is whole.
fn missing(header: &[u8]) -> io::Result<usize> {
    let begins = |with: &[u8]| {
        let seen = header.len().min(with.len());
        header[..seen] == with[..seen]
    };
    let (line, binary) = (begins(WORD), begins(SIGNATURE));
    match header.len() {
        _ if !line && !binary => Err(malformed()),
        n if n < SHORTEST => Ok(SHORTEST - n),
        _ if line && header.ends_with(b"\r\n") => Ok(0),
        n if line && n < LONGEST_LINE => Ok(1),
        n if binary && n < FIXED => Ok(FIXED - n),
        n if binary => {
            let whole = FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
            match whole <= LONGEST {
                true => Ok(whole.saturating_sub(n)),
                false => Err(malformed()),
            }
        }
        _ => Err(malformed()),
    }
}

/// Whom a whole header names, if anybody.
fn parse(header: &[u8]) -> io::Result<Option<Origin>> {
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    let (parsed, _) = ProxyHeader::parse(header, config).map_err(|_| malformed())?;
    if !is_strict(header) {
        return Err(malformed());
    }
    let named = parsed.proxied_address();
    let named = named.filter(|named| named.protocol == Protocol::Stream);
    Ok(named.map(|named| Origin {
        source: named.source,
        destination: named.destination,
    }))
}

/// Whether it is so beyond what the parser looks at: what one reads here another might read otherwise.
fn is_strict(header: &[u8]) -> bool {
    match header.starts_with(SIGNATURE) {
        true => is_whole(header),
        false => has_plain_ports(header),
    }
}

/// Whether the ports of version 1, the last two words, are of digits alone, without zeros ahead.
fn has_plain_ports(header: &[u8]) -> bool {
    let line = header.strip_suffix(b"\r\n").unwrap_or(header);
    let plain = |port: &[u8]| {
        port.iter().all(u8::is_ascii_digit) && (port.len() == 1 || !port.starts_with(b"0"))
    };
    line.starts_with(b"PROXY UNKNOWN") || line.rsplit(|byte| *byte == b' ').take(2).all(plain)
}

/// Whether all that version 2 says besides the addresses ends where the header does, and its checksum, where it has
/// one, is right: CRC32c over the header with zeros in its place. What comes with LOCAL is not looked at.
fn is_whole(header: &[u8]) -> bool {
    if header[12] & 0x0F == 0 {
        return true;
    }
    let addresses = match header[13] >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let mut at = FIXED + addresses;
    while let Some([kind, high, low]) = header.get(at..at + 3) {
        let end = at + 3 + usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == CHECKSUM && end == at + 7 {
            let Some(told) = header.get(at + 3..end) else {
                return false;
            };
            let sum = crc32c::crc32c(&header[..at + 3]);
            let sum = crc32c::crc32c_append(sum, &[0; 4]);
            let sum = crc32c::crc32c_append(sum, &header[end..]);
            if told != sum.to_be_bytes() {
                return false;
            }
        }
        at = end;
    }
    at == header.len()
}

/// What a backend is told in front of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    pub(crate) version: ProxyProtocol,
    /// None if the client's connection has no such ends any more.
    pub(crate) origin: Option<Origin>,
}

/// The header that says it; of nobody if the two ends are not known.
pub(crate) fn header(telling: &Telling) -> Vec<u8> {
    let Telling { version, origin } = telling;
    let header = match origin.map(|origin| one_family(origin.source, origin.destination)) {
        Some((source, destination)) => {
            ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
        }
        None => return version.own().to_vec(),
    };
    let mut out = Vec::with_capacity(LONGEST_LINE);
    let written = match version {
        ProxyProtocol::V1 => header.encode_v1(&mut out),
        ProxyProtocol::V2 => header.encode_v2(&mut out),
    };
    debug_assert!(written.is_ok(), "two addresses of one family fit");
    out
}

/// Both ends as IPv4 addresses if they are, else both as IPv6 ones.
fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let wide = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    };
    let (source, destination) = (plain(source), plain(destination));
    match source.is_ipv4() == destination.is_ipv4() {
        true => (source, destination),
        false => (wide(source), wide(destination)),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed PROXY header")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: ProxyProtocol, origin: Option<&Origin>) -> Vec<u8> {
        let origin = origin.copied();
        super::header(&Telling { version, origin })
    }

    fn origin(source: &str, destination: &str) -> Origin {
        Origin {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    /// Reads as `poll_header` does; the second is what it left.
    fn read(mut bytes: &[u8]) -> io::Result<(Option<Origin>, &[u8])> {
        let mut header = Vec::new();
        loop {
            let missing = missing(&header)?.min(bytes.len());
            if missing == 0 {
                return Ok((parse(&header)?, bytes));
            }
            header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
        }
    }

    #[test]
    fn what_is_written_is_read_and_not_a_byte_more() {
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            for told in [
                Some(origin("192.0.2.7:4711", "198.51.100.1:443")),
                Some(origin("[2001:db8::7]:4711", "[2001:db8::1]:65535")),
                None,
            ] {
                let mut bytes = header(version, told.as_ref());
                bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
                let (read, left) = read(&bytes).unwrap();
                assert_eq!((read, left), (told, &b"GET / HTTP/1.1\r\n"[..]));
            }
        }
        let mixed = header(
            ProxyProtocol::V1,
            Some(&origin("[::ffff:192.0.2.7]:1", "[::1]:2")),
        );
        assert_eq!(mixed, b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n");
        let mapped = header(
            ProxyProtocol::V1,
            Some(&origin("[::ffff:192.0.2.7]:1", "192.0.2.1:2")),
        );
        assert_eq!(mapped, b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n");
    }

    #[test]
    fn malformed_headers_are_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(LONGEST_LINE));
        let v2 = |rest: &[u8]| [SIGNATURE, rest].concat();
        let table: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\n",
            "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 +1000 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 +2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 01000 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 00\r\n",
            &long,
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .chain([
            v2(&[0x31, 0x11, 0, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2]),
            v2(&[0x22, 0x11, 0, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2]),
            v2(&[0x21, 0x11, 0, 4, 1, 1, 1, 1]),
            // One says that more follows than does, one is cut off, and one is behind no address.
            v2(&[
                0x21, 0x11, 0, 16, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2, 4, 0, 2, 9,
            ]),
            v2(&[0x21, 0x11, 0, 14, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2, 4, 0]),
            v2(&[0x21, 0x00, 0, 3, 4, 0, 1]),
            v2(&[0x21, 0x11, 0xFF, 0xFF]),
        ])
        .collect();
        for bytes in table {
            assert!(read(&bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_comes_with_the_proxys_own_connection_is_not_looked_at() {
        let local = [SIGNATURE, &[0x20, 0x00, 0, 2, 4, 0]].concat();
        assert_eq!(read(&local).unwrap().0, None);
        assert!(read(b"PROXY TCP4 1.1.1.1 2.2.2.2 0 65535\r\n").is_ok());
        assert!(read(b"PROXY UNKNOWN 1 2 3 01\r\n").is_ok());
    }

    #[test]
    fn a_checksum_must_hold_where_there_is_one() {
        let mut bytes = header(
            ProxyProtocol::V2,
            Some(&origin("192.0.2.7:1", "192.0.2.1:2")),
        );
        bytes[15] += 7;
        bytes.extend_from_slice(&[CHECKSUM, 0, 4, 0, 0, 0, 0]);
        let at = bytes.len() - 4;
        assert!(read(&bytes).is_err());
        let sum = crc32c::crc32c(&bytes);
        bytes[at..].copy_from_slice(&sum.to_be_bytes());
        assert!(read(&bytes).unwrap().0.is_some());
    }
}
