//! Tables of what backends do wrong: what the client sees, whether another backend is asked, what is counted, and
//! whether who does it five times in a row is ejected.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::*;
use crate::telemetry::metrics::BackendError::{self, Connect, Malformed, Reset, Timeout};

/// What comes of a request of which the bad backend is asked first.
pub(super) struct Row {
    what: &'static str,
    /// The status where nobody else is asked; none if the connection breaks within the answer.
    alone: Option<u16>,
    /// Whether a GET and a POST are given to the good backend after it.
    again: (bool, bool),
    /// Whether all answers to GET and to POST are whole then.
    whole: (bool, bool),
    counted: Option<BackendError>,
    ejected: bool,
}

/// One whose answers are whole where the good backend is asked.
pub(super) const fn row(
    what: &'static str,
    alone: Option<u16>,
    again: (bool, bool),
    counted: Option<BackendError>,
    ejected: bool,
) -> Row {
    Row {
        what,
        alone,
        again,
        whole: again,
        counted,
        ejected,
    }
}

impl Row {
    const fn whole(self, whole: (bool, bool)) -> Self {
        Self { whole, ..self }
    }
}

pub(super) const NEVER: (bool, bool) = (false, false);
pub(super) const IF_IDEMPOTENT: (bool, bool) = (true, false);
pub(super) const ALWAYS: (bool, bool) = (true, true);

/// Backends of one kind, and what they do wrong.
pub(super) struct Table {
    /// Besides what [`COMMON`] says of all.
    pub(super) own: &'static [Row],
    /// One that does that.
    pub(super) bad: fn(&'static str) -> SocketAddr,
    /// One that says `good`.
    pub(super) good: fn() -> SocketAddr,
    /// What their pool says besides.
    pub(super) pool: fn() -> Value,
    /// What a client sees that asks by this method: the status and the body, if the answer is whole.
    pub(super) asked: fn(&Harness, &str) -> Option<(u16, String)>,
}

impl Table {
    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        COMMON.iter().chain(self.own)
    }

    fn harness(&self, backends: &[SocketAddr]) -> Harness {
        let mut pool = (self.pool)();
        pool["timeouts"] =
            json!({"response_headers": "400ms", "stream_idle": "400ms", "connect": "400ms"});
        Harness::with_pool(backends, pool)
    }

    /// What a client sees of a backend alone, and what is counted.
    pub(super) fn check_alone(&self) {
        for Row {
            what,
            alone,
            counted,
            ..
        } in self.rows()
        {
            let harness = self.harness(&[(self.bad)(what)]);
            for _ in 0..3 {
                let seen = (self.asked)(&harness, "GET");
                assert_eq!(seen.map(|(status, _)| status), *alone, "{what}");
            }
            harness.settle();
            let metrics = harness.metrics.backend("web", "b1");
            let counts = BackendError::ALL.map(|error| (error, metrics.errors(error)));
            let expected = |error| if *counted == Some(error) { 3 } else { 0 };
            assert_eq!(
                counts,
                BackendError::ALL.map(|error| (error, expected(error))),
                "{what}"
            );
            assert_eq!(metrics.in_flight(), 0, "{what}");
        }
    }

    /// Whether another backend is asked.
    pub(super) fn check_again(&self) {
        for row in self.rows() {
            let (what, good) = (row.what, (self.good)());
            for (method, again, whole) in [
                ("GET", row.again.0, row.whole.0),
                ("POST", row.again.1, row.whole.1),
            ] {
                let harness = self.harness(&[(self.bad)(what), good]);
                let answers: Vec<_> = (0..4).map(|_| (self.asked)(&harness, method)).collect();
                let is_whole = |answer: &Option<(u16, String)>| {
                    answer.as_ref().is_some_and(|(status, _)| *status < 500)
                };
                let all = answers.iter().all(is_whole);
                assert_eq!(all, whole, "{method}, {what}: {answers:?}");
                harness.settle();
                let retries = harness.metrics.route("all").retries();
                assert_eq!(retries > 0, again, "{method}, {what}");
            }
        }
    }

