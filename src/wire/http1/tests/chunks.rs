use super::*;
use crate::wire::body::{BodyKind, Relay};
use Reason::*;

/// Chunked bodies that are refused.
const BAD: &[(&[u8], Reason)] = &[
    (b"\r\n", BadChunkSize),
    (b"\n", BadChunkSize),
    (b" 5\r\nhello\r\n", BadChunkSize),
    (b"g\r\n", BadChunkSize),
    (b"-1\r\n", BadChunkSize),
    (b"+5\r\nhello\r\n", BadChunkSize),
    (b"0x5\r\nhello\r\n", BadChunkSize),
    (b"5_0\r\n", BadChunkSize),
    (b"5.\r\n", BadChunkSize),
    (b"\"5\"\r\n", BadChunkSize),
    (b"5\0\r\n", BadChunkSize),
    (b";a=b\r\n", BadChunkSize),
    (b"0000000000000001\r\nx\r\n", BadChunkSize),
    (b"ffffffffffffffff\r\n", BadChunkSize),
    (b"10000000000000005\r\nhello\r\n", BadChunkSize),
    (b"5\nhello\r\n", BareLf),
    (b"5\rhello\r\n", BareCr),
    (b"5\r\r\nhello\r\n", BareCr),
    (b"5 \r\nhello\r\n", BadChunkExtension),
    (b"5\t\r\nhello\r\n", BadChunkExtension),
    (b"5 5\r\nhello\r\n", BadChunkExtension),
    (b"5;\r\nhello\r\n", BadChunkExtension),
    (b"5;;\r\nhello\r\n", BadChunkExtension),
    (b"5;a;\r\nhello\r\n", BadChunkExtension),
    (b"5;a=\r\nhello\r\n", BadChunkExtension),
    (b"5;=b\r\nhello\r\n", BadChunkExtension),
    (b"5;a=b=c\r\nhello\r\n", BadChunkExtension),
    (b"5;a b\r\nhello\r\n", BadChunkExtension),
    (b"5;a=\"b\"c\r\nhello\r\n", BadChunkExtension),
    (b"5;a=\"b\r\nhello\r\n", BadChunkExtension),
    (b"5;a=\"b\\\r\nhello\r\n", BadChunkExtension),
    (b"5;a=\"b\0\"\r\nhello\r\n", BadChunkExtension),
    (b"5;a=b \r\nhello\r\n", BadChunkExtension),
    (b"5;\xFF\r\nhello\r\n", BadChunkExtension),
    (b"5;a\nhello\r\n", BareLf),
    (b"5;a=\"\n\"\r\nhello\r\n", BareLf),
    (b"5;a\rhello\r\n", BareCr),
    (b"5\r\nhelloo\r\n", BadChunkEnd),
    (b"5\r\nhello\n", BadChunkEnd),
    (b"5\r\nhello\r\r\n", BadChunkEnd),
    (b"5\r\nhello0\r\n\r\n", BadChunkEnd),
    (b"0\r\n\n", BareLf),
    (b"0\r\n\r\r", BareCr),
    (b"0\n\n", BareLf),
    (b"0\r\nA : b\r\n\r\n", SpaceBeforeColon),
    (b"0\r\n A: b\r\n\r\n", FoldedField),
    (b"0\r\nA: b\r\n c\r\n\r\n", FoldedField),
    (b"0\r\nA\r\n\r\n", BadFieldName),
    (b"0\r\n: b\r\n\r\n", BadFieldName),
    (b"0\r\n\0: b\r\n\r\n", BadFieldName),
    (b"0\r\nA: b\0\r\n\r\n", ControlByte),
    (b"0\r\nA: b\n\r\n", BareLf),
    (b"0\r\nA\n: b\r\n\r\n", BareLf),
    (b"0\r\nA: b\rc\r\n\r\n", BareCr),
    (b"0\r\nGET / HTTP/1.1\r\n\r\n", SpaceBeforeColon),
    (b"0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer),
    (b"0\r\ntransfer-ENCODING: chunked\r\n\r\n", ForbiddenTrailer),
    (b"0\r\nA: b\r\nHost: c\r\n\r\n", ForbiddenTrailer),
    (b"0\r\nConnection: close\r\n\r\n", ForbiddenTrailer),
    (b"0\r\nAuthorization: x\r\n\r\n", ForbiddenTrailer),
    (b"0\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n", ForbiddenTrailer),
    (
        b"0\r\nX-Forwarded-Client-Certificate: x\r\n\r\n",
        ForbiddenTrailer,
    ),
    (b"0\r\nX_Forwarded_For: 127.0.0.1\r\n\r\n", ForbiddenTrailer),
];

/// Trailers of those that only a request may not have.
const OF_REQUESTS: &[&[u8]] = &[
    b"0\r\nA: b\r\nHost: c\r\n\r\n",
    b"0\r\nAuthorization: x\r\n\r\n",
    b"0\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n",
    b"0\r\nX-Forwarded-Client-Certificate: x\r\n\r\n",
    b"0\r\nX_Forwarded_For: 127.0.0.1\r\n\r\n",
];

const GOOD: &[(&[u8], &[u8])] = &[
    (b"0\r\n\r\n", b""),
    (b"00\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    (
        b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        b"01234567890123456789",
    ),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello"),
    (
        b"5 ; a = b\t;c=\"d; \\\"\xFF\"\r\nhello\r\n0\r\n\r\n",
        b"hello",
    ),
    (
        b"1\r\nx\r\n0\r\nA: b\r\nServer-Timing:\r\nX: \xFF\t\r\n\r\n",
        b"x",
    ),
];

#[test]
fn each_bad_chunked_body_is_refused_for_its_reason() {
    for (bytes, reason) in BAD {
        match BodyReader::request(BodyKind::Chunked).advance(bytes) {
            Err(refusal) => assert_eq!(refusal.reason(), *reason, "{}", bytes.escape_ascii()),
            Ok(step) => panic!("{} was accepted: {step:?}", bytes.escape_ascii()),
        }
        match BodyReader::response(BodyKind::Chunked).advance(bytes) {
            Err(refusal) => assert_eq!(refusal.status(), 502),
            Ok(_) => assert!(OF_REQUESTS.contains(bytes), "{}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn an_answer_may_return_what_its_request_said_in_trailers() {
    for bytes in OF_REQUESTS {
        let step = BodyReader::response(BodyKind::Chunked).advance(bytes);
        let whole = Step {
            consumed: bytes.len(),
            done: true,
        };
        assert_eq!(step.unwrap(), whole, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_good_body_ends_at_its_end_however_it_is_cut() {
    for (bytes, data) in GOOD {
        let stream = [*bytes, b"GET / HTTP/1.1\r\n"].concat();
        for cut in 0..=bytes.len() {
            let mut reader = BodyReader::request(BodyKind::Chunked);
            let (mut seen, mut taken) = (Vec::new(), 0);
            for end in [cut, stream.len()] {
                let step = reader
                    .advance_with(&stream[taken..end], |run| seen.extend_from_slice(run))
                    .unwrap();
                taken += step.consumed;
                assert_eq!(step.done, taken == bytes.len());
            }
            assert_eq!(
                (taken, &seen[..]),
                (bytes.len(), *data),
                "{} cut at {cut}",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let read = |bytes: String| {
        BodyReader::request(BodyKind::Chunked)
            .advance(bytes.as_bytes())
            .map(|step| step.done)
    };
    let refused = |bytes: String| read(bytes).unwrap_err().reason();
    assert_eq!(read(format!("0;{}\r\n\r\n", "a".repeat(16_000))), Ok(true));
    assert_eq!(
        refused(format!("0;{}", "a".repeat(17_000))),
        ChunkExtensionTooLong
    );
    assert_eq!(
        refused(format!("0;a=\"{}", "a".repeat(17_000))),
        ChunkExtensionTooLong
    );
    assert_eq!(
        refused("1;abcdefg\r\nx\r\n".repeat(3_000)),
        ChunkExtensionTooLong
    );
    assert_eq!(
        read(format!("0\r\nA: {}\r\n\r\n", "a".repeat(65_000))),
        Ok(true)
    );
    assert_eq!(
        refused(format!("0\r\nA: {}", "a".repeat(65_600))),
        TrailersTooLarge
    );
    assert_eq!(
        refused(format!("0\r\n{}", "a".repeat(65_600))),
        TrailersTooLarge
    );
    assert_eq!(
        read(format!("0\r\n{}\r\n", "A: b\r\n".repeat(100))),
        Ok(true)
    );
    assert_eq!(
        refused(format!("0\r\n{}\r\n", "A: b\r\n".repeat(101))),
        TrailersTooLarge
    );
}

#[test]
fn a_length_takes_its_bytes_and_no_more() {
    let mut reader = BodyReader::request(BodyKind::Length(5));
    assert_eq!(
        reader.advance(b"hel").unwrap(),
        Step {
            consumed: 3,
            done: false
        }
    );
    assert_eq!(reader.remaining(), Some(2));
    assert_eq!(
        reader
            .clone()
            .end(Relay::Pass, &mut Vec::new())
            .unwrap_err()
            .reason(),
        Truncated
    );
    assert_eq!(
        reader.advance(b"loGET").unwrap(),
        Step {
            consumed: 2,
            done: true
        }
    );
    assert_eq!(
        reader.advance(b"GET").unwrap(),
        Step {
            consumed: 0,
            done: true
        }
    );
    assert!(reader.end(Relay::Pass, &mut Vec::new()).is_ok());
    assert!(BodyReader::request(BodyKind::None).is_done());
}

#[test]
fn a_body_changes_its_framing_for_the_client() {
    let mut out = Vec::new();
    let mut reader = BodyReader::response(BodyKind::Chunked);
    let step = reader
        .relay(
            b"3;x\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n",
            Relay::Dechunk,
            &mut out,
        )
        .unwrap();
    assert!(step.done);
    assert_eq!(out, b"abcde");

    out.clear();
    let mut reader = BodyReader::response(BodyKind::UntilClose);
    assert!(
        !reader
            .relay(&[b'x'; 300], Relay::Chunk, &mut out)
            .unwrap()
            .done
    );
    assert!(!reader.relay(b"", Relay::Chunk, &mut out).unwrap().done);
    assert!(!reader.relay(b"y", Relay::Chunk, &mut out).unwrap().done);
    reader.end(Relay::Chunk, &mut out).unwrap();
    assert_eq!(
        out,
        [b"12c\r\n", &[b'x'; 300][..], b"\r\n1\r\ny\r\n0\r\n\r\n"].concat()
    );
    let step = BodyReader::response(BodyKind::Chunked)
        .advance(&out)
        .unwrap();
    assert_eq!(
        step,
        Step {
            consumed: out.len(),
            done: true
        }
    );
    assert_eq!(
        BodyReader::response(BodyKind::Chunked)
            .end(Relay::Pass, &mut out)
            .unwrap_err()
            .proxy_status(),
        "http_response_incomplete"
    );
}
