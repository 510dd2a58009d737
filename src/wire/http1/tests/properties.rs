use proptest::prelude::*;

use super::*;
use crate::wire::http1::strict::{self, Start};
use crate::wire::oracle::coherence;

/// Messages to cut and to damage.
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
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let mark = prop_oneof![4 => prop::sample::select(MARKS), 1 => any::<u8>()];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), mark, 0..4u8), 0..4);
    (prop::sample::select(SEEDS), edits).prop_map(|(seed, edits)| {
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

fn check(bytes: &[u8]) {
    coherence::check_request(bytes);
    coherence::check_response(bytes);
    coherence::check_chunked(bytes);
    let mut request_head = RequestHead::new();
    let request = parse_request(bytes, &mut Scan::default(), &mut request_head);
    second_judge_agrees(bytes, Start::Request, request);
    let mut response_head = ResponseHead::new();
    let response = parse_response(bytes, &mut Scan::default(), "GET", &mut response_head);
    second_judge_agrees(bytes, Start::Response, response);
}

/// The strict reader accepts what was accepted, and knows a reason for what was not.
fn second_judge_agrees(bytes: &[u8], start: Start, parsed: Result<Parsed, Refusal>) {
    let shown = bytes.escape_ascii();
    match parsed {
        Ok(Parsed::Head { len }) => {
            let head = &bytes[if bytes.starts_with(b"\r\n") { 2 } else { 0 }..len];
            assert_eq!(strict::read(head, start), Ok(()), "{shown}");
        }
        Ok(Parsed::Incomplete) => {}
        Err(refusal) => assert_ne!(refusal.reason(), Reason::Malformed, "{shown}"),
    }
}

#[test]
fn seeds_cut_at_every_byte_mean_the_same() {
    for seed in SEEDS {
        for end in 0..=seed.len() {
            check(&seed[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_bytes_get_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_marks_get_a_verdict(bytes in prop::collection::vec(prop::sample::select(MARKS), 0..60)) {
        check(&bytes);
    }

    #[test]
    fn damaged_messages_get_one_verdict_however_cut(bytes in damaged()) {
        check(&bytes);
    }
}
