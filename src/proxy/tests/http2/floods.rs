//! Clients that ask much and want little, those that never end, and those that merely look so: over plain connections,
//! and over TLS.

use serde_json::json;

use super::raw::*;
use super::rules::{joined, over_both, over_both_with};
use crate::proxy::tests::harness::*;

#[test]
fn requests_taken_back_are_a_flood_in_any_guise() {
    let reset = |n| frame(RST_STREAM, 0, n, [0, 0, 0, 8]);
    let trailers = |n| {
        let fields = block(&[("x", "y")]);
        frame(HEADERS, END_STREAM | END_HEADERS, n, fields)
    };
    let malformed = |n| {
        let fields = joined(&[get_block(), block(&[("a", " b")])]);
        frame(HEADERS, END_STREAM | END_HEADERS, n, fields)
    };
    is_a_reset_flood("plain", |n| joined(&[get(n), reset(n)]));
    is_a_reset_flood("trailers", |n| joined(&[post(n), trailers(n), reset(n)]));
    let of_head = |n| {
        let fields = block(&[(":path", "/")]);
        let trailers = frame(HEADERS, END_STREAM | END_HEADERS, n, fields);
        joined(&[post(n), trailers])
    };
    is_a_reset_flood("reset by the proxy", malformed);
    is_a_reset_flood("reset for its trailers", of_head);
}

#[test]
fn resets_that_the_proxy_is_provoked_to_are_a_flood_like_the_clients() {
    let update = |n, increment: u32| frame(WINDOW_UPDATE, 0, n, increment.to_be_bytes());
    is_a_reset_flood("no increment", |n| joined(&[post(n), update(n, 0)]));
    let too_much = |n| joined(&[get(n), update(n, (1 << 31) - 1)]);
    is_a_reset_flood("too large a window", too_much);
    let data = |n| joined(&[get(n), frame(DATA, 0, n, "x")]);
    is_a_reset_flood("data behind the end", data);
    is_a_reset_flood("a head behind the end", |n| joined(&[get(n), get(n)]));
    let on_itself = |n: u32| frame(PRIORITY, 0, n, joined(&[n.to_be_bytes().into(), vec![0]]));
    is_a_reset_flood("on itself", |n| joined(&[post(n), on_itself(n)]));
    let longer = |n| {
        let declared = joined(&[pseudo("POST"), block(&[("content-length", "1")])]);
        let head = frame(HEADERS, END_HEADERS, n, declared);
        joined(&[head, frame(DATA, 0, n, "xy")])
    };
    is_a_reset_flood("more than was declared", longer);
    let endless = |n| {
        joined(&[
            post(n),
            frame(HEADERS, END_HEADERS, n, block(&[("a", "b")])),
        ])
    };
    is_a_reset_flood("trailers that end nothing", endless);
}

#[test]
fn whoever_lets_go_of_what_was_answered_floods_nobody() {
    let backend = Scripted::named("hello");
    over_both(&backend, |_, connect| {
        let mut raw = connect();
        for n in 0..500 {
            let stream = 2 * n + 1;
            raw.send(get(stream));
            loop {
                let (kind, flags, of, _) = raw.frame().expect("the connection goes on");
                assert_ne!(kind, GOAWAY);
                if (kind, flags, of) == (DATA, END_STREAM, stream) {
                    break;
                }
            }
            raw.send(frame(RST_STREAM, 0, stream, [0, 0, 0, 8]));
        }
        raw.send(frame(PING, 0, 0, [0; 8]));
        assert_eq!(goodbye_before_pong(&mut raw), None);
    });
}

/// Whether many streams of these frames have the connection ended, though few come at a time.
fn is_a_reset_flood(name: &str, frames: impl Fn(u32) -> Vec<u8> + Sync) {
    let backend = Scripted::named("hello");
    over_both(&backend, |proxy, connect| {
        let mut raw = connect();
        let mut ended = false;
        for n in 0..30 {
            let mut some: Vec<_> = (0..18).map(|m| frames(36 * n + 2 * m + 1)).collect();
            some.push(frame(PING, 0, 0, [0; 8]));
            raw.send(joined(&some));
            if let Some(code) = goodbye_before_pong(&mut raw) {
                assert_eq!(code, ENHANCE_YOUR_CALM, "{name}");
                ended = true;
                break;
            }
        }
        assert!(ended, "{name}");
        wait_until(|| proxy.metrics.listener().open() == 0);
        let listener = proxy.metrics.listener();
        assert_eq!(listener.refusals("http2_reset_flood"), 1, "{name}");
    });
}

