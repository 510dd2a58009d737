//! What RFC 9113 has a server do with frames that break its rules, and with odd ones that keep them.
//!
//! Where the code of an error is the h2 crate's own choice, a table asks for the end only.

use serde_json::Value;

use super::messages::request;
use super::raw::*;
use crate::proxy::ProxyOptions;
use crate::proxy::tests::harness::*;
use crate::proxy::tests::tls::Site;

use Outcome::{Closed, Ended, GoAway, Reset, Status};

/// The rule, the bytes behind the preface and the settings, and what they come to.
pub(super) type Case = (&'static str, Vec<u8>, Outcome);

/// Over plain connections and over TLS.
pub(super) fn check(cases: &[Case]) {
    heads(cases);
}

/// As [`check`], and no backend hears of what is refused.
pub(super) fn check_heads(cases: &[Case]) {
    let fine = cases.iter().filter(|case| case.2 == Status(200)).count();
    assert_eq!(heads(cases), 2 * fine);
}

/// Checks the cases, and tells how many heads of theirs reached the backend.
fn heads(cases: &[Case]) -> usize {
    let (sender, asked) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        // Whatever follows the head is no business of the rules.
        while peer.try_until("\r\n\r\n").is_some() {
            sender.send(()).unwrap();
            if !peer.try_send(ok("hello")) {
                return;
            }
        }
    });
    let (proxy, site) = (Harness::to(&[backend.address]), Site::new(None));
    let behind_tls = site.proxy(&backend);
    let mut faults = Vec::new();
    for (rule, bytes, expected) in cases {
        for (over, mut raw) in [
            ("TCP", Raw::connect(&proxy)),
            ("TLS", Raw::encrypted(&site, &behind_tls)),
        ] {
            raw.send(bytes);
            let outcome = raw.outcome();
            if !outcome.is(*expected) {
                faults.push(format!(
                    "{rule}: {outcome:?} instead of {expected:?} over {over}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // It is well after all that.
    assert_eq!(status(&proxy.get("/").0), 200);
    asked.try_iter().count() - 1
}

/// Runs `test` over plain connections and over TLS, both at once: with a proxy to this backend, and with what connects
/// to it.
pub(super) fn over_both(backend: &Scripted, test: impl Fn(&Harness, &dyn Fn() -> Raw) + Sync) {
    let config = web(&[backend.address], serde_json::json!({}));
    over_both_with(options, &config, test);
}

/// The same with other options and another config.
pub(super) fn over_both_with(
    options: impl Fn() -> ProxyOptions,
    config: &Value,
    test: impl Fn(&Harness, &dyn Fn() -> Raw) + Sync,
) {
    let plain = Harness::new(options(), config);
    let site = Site::new(None);
    let mut encrypted = options();
    encrypted.listeners[0].tls = site.options().listeners[0].tls.clone();
    let encrypted = Harness::new(encrypted, config);
    std::thread::scope(|scope| {
        scope.spawn(|| test(&plain, &|| Raw::connect(&plain)));
        scope.spawn(|| test(&encrypted, &|| Raw::encrypted(&site, &encrypted)));
    });
}

pub(super) fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    joined(&[frame(SETTINGS, 0, 0, payload), get(1)])
}

#[test]
#[rustfmt::skip] // A row is a line.
fn frames_are_held_to_their_size_and_their_stream() {
    let priority = [0, 0, 0, 0, 15];
    check_heads(&[
        ("4.1 unknown frames are ignored", joined(&[frame(0xFA, 0xFF, 1, "x"), get(1)]), Status(200)),
        ("4.1 the reserved bit is ignored", frame(HEADERS, 5, 1 | 1 << 31, get_block()), Status(200)),
        ("4.1 unknown flags are ignored", frame(HEADERS, 5 | 0x52 & !0x20, 1, get_block()), Status(200)),
        ("4.2 a header frame too", frame(HEADERS, 5, 1, vec![0; 16_385]), GoAway(FRAME_SIZE_ERROR)),
        ("6.1 DATA has a stream", frame(DATA, 0, 0, "x"), GoAway(PROTOCOL_ERROR)),
        ("6.2 HEADERS has a stream", frame(HEADERS, 5, 0, get_block()), GoAway(PROTOCOL_ERROR)),
        ("6.2 its padding is shorter than it", frame(HEADERS, 5 | PADDED, 1, [9, 0x82]), GoAway(PROTOCOL_ERROR)),
        ("6.2 padding is not read", frame(HEADERS, 5 | PADDED, 1, joined(&[vec![3], get_block(), vec![0xFF; 3]])), Status(200)),
        ("6.2 priority in front is passed over", frame(HEADERS, 5 | 0x20, 1, joined(&[priority.to_vec(), get_block()])), Status(200)),
        ("7540 5.3.1 it is on no stream that is its own", frame(HEADERS, 5 | 0x20, 1, joined(&[vec![0, 0, 0, 1, 15], get_block()])), Reset(PROTOCOL_ERROR)),
        ("6.3 PRIORITY has a stream", frame(PRIORITY, 0, 0, priority), GoAway(PROTOCOL_ERROR)),
        ("6.3 PRIORITY may come for an idle stream", joined(&[frame(PRIORITY, 0, 7, priority), get(1)]), Status(200)),
        ("6.4 RST_STREAM has a stream", frame(RST_STREAM, 0, 0, [0; 4]), GoAway(PROTOCOL_ERROR)),
        ("6.8 GOAWAY lets go on what was asked", joined(&[get(1), frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF])]), Status(200)),
        ("6.7 PING has no stream", frame(PING, 0, 1, [0; 8]), GoAway(PROTOCOL_ERROR)),
        ("6.7 PING has eight bytes", frame(PING, 0, 0, [0; 6]), GoAway(FRAME_SIZE_ERROR)),
        ("6.8 GOAWAY has no stream", frame(GOAWAY, 0, 1, [0; 8]), GoAway(PROTOCOL_ERROR)),
        ("6.9 WINDOW_UPDATE has four bytes", frame(WINDOW_UPDATE, 0, 0, [0; 3]), GoAway(FRAME_SIZE_ERROR)),
        ("6.9 an update adds something", frame(WINDOW_UPDATE, 0, 0, [0; 4]), GoAway(PROTOCOL_ERROR)),
        ("6.9.1 a window ends at 2^31-1", frame(WINDOW_UPDATE, 0, 0, [0x7F, 0xFF, 0xFF, 0xFF]), GoAway(FLOW_CONTROL_ERROR)),
        ("6.10 CONTINUATION has a stream", joined(&[frame(HEADERS, 1, 1, get_block()), frame(CONTINUATION, 4, 0, [])]), GoAway(PROTOCOL_ERROR)),
        ("6.10 CONTINUATION follows a block's start", frame(CONTINUATION, 4, 1, get_block()), GoAway(PROTOCOL_ERROR)),
        ("6.10 it is of the same stream", joined(&[frame(HEADERS, 1, 1, get_block()), frame(CONTINUATION, 4, 3, [])]), GoAway(PROTOCOL_ERROR)),
        ("6.10 nothing comes between", joined(&[frame(HEADERS, 1, 1, get_block()), frame(PING, 0, 0, [0; 8])]), GoAway(PROTOCOL_ERROR)),
        ("6.10 nothing unknown either", joined(&[frame(HEADERS, 1, 1, get_block()), frame(0xFA, 0, 1, [])]), GoAway(PROTOCOL_ERROR)),
        ("6.10 no other HEADERS", joined(&[frame(HEADERS, 1, 1, get_block()), get(3)]), GoAway(PROTOCOL_ERROR)),
        ("6.10 a block may have pieces", joined(&[frame(HEADERS, 1, 1, &get_block()[..5]), frame(CONTINUATION, 0, 1, &get_block()[5..9]), frame(CONTINUATION, 4, 1, &get_block()[9..])]), Status(200)),
    ]);
    check(&[
        ("4.2 a frame has at most 16,384 bytes", joined(&[post(1), frame(DATA, 0, 1, vec![0; 16_385])]), GoAway(FRAME_SIZE_ERROR)),
        ("4.2 and may have as many", joined(&[post(1), frame(DATA, 1, 1, vec![0; 16_384])]), Status(200)),
        ("6.1 padding is shorter than its frame", joined(&[post(1), frame(DATA, PADDED, 1, [2, 0])]), GoAway(PROTOCOL_ERROR)),
        ("6.1 padded DATA has its length", joined(&[post(1), frame(DATA, PADDED, 1, [])]), Ended),
        ("6.3 PRIORITY has five bytes", joined(&[post(1), frame(PRIORITY, 0, 1, [0; 4])]), GoAway(FRAME_SIZE_ERROR)),
        ("6.4 RST_STREAM has four bytes", joined(&[post(1), frame(RST_STREAM, 0, 1, [0; 3])]), GoAway(FRAME_SIZE_ERROR)),
        ("7 a code of RST_STREAM may be unknown", joined(&[post(1), frame(RST_STREAM, 0, 1, [0xFF; 4]), get(3)]), Status(200)),
        ("6.6 a client pushes nothing", joined(&[post(1), frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])]), GoAway(PROTOCOL_ERROR)),
        ("6.9 to a stream too", joined(&[post(1), frame(WINDOW_UPDATE, 0, 1, [0; 4])]), Reset(PROTOCOL_ERROR)),
        ("6.9.1 a stream's too", joined(&[post(1), frame(WINDOW_UPDATE, 0, 1, [0x7F, 0xFF, 0xFF, 0xFF])]), Reset(FLOW_CONTROL_ERROR)),
        ("6.10 and no ended block", joined(&[post(1), frame(CONTINUATION, 4, 1, [])]), GoAway(PROTOCOL_ERROR)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn settings_are_held_to_their_range() {
    check_heads(&[
        ("6.5 SETTINGS has no stream", frame(SETTINGS, 0, 1, []), GoAway(PROTOCOL_ERROR)),
        ("6.5 an ACK is empty", frame(SETTINGS, 1, 0, [0; 6]), GoAway(FRAME_SIZE_ERROR)),
        ("6.5 settings have six bytes each", frame(SETTINGS, 0, 0, [0; 5]), GoAway(FRAME_SIZE_ERROR)),
        ("6.5.2 ENABLE_PUSH is 0 or 1", setting(2, 2), GoAway(PROTOCOL_ERROR)),
        ("6.5.2 INITIAL_WINDOW_SIZE is below 2^31", setting(4, 1 << 31), GoAway(FLOW_CONTROL_ERROR)),
        ("6.5.2 MAX_FRAME_SIZE is not below 16,384", setting(5, 16_383), GoAway(PROTOCOL_ERROR)),
        ("6.5.2 MAX_FRAME_SIZE is below 2^24", setting(5, 1 << 24), GoAway(PROTOCOL_ERROR)),
        ("6.5.2 unknown settings are ignored", setting(0xFFFF, 7), Status(200)),
        ("6.5.3 of several values the last counts", joined(&[frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 0xFF, 0xFF]), get(1)]), Status(200)),
        ("6.5.2 HEADER_TABLE_SIZE may be 0", setting(1, 0), Status(200)),
        ("RFC 8441 ENABLE_CONNECT_PROTOCOL is 0 or 1", setting(8, 2), GoAway(PROTOCOL_ERROR)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn streams_follow_their_states() {
    let reset = |stream| frame(RST_STREAM, 0, stream, [0, 0, 0, 8]);
    check_heads(&[
        ("5.1 no DATA on an idle stream", frame(DATA, 1, 1, "x"), GoAway(PROTOCOL_ERROR)),
        ("5.1 no RST_STREAM on an idle stream", reset(1), GoAway(PROTOCOL_ERROR)),
        ("5.1 no WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1]), GoAway(PROTOCOL_ERROR)),
        ("5.1 WINDOW_UPDATE may follow the end", joined(&[get(1), frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1])]), Status(200)),
        ("5.1.1 a client's streams are odd", get(2), GoAway(PROTOCOL_ERROR)),
        ("5.1.1 they may leave some out", get(4_711), Status(200)),
    ]);
    check(&[
        ("5.1 no DATA behind the end", joined(&[get(1), frame(DATA, 1, 1, "x")]), Reset(STREAM_CLOSED)),
        ("5.1 no HEADERS behind the end", joined(&[get(1), get(1)]), Reset(STREAM_CLOSED)),
        ("5.1 DATA may cross a reset of a stream", joined(&[post(1), reset(1), frame(DATA, 1, 1, "x"), get(3)]), Reset(STREAM_CLOSED)),
        ("5.1 no HEADERS behind a reset", joined(&[post(1), reset(1), get(1)]), Reset(STREAM_CLOSED)),
        ("5.1 RST_STREAM may follow the end", joined(&[get(1), reset(1), get(3)]), Status(200)),
        ("5.1.1 and grow", joined(&[post(5), get(3)]), GoAway(PROTOCOL_ERROR)),
        ("8.1 trailers end the stream", joined(&[post(1), frame(HEADERS, END_HEADERS, 1, block(&[("x", "y")]))]), Reset(PROTOCOL_ERROR)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn compression_is_decoded_by_the_letter() {
    let spoilt = |bytes: &[u8]| request([&get_block(), bytes].concat());
    check_heads(&[
        ("7541 2.3.3 there is no index 0", spoilt(&[0x80]), GoAway(COMPRESSION_ERROR)),
        ("7541 2.3.3 an index is within the tables", spoilt(&[0xFF, 0x20]), GoAway(COMPRESSION_ERROR)),
        ("7541 2.3.3 of a name too", spoilt(&[0x7F, 0x20, 1, b'x']), GoAway(COMPRESSION_ERROR)),
        ("7541 4.2 the table's size is within SETTINGS", request([&[0x3F, 0xE2, 0x1F], &get_block()[..]].concat()), GoAway(COMPRESSION_ERROR)),
        ("7541 4.2 it changes in front of the fields", spoilt(&[0x20]), GoAway(COMPRESSION_ERROR)),
        ("7541 4.2 nor behind them alone", request(joined(&[vec![0x82], vec![0x3F, 0xE1, 0x1F], get_block()])), GoAway(COMPRESSION_ERROR)),
        ("7541 4.2 it may become 0", request([&[0x20], &get_block()[..]].concat()), Status(200)),
        ("7541 5.1 a number fits", spoilt(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), GoAway(COMPRESSION_ERROR)),
        ("7541 5.1 a number is whole", spoilt(&[0xFF, 0x80]), GoAway(COMPRESSION_ERROR)),
        ("7541 5.2 a string is whole", spoilt(&[0, 1, b'x', 5, b'y']), GoAway(COMPRESSION_ERROR)),
        ("7541 5.2 padding is ones", spoilt(&[0, 1, b'x', 0x81, 0b0000_0000]), GoAway(COMPRESSION_ERROR)),
        ("7541 5.2 padding is shorter than a byte", spoilt(&[0, 1, b'x', 0x82, 0b0000_0111, 0xFF]), GoAway(COMPRESSION_ERROR)),
        ("7541 5.2 EOS is never coded", spoilt(&[0, 1, b'x', 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), GoAway(COMPRESSION_ERROR)),
        ("7541 6.1 static fields by index", request([&[0x82, 0x86, 0x84][..], &literal(":authority", "x")].concat()), Status(200)),
        ("7541 6.2.1 a field is remembered", request([&get_block(), &[0x40, 1, b'x', 1, b'y', 0xBE][..]].concat()), Status(200)),
        ("7541 6.2.3 one never indexed is a field", request([&get_block(), &[0x10, 1, b'x', 1, b'y'][..]].concat()), Status(200)),
    ]);
}

#[test]
fn the_preface_is_held_to_the_letter() {
    let backend = Scripted::named("hello");
    let (proxy, site) = (Harness::to(&[backend.address]), Site::new(None));
    let behind_tls = site.proxy(&backend);
    let over: [&dyn Fn() -> Raw; 2] = [&|| Raw::silent(&proxy), &|| {
        Raw::silent_over_tls(&site, &behind_tls)
    }];
    for silent in over {
        for (bytes, expected) in [
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), Closed),
            ([PREFACE, &get(1)].concat(), GoAway(PROTOCOL_ERROR)),
            (
                [PREFACE, &frame(PING, 0, 0, [0; 8])].concat(),
                GoAway(PROTOCOL_ERROR),
            ),
        ] {
            let mut raw = silent();
            raw.send(&bytes);
            assert_eq!(raw.outcome(), expected, "{}", bytes.escape_ascii());
        }
        // In pieces, and with everything behind it in one.
        let mut raw = silent();
        for byte in PREFACE {
            raw.send([*byte]);
        }
        raw.send(frame(SETTINGS, 0, 0, []));
        raw.send(get(1));
        assert_eq!(raw.outcome(), Status(200));
        let mut raw = silent();
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, []), &get(1)].concat());
        assert_eq!(raw.outcome(), Status(200));
    }
    // Behind a request it is none.
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&client.response().0), 200);
    client.send(PREFACE);
    assert_eq!(status(&client.head()), 505);
}

/// A proxy whose backend takes requests and never answers.
pub(super) fn unanswered() -> (Scripted, Harness) {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.rest();
    });
    let proxy = Harness::to(&[backend.address]);
    (backend, proxy)
}

