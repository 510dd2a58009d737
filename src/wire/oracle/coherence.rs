//! What must hold of the codec for any bytes at all.
//!
//! Shared by the unit tests and the fuzz targets, each of which has `wire` in the module above.

use super::wire::body::{BodyKind, Relay};
use super::wire::head::{RequestHead, ResponseHead, Version};
use super::wire::http1::{
    BodyReader, Forward, Instead, Parsed, Refusal, Return, Scan, encode_request, encode_response,
    parse_request, parse_response,
};

const FORWARD: Forward<'static> = Forward {
    client: "::1",
    https: true,
    real_ip: "",
    certificate: "",
    trusted: true,
    host: "h",
    request_id: "i",
    traceparent: "",
    upgrade: true,
    instead: Instead {
        target: None,
        authority: None,
    },
};

/// A request's head means the same however it is cut, and what is sent on for it means what it meant.
pub(crate) fn check_request(bytes: &[u8]) {
    let mut head = RequestHead::new();
    let whole = parse_request(bytes, &mut Scan::default(), &mut head);
    let mut cut = RequestHead::new();
    let bytewise = bytewise(bytes, |bytes, scan| parse_request(bytes, scan, &mut cut));
    assert_eq!(whole, bytewise, "{}", bytes.escape_ascii());
    if !matches!(whole, Ok(Parsed::Head { .. })) {
        return;
    }
    assert_eq!(format!("{head:?}"), format!("{cut:?}"));
    let mut out = Vec::new();
    encode_request(&head, &FORWARD, &mut out);
    let mut again = RequestHead::new();
    let parsed = parse_request(&out, &mut Scan::default(), &mut again);
    assert!(
        parsed.is_ok() || outgrown(head.fields().len(), &out),
        "{parsed:?}: {}",
        out.escape_ascii()
    );
    if parsed.is_ok() {
        assert_eq!(parsed, Ok(Parsed::Head { len: out.len() }));
        assert_eq!((again.method(), again.body()), (head.method(), head.body()));
        assert!(again.keep_alive() && again.version() == Version::Http11);
        assert!(
            again.path() == "*" || (again.path(), again.query()) == (head.path(), head.query())
        );
        assert!(again.host() == head.host() || (head.host().is_empty() && again.host() == "h"));
    }
}

/// As [`check_request`], for responses.
pub(crate) fn check_response(bytes: &[u8]) {
    let mut head = ResponseHead::new();
    let whole = parse_response(bytes, &mut Scan::default(), "GET", &mut head);
    let mut cut = ResponseHead::new();
    let bytewise = bytewise(bytes, |bytes, scan| {
        parse_response(bytes, scan, "GET", &mut cut)
    });
    assert_eq!(whole, bytewise, "{}", bytes.escape_ascii());
    if !matches!(whole, Ok(Parsed::Head { .. })) {
        return;
    }
    assert_eq!(format!("{head:?}"), format!("{cut:?}"));
    let mut out = Vec::new();
    let back = Return {
        client: Version::Http11,
        close: false,
        upgrade: true,
    };
    encode_response(&head, &back, &mut out);
    let mut again = ResponseHead::new();
    let parsed = parse_response(&out, &mut Scan::default(), "GET", &mut again);
    assert!(
        parsed.is_ok() || outgrown(head.fields().len(), &out),
        "{parsed:?}: {}",
        out.escape_ascii()
    );
    if parsed.is_ok() {
        let body = match head.body() {
            BodyKind::UntilClose => BodyKind::Chunked,
            body => body,
        };
        assert_eq!(parsed, Ok(Parsed::Head { len: out.len() }));
        assert_eq!((again.status(), again.body()), (head.status(), body));
    }
}

/// A chunked body is the same however it is cut, and so is its data when the chunks are made anew.
pub(crate) fn check_chunked(bytes: &[u8]) {
    let mut data = Vec::new();
    let whole = BodyReader::request(BodyKind::Chunked)
        .advance_with(bytes, |run| data.extend_from_slice(run));
    let mut reader = BodyReader::request(BodyKind::Chunked);
    let (mut taken, mut cut) = (0, Vec::new());
    let bytewise = bytes.iter().try_for_each(|byte| {
        taken += reader
            .advance_with(&[*byte], |run| cut.extend_from_slice(run))?
            .consumed;
        Ok(())
    });
    assert_eq!(data, cut);
    match whole {
        Ok(step) => assert_eq!(
            (step.consumed, step.done, bytewise),
            (taken, reader.is_done(), Ok(()))
        ),
        Err(refusal) => assert_eq!(bytewise, Err(refusal)),
    }
    let mut chunks = Vec::new();
    let mut open = BodyReader::response(BodyKind::UntilClose);
    open.relay(&data, Relay::Chunk, &mut chunks)
        .expect("any bytes may come until the close");
    open.end(Relay::Chunk, &mut chunks)
        .expect("the close is its end");
    let mut again = Vec::new();
    let mut reader = BodyReader::response(BodyKind::Chunked);
    let step = reader
        .relay(&chunks, Relay::Dechunk, &mut again)
        .expect("own chunks are good");
    assert!(step.done && step.consumed == chunks.len() && again == data);
}

/// What this hop adds may not fit into the limits of the next.
fn outgrown(fields: usize, out: &[u8]) -> bool {
    fields > 90 || out.len() > 60 * 1024
}

/// The first verdict, reading one byte more each time.
fn bytewise(
    bytes: &[u8],
    mut parse: impl FnMut(&[u8], &mut Scan) -> Result<Parsed, Refusal>,
) -> Result<Parsed, Refusal> {
    let mut scan = Scan::default();
    for end in 0..bytes.len() {
        let parsed = parse(&bytes[..end], &mut scan);
        if parsed != Ok(Parsed::Incomplete) {
            return parsed;
        }
    }
    parse(bytes, &mut scan)
}
