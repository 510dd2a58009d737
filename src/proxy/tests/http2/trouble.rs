//! What backends of HTTP/2 do wrong.

use std::net::{Shutdown, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;

use super::backend::Backend;
use super::raw::*;
use crate::proxy::tests::harness::*;
use crate::proxy::tests::trouble::*;
use crate::telemetry::metrics::BackendError::{self, Malformed, Reset};

pub(super) const HTTP2: Table = Table {
    own: OWN,
    bad,
    good,
    pool: || json!({"protocol": "http2"}),
    asked,
};

#[test]
fn a_client_sees_what_the_table_says_of_a_backend_of_http2_alone() {
    HTTP2.check_alone();
}

#[test]
fn another_backend_of_http2_is_asked_as_the_table_says() {
    HTTP2.check_again();
}

#[test]
fn who_goes_on_over_http2_is_ejected_as_the_table_says() {
    HTTP2.check_ejection();
}

const OWN: &[Row] = &[
    row("speaks HTTP/1.1", Some(502), ALWAYS, Some(Malformed), true),
    row(
        "resets the stream",
        Some(502),
        IF_IDEMPOTENT,
        Some(Reset),
        true,
    ),
    row("refuses the stream", Some(503), ALWAYS, None, false),
    row("says goodbye before it", Some(503), ALWAYS, None, false),
    row(
        "breaks the protocol",
        Some(502),
        IF_IDEMPOTENT,
        Some(Malformed),
        true,
    ),
    row(
        "sends no status",
        Some(502),
        IF_IDEMPOTENT,
        Some(Malformed),
        true,
    ),
    row(
        "sends a field of HTTP/1.1",
        Some(502),
        IF_IDEMPOTENT,
        Some(Malformed),
        true,
    ),
    row("resets within the body", None, NEVER, Some(Reset), true),
    row("ends before its length", None, NEVER, Some(Malformed), true),
];

fn good() -> SocketAddr {
    let backend = Backend::new(|_, mut respond| async move {
        let response = http::Response::builder().header("content-length", "4");
        let mut stream = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        stream.send_data("good".into(), true).unwrap();
    });
    backend.address
}

fn bad(what: &'static str) -> SocketAddr {
    match what {
        "is not there" => return nobody(),
        "takes no connection" => return held_up(),
        "speaks HTTP/1.1" => return Scripted::named("bad").address,
        _ => {}
    }
    let backend = Scripted::new(move |peer, _| {
        peer.exactly(PREFACE.len());
        peer.send(frame(SETTINGS, 0, 0, []));
        while let Some((kind, flags, stream)) = next(peer) {
            match (kind, flags & 1) {
                (SETTINGS, 0) => peer.send(frame(SETTINGS, 1, 0, [])),
                (HEADERS, _) if !answer(peer, stream, what) => return,
                _ => {}
            }
        }
    });
    backend.address
}

/// A backend that `answer`s each request, told the number of its connection, of the request on that, and the stream.
pub(super) fn answering(
    answer: impl Fn(&mut Peer, usize, usize, u32) + Send + Sync + 'static,
) -> Scripted {
    Scripted::new(move |peer, connection| {
        peer.exactly(PREFACE.len());
        answer_frames(peer, |peer, request, stream| {
            answer(peer, connection, request, stream);
        });
    })
}

/// Behind the preface: `answer`s each request, told its number and its stream.
pub(in crate::proxy::tests) fn answer_frames(
    peer: &mut Peer,
    answer: impl Fn(&mut Peer, usize, u32),
) {
    peer.send(frame(SETTINGS, 0, 0, []));
    let mut request = 0;
    while let Some((kind, flags, stream)) = next(peer) {
        match (kind, flags & 1) {
            (SETTINGS, 0) => peer.send(frame(SETTINGS, 1, 0, [])),
            (HEADERS, _) => {
                answer(peer, request, stream);
                request += 1;
            }
            _ => {}
        }
    }
}

pub(in crate::proxy::tests) fn fine(stream: u32) -> Vec<u8> {
    let fields = block(&[(":status", "200"), ("content-length", "0")]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, fields)
}

/// A backend whose first connection is silent behind its first answer.
fn falling_silent() -> Scripted {
    answering(|peer, connection, request, stream| {
        if connection > 0 || request == 0 {
            peer.send(fine(stream));
        }
    })
}

/// A proxy to `backend` that waits so long for it.
fn waiting(backend: &Scripted, timeouts: &Value) -> Harness {
    let more = json!({"protocol": "http2", "timeouts": timeouts});
    Harness::with_pool(&[backend.address], more)
}

#[test]
fn a_connection_on_which_nothing_comes_any_more_is_left() {
    let backend = falling_silent();
    let proxy = waiting(&backend, &json!({"response_headers": "300ms"}));
    let statuses: Vec<u16> = (0..4).map(|_| status(&proxy.get("/").0)).collect();
    assert_eq!(statuses, [200, 504, 200, 200]);
    assert_eq!(backend.connections(), 2);
}

#[test]
fn a_connection_that_gives_signs_of_life_is_kept_by_who_waits_in_vain() {
    let backend = answering(|peer, _, request, stream| match request {
        1 => peer.send(frame(WINDOW_UPDATE, 0, 0, 1_u32.to_be_bytes())),
        _ => peer.send(fine(stream)),
    });
    let proxy = waiting(&backend, &json!({"response_headers": "300ms"}));
    let statuses: Vec<u16> = (0..4).map(|_| status(&proxy.get("/").0)).collect();
    assert_eq!(statuses, [200, 504, 200, 200]);
    assert_eq!(backend.connections(), 1);
}

/// Its connections die at their second request, before a byte of an answer, politely or by a reset, and without GOAWAY.
fn forgetful(reset: bool) -> Scripted {
    answering(move |peer, _, request, stream| match request {
        0 => peer.send(fine(stream)),
        _ => {
            let socket = SockRef::from(&peer.stream);
            if reset {
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
            // With the first of its ends, and what the script still holds ends with that.
            socket.shutdown(Shutdown::Both).unwrap();
        }
    })
}

#[test]
fn a_reused_connection_that_dies_without_a_goodbye_is_nobodys_failure() {
    for reset in [false, true] {
        let backend = forgetful(reset);
        let mut config = web(&[backend.address, nobody()], json!({"protocol": "http2"}));
        // The one may be ejected, since there is another.
        config["pools"][0]["backends"][1]["backup"] = json!(1);
        let proxy = Harness::new(options(), &config);
        let asked = |method: &str| {
            let request = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            status(&proxy.once(&request).0)
        };
        let metrics = proxy.metrics.backend("web", "b1");
        for n in 1..=20 {
            assert_eq!((asked("GET"), asked("GET")), (200, 200), "done again once");
            assert_eq!(backend.connections(), 2 * n);
            assert_eq!(asked("POST"), 502, "it may have been done");
            assert_eq!(backend.connections(), 2 * n);
            proxy.settle();
            assert!(
                BackendError::ALL
                    .iter()
                    .all(|error| metrics.errors(*error) == 0)
            );
            assert!(!proxy.backend(0).is_ejected());
        }
        assert_eq!(proxy.metrics.route("all").retries(), 0);
    }
}

#[test]
fn clients_out_of_patience_leave_no_connection_that_is_dead() {
    let backend = falling_silent();
    let proxy = waiting(&backend, &json!({"connect": "100ms"}));
    assert_eq!(status(&proxy.get("/").0), 200);
    let began = Instant::now();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(|| began.elapsed() > Duration::from_millis(200));
    drop(client);
    wait_until(|| proxy.backend(0).in_flight() == 0);
    assert_eq!(status(&proxy.get("/").0), 200);
    assert_eq!(backend.connections(), 2);
}

#[test]
fn requests_to_a_backend_that_takes_none_yet_wait_on_one_connection() {
    let (let_in, may_go_on) = std::sync::mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let backend = Scripted::new(move |peer, _| {
        peer.exactly(PREFACE.len());
        peer.send(frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 0]));
        peer.send(frame(SETTINGS, 1, 0, []));
        may_go_on.lock().unwrap().recv().unwrap();
        peer.send(frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 100]));
        while let Some((kind, _, stream)) = next(peer) {
            if kind == HEADERS {
                peer.send(fine(stream));
            }
        }
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    let mut clients: Vec<Peer> = (0..5)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client
        })
        .collect();
    wait_until(|| proxy.backend(0).in_flight() == 5);
    let_in.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(status(&client.response().0), 200);
    }
    assert_eq!(backend.connections(), 1);
}