/// The next RST_STREAM or acknowledged PING: the stream and the code of the one, none of the other.
fn reset_or_pong(raw: &mut Raw) -> Option<(u32, u32)> {
    loop {
        let (kind, flags, stream, payload) = raw.frame().expect("the connection goes on");
        match (kind, flags) {
            (RST_STREAM, _) => {
                return Some((stream, u32::from_be_bytes(payload.try_into().unwrap())));
            }
            (PING, 1) => return None,
            (GOAWAY, _) => panic!("{payload:?}"),
            _ => {}
        }
    }
}

#[test]
#[rustfmt::skip] // A row is a line.
fn an_error_of_one_stream_leaves_the_others() {
    let (_backend, proxy) = unanswered();
    let metrics = proxy.metrics.backend("web", "b1");
    let ping = || frame(PING, 0, 0, [0; 8]);
    for (rule, asked, fault, code) in [
        ("5.1 DATA behind the end", get(3), frame(DATA, 0, 3, "x"), STREAM_CLOSED),
        ("5.1 HEADERS behind the end", get(3), get(3), STREAM_CLOSED),
        ("6.9 no increment", post(3), frame(WINDOW_UPDATE, 0, 3, [0; 4]), PROTOCOL_ERROR),
        ("6.9 no increment behind the end", get(3), frame(WINDOW_UPDATE, 0, 3, [0; 4]), PROTOCOL_ERROR),
        ("6.9.1 too much of it", post(3), frame(WINDOW_UPDATE, 0, 3, [0x7F, 0xFF, 0xFF, 0xFF]), FLOW_CONTROL_ERROR),
        ("7540 5.3.1 a stream on itself", post(3), frame(PRIORITY, 0, 3, [0, 0, 0, 3, 0]), PROTOCOL_ERROR),
    ] {
        let mut raw = Raw::connect(&proxy);
        raw.send(joined(&[get(1), asked]));
        wait_until(|| metrics.in_flight() == 2);
        raw.send(fault);
        assert_eq!(reset_or_pong(&mut raw), Some((3, code)), "{rule}");
        // The backend is let go of the one, and works on for the other.
        wait_until(|| metrics.in_flight() == 1);
        raw.send(ping());
        while let Some((stream, _)) = reset_or_pong(&mut raw) {
            assert_eq!(stream, 3, "{rule}");
        }
        drop(raw);
        wait_until(|| metrics.in_flight() == 0);
    }
}

