use proptest::prelude::*;

use super::*;
use crate::wire::body::BodyKind;
use crate::wire::http1::strict::{self, Start};

/// Heads to cut and to damage.
const SEEDS: &[&[u8]] = &[
    b"\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nX: y\r\n\r\nnext",
    b"POST http://a/ HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    b"PUT / HTTP/1.0\r\nContent-Length: 4\r\nX-Forwarded-For: 1\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a\r\n\r\nhi",
    b"HTTP/1.0 404\r\nDate: x\r\n\r\n",
    b"5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\nnext",
];

/// Bytes that mean something to a parser.
const MARKS: &[u8] = b"\r\n\t\0 :,;=/?#*[]\"\\\x7F\xFF09afGH.-_x";

/// A seed with bytes replaced, inserted, removed or repeated.
pub(super) fn damaged(seeds: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let mark = prop_oneof![4 => prop::sample::select(MARKS), 1 => any::<u8>()];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), mark, 0..4u8), 0..4);
    (prop::sample::select(seeds), edits).prop_map(|(seed, edits)| {
        let mut bytes = seed.to_vec();
        for (place, mark, kind) in edits {
            let at = place.index(bytes.len().max(1));
            match kind {
                _ if bytes.is_empty() => bytes.push(mark),
                0 => bytes[at] = mark,
                1 => bytes.insert(at, mark),
                2 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    })
}

fn parse(bytes: &[u8], start: Start, scan: &mut Scan) -> (Result<Parsed, Refusal>, String) {
    match start {
        Start::Request => {
            let mut head = RequestHead::new();
            let parsed = parse_request(bytes, scan, &mut head);
            (parsed, format!("{head:?}"))
        }
        Start::Response => {
            let mut head = ResponseHead::new();
            let parsed = parse_response(bytes, scan, "GET", &mut head);
            (parsed, format!("{head:?}"))
        }
    }
}

/// The first result but incomplete, reading one byte more each time.
fn parse_bytewise(bytes: &[u8], start: Start) -> (Result<Parsed, Refusal>, String) {
    let mut scan = Scan::default();
    let mut last = parse(b"", start, &mut scan);
    for end in 1..=bytes.len() {
        last = parse(&bytes[..end], start, &mut scan);
        if last.0 != Ok(Parsed::Incomplete) {
            break;
        }
    }
    last
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    for start in [Start::Request, Start::Response] {
        let whole = parse(bytes, start, &mut Scan::default());
        let bytewise = parse_bytewise(bytes, start);
        prop_assert_eq!(whole.0, bytewise.0, "{}", bytes.escape_ascii());
        match whole.0 {
            Ok(Parsed::Head { len }) => {
                prop_assert_eq!(&whole.1, &bytewise.1);
                let head = &bytes[if bytes.starts_with(b"\r\n") { 2 } else { 0 }..len];
                prop_assert_eq!(strict::read(head, start), Ok(()), "{}", head.escape_ascii());
                encodes_to_what_is_accepted(head, start)?;
            }
            Ok(Parsed::Incomplete) => {}
            Err(refusal) => prop_assert!(
                refusal.reason() != Reason::Malformed,
                "{}",
                bytes.escape_ascii()
            ),
        }
    }
    check_body(bytes)
}

fn encodes_to_what_is_accepted(head: &[u8], start: Start) -> Result<(), TestCaseError> {
    let mut out = Vec::new();
    if start == Start::Request {
        let (head, _) = request(head).expect("it was accepted");
        let forward = Forward {
            client: "::1",
            https: true,
            trusted: true,
            host: "h",
            request_id: "i",
            upgrade: true,
        };
        encode_request(&head, &forward, &mut out);
        let (again, len) =
            request(&out).map_err(|refusal| TestCaseError::fail(format!("{refusal}: {head:?}")))?;
        prop_assert_eq!(
            (again.method(), again.body(), len),
            (head.method(), head.body(), out.len())
        );
        if again.path() != "*" {
            prop_assert_eq!((again.path(), again.query()), (head.path(), head.query()));
        }
    } else {
        let (head, _) = response("GET", head).expect("it was accepted");
        let back = Return {
            client: crate::wire::head::Version::Http11,
            close: false,
            upgrade: true,
        };
        encode_response(&head, &back, &mut out);
        let (again, len) = response("GET", &out)
            .map_err(|refusal| TestCaseError::fail(format!("{refusal}: {head:?}")))?;
        let body = if head.body() == BodyKind::UntilClose {
            BodyKind::Chunked
        } else {
            head.body()
        };
        prop_assert_eq!(
            (again.status(), again.body(), len),
            (head.status(), body, out.len())
        );
    }
    Ok(())
}

fn check_body(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut data = Vec::new();
    let whole = BodyReader::request(BodyKind::Chunked)
        .advance_with(bytes, |run| data.extend_from_slice(run));
    let mut reader = BodyReader::request(BodyKind::Chunked);
    let (mut taken, mut bytewise, mut result) = (0, Vec::new(), Ok(()));
    for byte in bytes {
        match reader.advance_with(&[*byte], |run| bytewise.extend_from_slice(run)) {
            Ok(step) => taken += step.consumed,
            Err(refusal) => {
                result = Err(refusal);
                break;
            }
        }
    }
    match whole {
        Ok(step) => prop_assert_eq!((step.consumed, step.done), (taken, reader.is_done())),
        Err(refusal) => prop_assert_eq!(Err(refusal), result),
    }
    prop_assert_eq!(data, bytewise);
    Ok(())
}

#[test]
fn seeds_cut_at_every_byte_mean_the_same() {
    for seed in SEEDS {
        for end in 0..=seed.len() {
            check(&seed[..end]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_bytes_get_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
    }

    #[test]
    fn any_marks_get_a_verdict(bytes in prop::collection::vec(prop::sample::select(MARKS), 0..60)) {
        check(&bytes)?;
    }

    #[test]
    fn damaged_messages_get_one_verdict_however_cut(bytes in damaged(SEEDS)) {
        check(&bytes)?;
    }
}
