//! Frames at the edges of what they may hold, and where they may come: as small as they get, with reserved bits,
//! padding alone, for streams that were left out, and behind the end of all.

use super::raw::*;
use super::rules::{check, check_heads, joined, unanswered};
use crate::proxy::tests::harness::*;

use Outcome::{Closed, GoAway, Reset, Status};

/// Of HEADERS.
const PRIORITIZED: u8 = 0x20;

fn update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, [0, 0, 0, 8])
}

/// DATA of nothing but its padding, and so many bytes.
fn padding(ended: u8, bytes: u8) -> Vec<u8> {
    let mut payload = vec![0; usize::from(bytes) + 1];
    payload[0] = bytes;
    frame(DATA, PADDED | ended, 1, payload)
}

/// What changes the size of windows, in front of a request.
fn window(size: u32) -> Vec<u8> {
    let payload = [&[0, 4][..], &size.to_be_bytes()].concat();
    joined(&[frame(SETTINGS, 0, 0, payload), get(3)])
}

#[test]
#[rustfmt::skip] // A row is a line.
fn frames_hold_what_they_must() {
    let size = GoAway(FRAME_SIZE_ERROR);
    check_heads(&[
        ("4.2 HEADERS has its priority", frame(HEADERS, 5 | PRIORITIZED, 1, b"abcd"), size),
        ("4.2 beside the length of its padding", frame(HEADERS, 5 | PADDED | PRIORITIZED, 1, [0; 5]), size),
        ("4.2 and that", frame(HEADERS, 5 | PADDED, 1, []), size),
        ("4.2 GOAWAY has eight bytes", frame(GOAWAY, 0, 0, [0; 7]), size),
        ("4.2 a frame that only says that it is long", vec![0xFF, 0xFF, 0xFF, DATA, 0, 0, 0, 0, 1], size),
        ("6.5 settings of part of one", frame(SETTINGS, 0, 0, [0, 3, 0]), size),
        ("6.7 PING has no more than eight", frame(PING, 0, 0, [0; 9]), size),
        ("6.2 priority and padding", frame(HEADERS, 5 | PADDED | PRIORITIZED, 1, joined(&[vec![3, 0, 0, 0, 0, 9], get_block(), vec![0; 3]])), Status(200)),
        ("6.10 frames of nothing", joined(&[frame(HEADERS, 1, 1, []), frame(CONTINUATION, 0, 1, []).repeat(3), frame(CONTINUATION, 4, 1, get_block())]), Status(200)),
        ("8.1 a block of nothing is no request", frame(HEADERS, 5, 1, []), Reset(PROTOCOL_ERROR)),
    ]);
    check(&[
        ("4.2 DATA too", joined(&[post(1), frame(DATA, PADDED, 1, [])]), size),
        ("6.4 RST_STREAM has no more than four", joined(&[get(1), frame(RST_STREAM, 0, 1, [0; 5])]), size),
        ("6.9 WINDOW_UPDATE of a stream too", joined(&[post(1), frame(WINDOW_UPDATE, 0, 1, [0, 0, 1])]), size),
        ("6.1 padding as long as its frame", joined(&[post(1), frame(DATA, PADDED, 1, [6, 0, 0, 0, 0, 0])]), GoAway(PROTOCOL_ERROR)),
        ("6.1 padding of nothing", joined(&[post(1), padding(END_STREAM, 0)]), Status(200)),
        ("6.1 padding alone", joined(&[post(1), padding(END_STREAM, 255)]), Status(200)),
        ("8.1 but may be trailers", joined(&[post(1), frame(HEADERS, 5, 1, [])]), Status(200)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn reserved_bits_and_unknown_frames_say_nothing() {
    const R: u32 = 1 << 31;
    check_heads(&[
        ("4.1 of SETTINGS", joined(&[frame(SETTINGS, 0xFE, R, []), get(1)]), Status(200)),
        ("4.1 of PING", joined(&[frame(PING, 0xFE, R, [0; 8]), get(1)]), Status(200)),
        ("6.9 of an increment", joined(&[get(1), frame(WINDOW_UPDATE, 0xFF, 1 | R, [0x80, 0, 0, 1])]), Status(200)),
        ("6.9 which is none with it alone", frame(WINDOW_UPDATE, 0, 0, [0x80, 0, 0, 0]), GoAway(PROTOCOL_ERROR)),
        ("6.3 exclusive, on a stream to come", joined(&[frame(PRIORITY, 0, 1, [0x80, 0, 0, 9, 255]), get(1)]), Status(200)),
        ("5.5 as long as they may be", joined(&[frame(0x16, 0, 0, vec![0; 16_384]), get(1)]), Status(200)),
        ("9218 PRIORITY_UPDATE", joined(&[frame(0x10, 0, 0, b"\0\0\0\x01u=1"), get(1)]), Status(200)),
        ("6.5.2 many settings", joined(&[frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 9].repeat(2_000)), get(1)]), Status(200)),
        ("6.7 an answer that nobody asked for", joined(&[frame(PING, 1, 0, [9; 8]), get(1)]), Status(200)),
    ]);
    check(&[
        ("4.1 of RST_STREAM", joined(&[post(1), frame(RST_STREAM, 0xFF, 1 | R, [0; 4]), get(3)]), Status(200)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn streams_that_never_were_and_those_that_were_left_out() {
    let idle = GoAway(PROTOCOL_ERROR);
    check_heads(&[
        ("5.1 empty DATA of an idle stream", frame(DATA, 0, 1, []), idle),
        ("5.1 padding too", padding(0, 9), idle),
        ("5.1 an update of nothing", update(1, 0), idle),
        ("5.1 of a server's stream", update(2, 1), idle),
        ("5.1 its reset", reset(2), idle),
        ("5.1 its DATA", frame(DATA, 0, 2, []), idle),
        ("6.1 empty DATA of no stream", frame(DATA, 0, 0, []), idle),
        ("6.5 an ACK of a stream", frame(SETTINGS, 1, 1, []), idle),
        ("6.7 so has PING", frame(PING, 1, 1, [0; 8]), idle),
        ("5.1.1 an update of one left out", joined(&[update(0, 1), get(5), update(3, 1)]), Status(200)),
        ("5.1.1 its reset", joined(&[get(5), reset(3)]), Status(200)),
        ("5.1.1 the last stream there is", get(u32::MAX >> 1), Status(200)),
        ("6.9.2 as large as it may be, none overflows", window(0x7FFF_FFFF), Status(200)),
        ("8.5 :protocol has a scheme and a path", frame(HEADERS, 4, 1, block(&[(":method", "CONNECT"), (":protocol", "websocket"), (":authority", "x")])), Reset(PROTOCOL_ERROR)),
        ("8.1.1 a length that no number holds", frame(HEADERS, 4, 1, joined(&[pseudo("POST"), block(&[("content-length", &"9".repeat(30))])])), Reset(PROTOCOL_ERROR)),
    ]);
    check(&[
        ("5.1.1 its DATA", joined(&[post(5), frame(DATA, 0, 3, "x")]), Reset(STREAM_CLOSED)),
        ("5.1 empty DATA behind the end", joined(&[get(1), frame(DATA, 0, 1, [])]), Reset(STREAM_CLOSED)),
        ("5.1 padding behind the end", joined(&[get(1), padding(0, 9)]), Reset(STREAM_CLOSED)),
        ("6.10 CONTINUATION behind DATA", joined(&[post(1), frame(DATA, 0, 1, "x"), frame(CONTINUATION, 4, 1, [])]), GoAway(PROTOCOL_ERROR)),
        ("6.10 DATA in a block", joined(&[post(1), frame(HEADERS, 1, 1, []), frame(DATA, 0, 1, "x")]), GoAway(PROTOCOL_ERROR)),
        ("6.9.2 settings have a window overflow", joined(&[post(1), update(1, 0x7FFF_FFFF - 65_535), window(65_536)]), GoAway(FLOW_CONTROL_ERROR)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn tables_change_as_often_as_they_like_in_front() {
    let asked = |front: &[u8], behind: &[u8]| frame(HEADERS, 5, 1, [front, &get_block(), behind].concat());
    let too_large = [&[0x40, 1, b'x'][..], &literal("", vec![b'y'; 5_000])[2..]].concat();
    check_heads(&[
        ("7541 4.2 twice", asked(&[0x20, 0x3F, 0xE1, 0x1F], &[]), Status(200)),
        ("7541 4.2 in front of nothing", frame(HEADERS, 5, 1, [0x3F, 0xE1, 0x1F]), Reset(PROTOCOL_ERROR)),
        ("7541 5.1 a number with zeros behind", asked(&[], &[&[0, 1, b'x', 0x7F, 0x80, 0x80, 0][..], &[b'y'; 127]].concat()), Status(200)),
        ("7541 5.1 a length without a string", asked(&[], &[0, 1, b'x', 0x7F, 0xFF, 0xFF, 0xFF, 0x7F]), GoAway(COMPRESSION_ERROR)),
        ("7541 6.2.3 a name by index", asked(&[], &[0x1F, 8, 1, b'x']), Status(200)),
        ("7541 6.1 the last of the static table", asked(&[], &[0xBD]), Status(200)),
    ]);
    check(&[
        ("7541 4.4 what is too large empties it", joined(&[asked(&[], &too_large), frame(HEADERS, 5, 3, [0xBE])]), GoAway(COMPRESSION_ERROR)),
    ]);
}

#[test]
fn padding_is_given_back_and_may_come_alone() {
    let backend = Scripted::new(|peer, _| {
        peer.until("\r\n0\r\n\r\n");
        peer.send(ok("hello"));
    });
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    // More than the window of the stream, and often.
    let alone = padding(0, 255).repeat(100);
    raw.send(post(1));
    for _ in 0..6 {
        raw.send(&alone);
        let mut given = [0_u32; 2];
        while given.iter().any(|given| *given < 100 * 256) {
            let (kind, _, stream, payload) = raw.frame().expect("the connection goes on");
            assert_ne!(kind, GOAWAY);
            // The connection's window is widened at the start.
            if kind == WINDOW_UPDATE && (stream, payload.len()) != (0, 0) {
                let increment = u32::from_be_bytes(payload.try_into().unwrap());
                if increment < 983_041 {
                    given[stream as usize] += increment;
                }
            }
        }
    }
    raw.send(frame(DATA, END_STREAM, 1, "x"));
    assert_eq!(raw.outcome(), Status(200));
}

#[test]
fn padding_alone_and_resets_of_what_was_reset_are_floods_too() {
    check(&[
        (
            "padding",
            joined(&[post(1), padding(0, 0).repeat(1_100)]),
            GoAway(ENHANCE_YOUR_CALM),
        ),
        (
            "resets",
            joined(&[get(1), reset(1).repeat(1_100), get(3)]),
            GoAway(ENHANCE_YOUR_CALM),
        ),
    ]);
}

#[test]
fn what_comes_behind_the_goodbye_is_passed_over_for_a_while() {
    let proxy = Harness::to(&[nobody()]);
    let mut raw = Raw::connect(&proxy);
    raw.send(frame(PING, 0, 0, [0; 6]));
    assert_eq!(raw.outcome(), GoAway(FRAME_SIZE_ERROR));
    assert_eq!(raw.outcome(), Closed);
    // Whatever else was on its way resets nothing.
    for _ in 0..100 {
        assert!(raw.try_send([7; 1_000]));
    }
    let listener = proxy.metrics.listener();
    // Not for long, and not of any number of bytes.
    while raw.try_send([7; 16_384]) {}
    wait_until(|| listener.open() == 0);
    assert_eq!(listener.refusals("http2_protocol_error"), 1);
    let mut silent = Raw::connect(&proxy);
    silent.send(frame(PING, 0, 0, [0; 6]));
    wait_until(|| listener.refusals("http2_protocol_error") == 2);
    wait_until(|| listener.open() == 0);
}

#[test]
fn trailers_of_a_stream_that_is_refused_end_no_connection() {
    let (_backend, proxy) = unanswered();
    let mut raw = Raw::connect(&proxy);
    let mut all: Vec<_> = (0..100).map(|n| get(2 * n + 1)).collect();
    for stream in [201, 203, 205] {
        all.push(post(stream));
        all.push(frame(HEADERS, 5, stream, literal("a", "b")));
    }
    all.push(frame(PING, 0, 0, [0; 8]));
    raw.send(joined(&all));
    let frames = std::iter::from_fn(|| raw.frame()).take_while(|frame| frame.0 != PING);
    let told: Vec<_> = frames.filter(|frame| frame.0 != WINDOW_UPDATE).collect();
    assert!(told.iter().all(|frame| frame.0 != GOAWAY), "{told:?}");
    for stream in [201, 203, 205] {
        let first = told.iter().find(|frame| frame.2 == stream).unwrap();
        assert_eq!(
            (first.0, &first.3[..]),
            (RST_STREAM, &REFUSED_STREAM.to_be_bytes()[..])
        );
    }
}