#[test]
fn a_malformed_head_resets_its_stream_wherever_its_block_is_parted() {
    let (_backend, proxy) = unanswered();
    let metrics = proxy.metrics.backend("web", "b1");
    let mut raw = Raw::connect(&proxy);
    raw.send(get(1));
    wait_until(|| metrics.in_flight() == 1);
    let mut stream = 1;
    for field in [
        literal("connection", "close"),
        remembered("transfer-encoding", "chunked"),
        literal("te", "gzip"),
        literal(":path", "/"),
        joined(&[literal("a", "b"), literal(":protocol", "c")]),
        literal("Upper", "case"),
    ] {
        let parts = [get_block(), field, literal("x", "y")];
        let block = joined(&parts);
        for at in 1..block.len() {
            stream += 2;
            let first = frame(HEADERS, END_STREAM, stream, &block[..at]);
            let second = frame(CONTINUATION, END_HEADERS, stream, &block[at..]);
            raw.send(joined(&[first, second]));
            let reset = Some((stream, PROTOCOL_ERROR));
            assert_eq!(reset_or_pong(&mut raw), reset, "{at} of {parts:?}");
            // As few as are no flood.
            if stream > 300 {
                drop(raw);
                wait_until(|| metrics.in_flight() == 0);
                raw = Raw::connect(&proxy);
                raw.send(get(1));
                wait_until(|| metrics.in_flight() == 1);
                stream = 1;
            }
        }
    }
    assert_eq!(metrics.in_flight(), 1, "no backend heard of them");
}