    /// Whether who goes on is ejected.
    pub(super) fn check_ejection(&self) {
        for Row { what, ejected, .. } in self.rows() {
            let harness = self.harness(&[(self.bad)(what), (self.good)()]);
            let first = harness.backend(0);
            for _ in 0..16 {
                if first.is_ejected() {
                    break;
                }
                (self.asked)(&harness, "POST");
            }
            if *ejected {
                wait_until(|| first.is_ejected());
                assert!(
                    (0..4).all(|_| (self.asked)(&harness, "GET") == Some((200, "good".into())))
                );
            }
            assert_eq!(first.is_ejected(), *ejected, "{what}");
        }
    }
}

/// A client of HTTP/1.1.
pub(super) fn asked(harness: &Harness, method: &str) -> Option<(u16, String)> {
    let mut client = harness.client();
    client.send(format!(
        "{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    ));
    let head = client.head();
    let end = match field(&head, "content-length")? {
        "3" => "bad",
        "4" => "good",
        "9" => "part-body",
        _ => "\n",
    };
    let body = client.try_until(end)?;
    Some((status(&head), body))
}

pub(super) const HTTP1: Table = Table {
    own: OWN,
    bad,
    good: || Scripted::named("good").address,
    pool: || json!({}),
    asked,
};

#[test]
fn a_client_sees_what_the_table_says_of_a_backend_alone() {
    HTTP1.check_alone();
}

#[test]
fn another_backend_is_asked_as_the_table_says() {
    HTTP1.check_again();
}

#[test]
fn who_goes_on_is_ejected_as_the_table_says() {
    HTTP1.check_ejection();
}

/// What any may do, whatever it speaks.
pub(super) const COMMON: &[Row] = &[
    row("is not there", Some(502), ALWAYS, Some(Connect), true),
    row(
        "takes no connection",
        Some(504),
        ALWAYS,
        Some(Connect),
        true,
    ),
    row(
        "dies before it answers",
        Some(502),
        IF_IDEMPOTENT,
        Some(Reset),
        true,
    ),
    row(
        "hangs before the head",
        Some(504),
        IF_IDEMPOTENT,
        Some(Timeout),
        true,
    ),
    row("answers with a failure", Some(500), NEVER, None, true),
    row("dies within the body", None, NEVER, Some(Reset), true),
    // A stream may be quiet and well.
    row("hangs within the body", None, NEVER, None, false),
    row("answers slowly", Some(200), NEVER, None, false).whole(ALWAYS),
];

const OWN: &[Row] = &[
    row("resets", Some(502), IF_IDEMPOTENT, Some(Reset), true),
    row(
        "dies within the head",
        Some(502),
        IF_IDEMPOTENT,
        Some(Reset),
        true,
    ),
    row(
        "sends garbage",
        Some(502),
        IF_IDEMPOTENT,
        Some(Malformed),
        true,
    ),
    // What it then does with a new connection is fine.
    row("closes what was idle", Some(200), NEVER, None, false).whole(IF_IDEMPOTENT),
];

/// Where no connection comes about for as long as the tests run.
pub(super) fn held_up() -> SocketAddr {
    Box::leak(Box::new(HeldUp::new())).address
}

fn bad(what: &'static str) -> SocketAddr {
    match what {
        "is not there" => return nobody(),
        "takes no connection" => return held_up(),
        _ => {}
    }
    let backend = Scripted::new(move |peer, _| {
        let mut answered = 0;
        while let Some(head) = peer.try_until("\r\n\r\n") {
            peer.exactly(field(&head, "content-length").map_or(0, |n| n.parse().unwrap()));
            match what {
                "dies before it answers" => return,
                "resets" => {
                    let socket = socket2::SockRef::from(&peer.stream);
                    return socket.set_linger(Some(Duration::ZERO)).unwrap();
                }
                "dies within the head" => return peer.send("HTTP/1.1 200 O"),
                "hangs before the head" => drop(peer.rest()),
                "sends garbage" => return peer.send("220 smtp ready\r\n\r\n"),
                "answers with a failure" => {
                    peer.send("HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad");
                }
                "dies within the body" => {
                    return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
                }
                "hangs within the body" => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
                    drop(peer.rest());
                }
                "answers slowly" => {
                    std::thread::sleep(Duration::from_millis(100));
                    peer.send(ok("bad"));
                }
                // The second request on a connection meets its end.
                "closes what was idle" if answered == 1 => return,
                "closes what was idle" => peer.send(ok("bad")),
                other => panic!("{other}"),
            }
            answered += 1;
        }
    });
    backend.address
}
