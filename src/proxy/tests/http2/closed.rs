//! Frames for streams that are closed: by their end, by a reset, or because they were left out.
//!
//! The h2 crate counts whatever it refuses for as long as a connection lives, and ends it when that is too much.

use serde_json::json;

use super::raw::*;
use super::rules::{self, joined};
use crate::proxy::tests::harness::*;

/// What the proxy said to these frames. It answers a PING before it resets a stream, and another one behind that.
fn said(raw: &mut Raw, frames: &[Vec<u8>]) -> Said {
    raw.send(joined(frames));
    let mut said = Said::default();
    for _ in 0..2 {
        raw.send(frame(PING, 0, 0, [0; 8]));
        listen(raw, &mut said);
    }
    said
}

fn listen(raw: &mut Raw, said: &mut Said) {
    loop {
        let (kind, flags, stream, payload) = raw.frame().expect("the connection goes on");
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match (kind, flags) {
            (RST_STREAM, _) => said.resets.push((stream, number(0))),
            (WINDOW_UPDATE, _) if stream == 0 => said.given += number(0),
            (GOAWAY, _) => said.goodbyes.push(number(4)),
            (PING, 1) => return,
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
struct Said {
    resets: Vec<(u32, u32)>,
    /// To the connection's window.
    given: u32,
    goodbyes: Vec<u32>,
}

/// A proxy whose backend takes requests and never answers, and a client of it, that has all of its window.
fn unanswered() -> (Scripted, Harness, Raw) {
    let (backend, proxy) = rules::unanswered();
    let mut raw = Raw::connect(&proxy);
    said(&mut raw, &[]);
    (backend, proxy, raw)
}

#[test]
fn data_of_a_stream_that_was_left_out_is_refused_once_and_given_back() {
    let (_backend, _proxy, mut raw) = unanswered();
    let data = || frame(DATA, 0, 3, [0; 700]);
    let once = said(&mut raw, &[get(5), data(), data()]);
    assert_eq!(once.resets, [(3, STREAM_CLOSED)]);
    assert_eq!(once.given, 1_400);
    let again = said(&mut raw, &[data(), frame(DATA, 0, 3, [])]);
    assert!(again.resets.is_empty(), "{again:?}");
    assert_eq!(again.given, 700);
}

#[test]
fn data_that_was_on_its_way_when_its_stream_was_reset_is_given_back_and_not_refused() {
    let (_backend, _proxy, mut raw) = unanswered();
    // More than the h2 crate remembers.
    let streams = || (0..80).map(|n| 2 * n + 1);
    for stream in streams() {
        let nothing = frame(WINDOW_UPDATE, 0, stream, [0; 4]);
        let reset = said(&mut raw, &[post(stream), nothing]);
        assert_eq!(reset.resets, [(stream, PROTOCOL_ERROR)]);
    }
    let late: Vec<_> = streams()
        .map(|stream| frame(DATA, END_STREAM, stream, [0; 500]))
        .collect();
    let late = said(&mut raw, &late);
    assert!(late.resets.is_empty(), "{late:?}");
    assert_eq!(late.given, 40_000);
}

#[test]
fn a_body_goes_on_however_many_requests_were_answered_early_beside_it() {
    let backend = Scripted::new(|peer, _| {
        peer.until("first");
        peer.until("second");
        peer.send(ok("hello"));
    });
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["match"] = json!({"path": {"prefix": "/up"}});
    let proxy = Harness::new(options(), &config);
    let mut raw = Raw::connect(&proxy);
    let up = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/up"),
        (":authority", "x"),
    ];
    raw.send(frame(HEADERS, END_HEADERS, 1, block(&up)));
    raw.send(frame(DATA, 0, 1, "first"));
    for first in [3, 203, 403] {
        // No route takes them, and their bodies never end. As many as there may be beside the other.
        for n in 0..99 {
            raw.send(post(first + 2 * n));
        }
        let next = || raw.frame().expect("the connection goes on");
        let resets = std::iter::repeat_with(next).filter(|(kind, ..)| *kind == RST_STREAM);
        assert_eq!(resets.take(99).count(), 99);
    }
    raw.send(frame(DATA, END_STREAM, 1, "second"));
    loop {
        match raw.frame().expect("the connection goes on") {
            (DATA, _, 1, body) => return assert_eq!(body, b"hello"),
            (RST_STREAM, _, _, code) => panic!("reset: {code:?}"),
            _ => {}
        }
    }
}

#[test]
fn a_head_behind_the_end_of_a_stream_is_refused_once() {
    let (_backend, _proxy, mut raw) = unanswered();
    for stream in [1, 3] {
        let refused = said(&mut raw, &[get(stream), get(stream)]);
        assert_eq!(refused.resets, [(stream, STREAM_CLOSED)]);
        let again = said(&mut raw, &[get(stream)]);
        assert!(again.resets.is_empty(), "{again:?}");
    }
}

#[test]
fn what_concerns_no_stream_that_is_open_is_passed_over() {
    let (_backend, _proxy, mut raw) = unanswered();
    let nothing = |stream| frame(WINDOW_UPDATE, 0, stream, [0; 4]);
    let on_itself = |stream| frame(PRIORITY, 0, stream, [0, 0, 0, stream as u8, 0]);
    let reset = frame(RST_STREAM, 0, 9, [0, 0, 0, 8]);
    let said = said(
        &mut raw,
        // One was left out, the other was reset.
        &[
            get(9),
            reset,
            nothing(3),
            on_itself(3),
            nothing(9),
            on_itself(9),
        ],
    );
    assert!(
        said.resets.is_empty() && said.goodbyes.is_empty(),
        "{said:?}"
    );
}

/// How many of `count` turns the connection lasts, and its goodbyes. A turn sends what `begin` makes, which is refused,
/// and two requests; 2 + `answered` answers are awaited.
fn turns(count: u32, answered: usize, begin: impl Fn(u32) -> Vec<u8>) -> (u32, Vec<u32>) {
    let backend = Scripted::named("hello");
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    let mut goodbyes = Vec::new();
    for turn in 0..count {
        let first = 8 * turn + 1;
        raw.send(joined(&[begin(first), get(first + 4), get(first + 6)]));
        let (mut answers, mut resets) = (0, 0);
        while answers < 2 + answered || resets < 1 {
            let Some((kind, flags, _, payload)) = raw.frame() else {
                return (turn, goodbyes);
            };
            match kind {
                DATA if flags == END_STREAM => answers += 1,
                RST_STREAM => resets += 1,
                GOAWAY => goodbyes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
                PING if flags == 0 => raw.send(frame(PING, 1, 0, payload)),
                _ => {}
            }
        }
    }
    (count, goodbyes)
}

#[test]
fn what_is_refused_now_and_then_may_be_so_for_ever() {
    let nothing = |n| joined(&[post(n), frame(WINDOW_UPDATE, 0, n, [0; 4])]);
    assert_eq!(turns(1_100, 0, nothing), (1_100, vec![]));
    let left_out = |n| joined(&[get(n + 2), frame(DATA, 0, n, "x")]);
    assert_eq!(turns(1_100, 1, left_out), (1_100, vec![]));
}

#[test]
fn a_connection_with_much_that_is_malformed_is_let_go_of_before_it_is_broken_off() {
    const NO_ERROR: u32 = 0;
    let malformed = |n| {
        frame(
            HEADERS,
            5,
            n,
            joined(&[get_block(), literal("Upper", "case")]),
        )
    };
    let (turn, goodbyes) = turns(1_100, 0, malformed);
    assert!(turn < 1_100 && !goodbyes.is_empty());
    assert!(
        goodbyes.iter().all(|code| *code == NO_ERROR),
        "{goodbyes:?}"
    );
}

/// The code of the goodbye to a client that opens ever more streams beyond the limit, having acknowledged it or not.
fn ever_more(acknowledged: bool) -> Option<u32> {
    let (_backend, _proxy, mut raw) = unanswered();
    if acknowledged {
        raw.send(frame(SETTINGS, 1, 0, []));
    }
    let mut refused = 0;
    for batch in 0..5 {
        let some: Vec<_> = (0..150).map(|n| get(300 * batch + 2 * n + 1)).collect();
        raw.send(joined(&some));
        raw.send(frame(PING, 0, 0, [0; 8]));
        loop {
            let (kind, flags, _, payload) = raw.frame().expect("a goodbye or a pong");
            match (kind, flags) {
                (RST_STREAM, _) => {
                    assert_eq!(payload, REFUSED_STREAM.to_be_bytes());
                    refused += 1;
                }
                (GOAWAY, _) => return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
                (PING, 1) => break,
                _ => {}
            }
        }
    }
    assert_eq!(refused, 650);
    None
}

#[test]
fn streams_beyond_a_limit_that_is_known_are_a_flood() {
    assert_eq!(ever_more(true), Some(ENHANCE_YOUR_CALM));
    assert_eq!(ever_more(false), None);
}