#[test]
fn a_connection_is_closed_behind_its_goodbye() {
    let (_backend, proxy) = unanswered();
    let mut raw = Raw::connect(&proxy);
    raw.send(joined(&[get(1), frame(PING, 0, 0, [0; 6])]));
    assert_eq!(raw.outcome(), GoAway(FRAME_SIZE_ERROR));
    assert_eq!(raw.outcome(), Closed);
}

#[test]
fn a_window_that_shrinks_below_what_was_sent_is_waited_for() {
    let backend = Scripted::named("hello");
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    let window = |bytes: u8| frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, bytes]);
    let mut read = |frames: Vec<Vec<u8>>, until: usize| {
        raw.send(joined(&frames));
        let mut body = Vec::new();
        while body.len() < until {
            let (kind, .., payload) = raw.frame().expect("the connection goes on");
            if kind == DATA {
                body.extend(payload);
            }
        }
        body
    };
    assert_eq!(read(vec![window(3), get(1)], 3), b"hel");
    // Now it is -2, then 0, then 1, then as many as there are.
    assert_eq!(read(vec![window(1), window(3), window(4)], 1), b"l");
    assert_eq!(read(vec![window(9)], 1), b"o");
}

#[test]
fn a_head_in_small_frames_is_served() {
    let backend = Scripted::named("hello");
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    let block = get_block();
    let mut frames = vec![frame(HEADERS, END_STREAM, 1, &block[..1])];
    frames.extend(
        block[1..]
            .iter()
            .map(|byte| frame(CONTINUATION, 0, 1, [*byte])),
    );
    frames.push(frame(CONTINUATION, END_HEADERS, 1, []));
    assert!(frames.len() > 11);
    raw.send(joined(&frames));
    assert_eq!(raw.outcome(), Status(200));
}

