//! Trailers, between the lines behind a chunked body and the fields behind HTTP/2's data.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Writes the last chunk and the trailer section.
pub(super) fn write(trailers: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads a section whose grammar was checked already.
pub(super) fn read(section: &[u8]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for line in section.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            trailers.append(name, value);
        }
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_read_as_they_are_written() {
        let mut trailers = HeaderMap::new();
        trailers.append("grpc-status", HeaderValue::from_static("0"));
        trailers.append("x", HeaderValue::from_static("a: b"));
        trailers.append("x", HeaderValue::from_static(""));
        let mut out = Vec::new();
        write(&trailers, &mut out);
        let section = out.strip_prefix(b"0\r\n").unwrap();
        assert_eq!(read(section), trailers);
        assert_eq!(read(b"\r\n"), HeaderMap::new());
    }
}