/// The code of a GOAWAY; none if a PING is acknowledged first.
fn goodbye_before_pong(raw: &mut Raw) -> Option<u32> {
    loop {
        let (kind, flags, _, payload) = raw.frame().expect("neither goodbye nor pong");
        match (kind, flags) {
            (GOAWAY, _) => return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
            (PING, 1) => return None,
            _ => {}
        }
    }
}

#[test]
fn small_and_empty_data_is_none_within_its_bounds() {
    let backend = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            peer.until("\r\n0\r\n\r\n");
            peer.send(ok("hello"));
        }
    });
    over_both(&backend, |_, connect| {
        let body = |data: Vec<u8>| joined(&[post(1), data, frame(DATA, END_STREAM, 1, "x")]);
        for (name, data) in [
            ("five bytes", frame(DATA, 0, 1, "small").repeat(2_500)),
            ("one byte", frame(DATA, 0, 1, "x").repeat(12_000)),
            ("empty", frame(DATA, 0, 1, []).repeat(900)),
        ] {
            let mut raw = connect();
            raw.send(body(data));
            assert_eq!(raw.outcome(), Outcome::Status(200), "{name}");
        }
    });
}

#[test]
fn all_that_a_client_asks_may_be_taken_back_at_once_and_no_backend_hears_of_it() {
    let backend = Scripted::named("hello");
    over_both(&backend, |proxy, connect| {
        let mut raw = connect();
        let taken_back = |n| joined(&[get(n), frame(RST_STREAM, 0, n, [0, 0, 0, 8])]);
        let mut all: Vec<_> = (0..199).map(|n| taken_back(2 * n + 1)).collect();
        all.push(get(399));
        raw.send(joined(&all));
        assert_eq!(raw.outcome(), Outcome::Status(200));
        assert_eq!(proxy.metrics.backend("web", "b1").connections(), 1);
        let listener = proxy.metrics.listener();
        assert_eq!(listener.refusals("http2_taken_back"), 199);
    });
}

/// What is reset is kept until that is written: a client that does not read may not have ever more of it kept.
#[test]
fn data_for_streams_that_were_left_out_ends_the_connection_of_who_does_not_read() {
    let backend = Scripted::named("hello");
    over_both(&backend, |proxy, connect| {
        let mut raw = connect();
        raw.send(get(0x7FFF_FFF1));
        let data = |n: u32| frame(DATA, 0, 2 * n + 1, "x");
        for n in 0..100 {
            let some: Vec<_> = (100 * n..100 * (n + 1)).map(data).collect();
            raw.send(joined(&some));
        }
        wait_until(|| proxy.metrics.listener().open() == 0);
    });
}

#[test]
fn what_is_taken_back_dials_no_longer() {
    let backend = HeldUp::new();
    let patience = json!({"timeouts": {"connect": "60s"}});
    let proxy = Harness::with_pool(&[backend.address], patience);
    let mut raw = Raw::connect(&proxy);
    raw.send(get(1));
    proxy.wait_for_in_flight("b1");
    raw.send(frame(RST_STREAM, 0, 1, [0, 0, 0, 8]));
    let metrics = proxy.metrics.backend("web", "b1");
    wait_until(|| metrics.in_flight() == 0);
}

#[test]
fn what_is_begun_is_ended_in_time_whatever_else_is_under_way() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.rest();
    });
    let impatient = || {
        let mut options = options();
        options.timeouts.client_headers = std::time::Duration::from_millis(200);
        options
    };
    let config = web(&[backend.address], json!({}));
    over_both_with(impatient, &config, |proxy, connect| {
        let half = || get(3)[..20].to_vec();
        let settings = frame(SETTINGS, 0, 0, []);
        for (name, bytes) in [
            ("half a frame's head", settings[..5].to_vec()),
            ("half a request's head", half()),
            (
                "a head that goes on",
                frame(HEADERS, END_STREAM, 3, get_block()),
            ),
            ("a stream beside it", joined(&[get(1), half()])),
        ] {
            let mut raw = connect();
            raw.send(bytes);
            assert_eq!(raw.outcome(), Outcome::GoAway(ENHANCE_YOUR_CALM), "{name}");
        }
        let listener = proxy.metrics.listener();
        assert_eq!(listener.refusals("http2_head_timeout"), 4);
        wait_until(|| listener.open() == 0);
    });
    let proxy = Harness::new(impatient(), &config);
    let mut raw = Raw::silent(&proxy);
    raw.send(PREFACE);
    assert_eq!(raw.outcome(), Outcome::GoAway(ENHANCE_YOUR_CALM));
}