#[test]
fn a_field_behind_the_end_of_a_stream_is_remembered_and_refused_once() {
    let (_backend, proxy) = unanswered();
    let mut raw = Raw::connect(&proxy);
    let field = joined(&[get_block(), remembered("x", "y")]);
    raw.send(joined(&[
        get(1),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, field),
    ]));
    assert_eq!(reset_or_pong(&mut raw), Some((1, STREAM_CLOSED)));
    raw.send(frame(
        HEADERS,
        END_STREAM | END_HEADERS,
        3,
        joined(&[get_block(), vec![0xBE]]),
    ));
    raw.send(frame(PING, 0, 0, [0; 8]));
    while let Some((stream, _)) = reset_or_pong(&mut raw) {
        assert_eq!(stream, 1);
    }
    proxy.wait_for_in_flight("b1");
}

#[test]
fn data_behind_the_end_of_a_stream_is_given_back_to_the_connections_window() {
    let (_backend, proxy) = unanswered();
    let mut raw = Raw::connect(&proxy);
    raw.send(joined(&[
        get(1),
        frame(DATA, 0, 1, [0; 1_000]),
        frame(DATA, 0, 1, []),
    ]));
    let mut frames = std::iter::from_fn(|| raw.frame());
    let given = |frame: &(u8, u8, u32, Vec<u8>)| {
        (frame.0, frame.2, &frame.3[..]) == (WINDOW_UPDATE, 0, &1_000_u32.to_be_bytes()[..])
    };
    assert!(frames.any(|frame| given(&frame)));
}