/// Kind, flags and stream of the next frame.
fn next(peer: &mut Peer) -> Option<(u8, u8, u32)> {
    let head = peer.try_exactly(9)?;
    let [a, b, c, kind, flags, d, e, f, g] = head.try_into().unwrap();
    peer.try_exactly(u32::from_be_bytes([0, a, b, c]) as usize)?;
    Some((kind, flags, u32::from_be_bytes([d, e, f, g])))
}

/// Answers a request in its way; whether the connection goes on.
fn answer(peer: &mut Peer, stream: u32, what: &str) -> bool {
    let head = |status: &str, length: &str| {
        let fields = block(&[(":status", status), ("content-length", length)]);
        frame(HEADERS, END_HEADERS, stream, fields)
    };
    let reset = |code: u8| frame(RST_STREAM, 0, stream, [0, 0, 0, code]);
    let data = |ends: u8, text: &str| frame(DATA, ends, stream, text);
    match what {
        "dies before it answers" => return false,
        "resets the stream" => peer.send(reset(2)),
        "refuses the stream" => peer.send(reset(7)),
        "says goodbye before it" => {
            peer.send(frame(GOAWAY, 0, 0, [0; 8]));
            return false;
        }
        "hangs before the head" => {}
        "breaks the protocol" => peer.send(frame(DATA, 0, 0, "on no stream")),
        "sends no status" => {
            let fields = block(&[("content-length", "3")]);
            peer.send(frame(HEADERS, END_HEADERS, stream, fields));
        }
        "sends a field of HTTP/1.1" => {
            let fields = block(&[(":status", "200"), ("transfer-encoding", "chunked")]);
            peer.send(frame(HEADERS, END_HEADERS, stream, fields));
        }
        "answers with a failure" => {
            peer.send(head("500", "3"));
            peer.send(data(END_STREAM, "bad"));
        }
        "answers slowly" => {
            std::thread::sleep(Duration::from_millis(100));
            peer.send(head("200", "3"));
            peer.send(data(END_STREAM, "bad"));
        }
        within => {
            peer.send(head("200", "9"));
            peer.send(data(0, "part"));
            match within {
                "resets within the body" => peer.send(reset(2)),
                "dies within the body" => return false,
                "ends before its length" => peer.send(data(END_STREAM, "")),
                "hangs within the body" => {}
                other => panic!("{other}"),
            }
        }
    }
    true
}