#[test]
fn trailers_that_were_on_their_way_when_their_stream_was_reset_end_no_connection() {
    let (_backend, proxy) = unanswered();
    let mut raw = Raw::connect(&proxy);
    // More than the h2 crate remembers.
    let streams = || (0..80).map(|n| 2 * n + 1);
    for stream in streams() {
        let bad = frame(WINDOW_UPDATE, 0, stream, [0; 4]);
        raw.send(joined(&[post(stream), bad]));
        assert_eq!(reset_or_pong(&mut raw), Some((stream, PROTOCOL_ERROR)));
    }
    for stream in streams() {
        raw.send(frame(HEADERS, 5, stream, literal("a", "b")));
    }
    raw.send(frame(PING, 0, 0, [0; 8]));
    while reset_or_pong(&mut raw).is_some() {}
}

#[test]
fn frames_of_a_stream_that_both_sides_have_ended_end_the_connection() {
    let backend = Scripted::named("hello");
    let proxy = Harness::to(&[backend.address]);
    for late in [frame(DATA, 1, 1, "x"), get(1)] {
        let mut raw = Raw::connect(&proxy);
        raw.send(get(1));
        let mut frames = std::iter::from_fn(|| raw.frame());
        assert!(frames.any(|frame| (frame.0, frame.1) == (DATA, END_STREAM)));
        raw.send(late);
        assert_eq!(raw.outcome(), GoAway(STREAM_CLOSED));
    }
}

#[test]
fn pings_and_settings_are_acknowledged() {
    let backend = Scripted::named("hello");
    over_both(&backend, |_, connect| {
        let mut raw = connect();
        let settings = std::iter::from_fn(|| raw.frame()).find(|frame| frame.0 == SETTINGS);
        let settings = settings.unwrap();
        assert_eq!((settings.1, settings.3.len()), (1, 0));
        raw.send(frame(PING, 0, 0, b"12345678"));
        let mut frames = std::iter::from_fn(|| raw.frame());
        let pong = frames.find(|frame| frame.0 == PING).unwrap();
        assert_eq!((pong.1, &pong.3[..]), (1, &b"12345678"[..]));
    });
}

#[test]
fn no_more_is_sent_than_the_clients_window_holds() {
    let backend = Scripted::named("hello");
    over_both(&backend, |_, connect| {
        let mut raw = connect();
        raw.send(frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 2]));
        raw.send(get(1));
        let data = |raw: &mut Raw| loop {
            let (kind, flags, _, payload) = raw.frame().unwrap();
            if kind == DATA {
                return (flags, String::from_utf8(payload).unwrap());
            }
        };
        assert_eq!(data(&mut raw), (0, "he".into()));
        raw.send(frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1]));
        assert_eq!(data(&mut raw), (0, "l".into()));
        raw.send(frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 9]));
        assert_eq!(data(&mut raw), (1, "lo".into()));
    });
}

#[test]
fn more_than_the_proxys_window_is_an_error() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        // It reads no more.
        std::thread::park_timeout(std::time::Duration::from_secs(20));
    });
    over_both(&backend, |_, connect| {
        let mut raw = connect();
        raw.send(post(1));
        for _ in 0..80 {
            raw.send(frame(DATA, 0, 1, vec![0; 16_384]));
        }
        let mut outcome = raw.outcome();
        if outcome == Status(504) {
            outcome = raw.outcome();
        }
        assert!(
            matches!(
                outcome,
                GoAway(FLOW_CONTROL_ERROR) | Reset(FLOW_CONTROL_ERROR)
            ),
            "{outcome:?}"
        );
    });
}

#[test]
fn a_hundred_streams_are_open_at_a_time() {
    let (backend, _) = unanswered();
    over_both(&backend, |_, connect| {
        let mut raw = connect();
        for n in 0..101 {
            raw.send(get(2 * n + 1));
        }
        let mut frames = std::iter::from_fn(|| raw.frame());
        let reset = frames.find(|frame| frame.0 == RST_STREAM).unwrap();
        assert_eq!(reset.2, 201);
        assert_eq!(reset.3, REFUSED_STREAM.to_be_bytes());
    });
}

#[test]
fn requests_taken_back_at_once_are_a_flood() {
    let backend = Scripted::named("hello");
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    for n in 0..400 {
        raw.send(get(2 * n + 1));
        raw.send(frame(RST_STREAM, 0, 2 * n + 1, [0, 0, 0, 8]));
    }
    loop {
        match raw.outcome() {
            Status(_) | Reset(_) => {}
            ended => {
                assert_eq!(ended, GoAway(ENHANCE_YOUR_CALM));
                break;
            }
        }
    }
    wait_until(|| proxy.metrics.listener().open() == 0);
}
