//! Answers of backends that RFC 9113 calls malformed: each ends its own stream, and nothing else on its connection.

use std::sync::Mutex;

use serde_json::json;

use super::raw::*;
use super::trouble::{answering, fine};
use crate::proxy::tests::harness::*;
use crate::telemetry::metrics::BackendError::Malformed;

/// What breaks which rule, and the frames that a stream is answered with.
type Case = (&'static str, Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>);

const ENDS: u8 = END_HEADERS | END_STREAM;

fn case(rule: &'static str, frames: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Case {
    (rule, Box::new(frames))
}

/// The rule, what is in front of it in a block, and the fields that break it.
type Fields = (&'static str, &'static str, Vec<u8>);

/// Fields that no head and no trailers may have.
fn malformed_fields() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("8.2.1 NUL in a value", literal("evil", "a\0b")),
        ("8.2.1 CR in a value", literal("evil", "a\rb")),
        ("8.2.1 LF in a value", literal("evil", "a\nb")),
        ("8.2.1 a control byte in a value", literal("evil", "a\x1Bb")),
        ("8.2.1 DEL in a value", literal("evil", "\x7F")),
        ("8.2.1 NUL in one remembered", remembered("evil", "a\0b")),
        (
            "8.2.1 LF in a code",
            vec![0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xf3],
        ),
        ("8.2.1 a space in front of a value", literal("evil", " a")),
        ("8.2.1 a tab behind one", literal("evil", "a\t")),
        ("8.2.1 nothing but a space", literal("evil", " ")),
        ("8.2.1 a tab in one remembered", remembered("evil", "\ta")),
        ("8.2.1 a space in a code", vec![0, 1, b'a', 0x81, 0x53]),
        ("8.2 an upper-case name", literal("Evil", "a")),
        ("8.2 one remembered", remembered("Evil", "a")),
        ("8.2.1 a space in a name", literal("ev il", "a")),
        ("8.2.1 a name that is not ASCII", literal("ev\u{e9}l", "a")),
        ("8.2.1 an empty name", literal("", "a")),
        ("8.2.2 connection", literal("connection", "close")),
        ("8.2.2 keep-alive", literal("keep-alive", "5")),
        ("8.2.2 proxy-connection", literal("proxy-connection", "a")),
        (
            "8.2.2 transfer-encoding",
            literal("transfer-encoding", "chunked"),
        ),
        ("8.2.2 upgrade", literal("upgrade", "a")),
        ("8.2.2 te", literal("te", "gzip")),
        ("8.3 an unknown pseudo-header field", literal(":evil", "a")),
        ("8.3 one remembered", remembered(":evil", "a")),
        ("8.3 :path", literal(":path", "/")),
        ("8.3 :method by index", vec![0x82]),
        ("8.3 :authority", literal(":authority", "x")),
    ]
}

fn status_fields() -> Vec<Fields> {
    vec![
        (
            "8.3.2 :status has three digits",
            "",
            literal(":status", "99"),
        ),
        ("8.3.2 and no more", "", literal(":status", "1000")),
        (
            "8.3.2 of which the first is none",
            "",
            literal(":status", "099"),
        ),
        ("8.3.2 they are digits", "", literal(":status", "abc")),
        ("8.3.2 it has some", "", literal(":status", "")),
        ("8.3.2 remembered, too few", "", remembered(":status", "99")),
        (
            "8.3.2 remembered, too many",
            "",
            remembered(":status", "1000"),
        ),
        ("8.3.2 remembered, none", "", remembered(":status", "abc")),
        ("8.3.2 by its index", "", vec![0x48, 2, b'9', b'9']),
        ("8.3.2 there is one", "", literal("x", "y")),
        ("8.3.2 there is but one", "200", literal(":status", "200")),
        ("8.3.2 of one value", "200", literal(":status", "404")),
        (
            "8.3 it is in front",
            "",
            [literal("x", "y"), literal(":status", "200")].concat(),
        ),
    ]
}

/// The block of an answer with this status in front, if any.
fn with(status: &str, fields: &[u8]) -> Vec<u8> {
    match status {
        "" => fields.to_vec(),
        status => [&literal(":status", status), fields].concat(),
    }
}

/// The frames of a block that is cut behind so many bytes.
fn cut(flags: u8, stream: u32, block: &[u8], at: usize) -> Vec<u8> {
    let (start, rest) = block.split_at(at.min(block.len()));
    let ended = flags & END_STREAM;
    [
        frame(HEADERS, ended, stream, start),
        frame(CONTINUATION, END_HEADERS, stream, rest),
    ]
    .concat()
}

/// The frames of a whole answer without a body, as few as there have to be.
fn in_few(stream: u32, block: &[u8]) -> Vec<u8> {
    let last = block.len().div_ceil(16_384) - 1;
    let pieces = block.chunks(16_384).enumerate().map(|(n, piece)| {
        let (kind, ended) = match n {
            0 => (HEADERS, END_STREAM),
            _ => (CONTINUATION, 0),
        };
        let flags = if n == last {
            END_HEADERS | ended
        } else {
            ended
        };
        frame(kind, flags, stream, piece)
    });
    pieces.collect::<Vec<_>>().concat()
}

/// So many fields of a thousand bytes.
fn thousands(count: usize) -> Vec<u8> {
    let field = |n| literal(format!("x-{n}"), "v".repeat(1_000));
    (0..count).flat_map(field).collect()
}

/// What comes behind interim answers.
fn final_answer(proxy: &Harness) -> (String, String) {
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    loop {
        let (head, body) = client.response();
        if status(&head) >= 200 {
            return (head, body);
        }
        assert!(!head.contains("evil"));
    }
}

/// Asks for each case, and for a fine answer behind each, while another request is under way on the same connection.
/// The cases come to one of these statuses.
fn check(cases: Vec<Case>, statuses: &[u16]) {
    let rules: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let held = Mutex::new(0);
    let backend = answering(move |peer, connection, request, stream| {
        if connection > 0 {
            return peer.send(fine(stream));
        }
        match request {
            0 => *held.lock().unwrap() = stream,
            n if n == 2 * cases.len() + 1 => {
                peer.send(fine(*held.lock().unwrap()));
                peer.send(fine(stream));
            }
            n if n % 2 == 1 => peer.send((cases[n / 2].1)(stream)),
            _ => peer.send(fine(stream)),
        }
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    let mut other = proxy.client();
    other.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(|| proxy.backend(0).in_flight() == 1);
    let mut faults = Vec::new();
    for rule in &rules {
        let (head, body) = final_answer(&proxy);
        let came = status(&head);
        if !statuses.contains(&came) || (head + &body).contains("evil") {
            faults.push(format!("{rule}: {came}"));
        }
        let next = status(&proxy.get("/").0);
        if (next, backend.connections()) != (200, 1) {
            faults.push(format!(
                "{rule}: {next} behind it, {} connections",
                backend.connections()
            ));
        }
    }
    assert_eq!(status(&proxy.get("/").0), 200);
    assert_eq!(
        status(&other.response().0),
        200,
        "the one under way: {faults:#?}"
    );
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(backend.connections(), 1);
    proxy.settle();
    if statuses == [502] {
        let counted = proxy.metrics.backend("web", "b1").errors(Malformed);
        assert_eq!(counted, rules.len() as u64);
    }
}

#[test]
fn a_malformed_head_is_502_for_its_own_client_alone() {
    let fields = malformed_fields();
    let fields = fields
        .into_iter()
        .map(|(rule, fields)| (rule, "200", fields));
    let mut cases = Vec::new();
    for (rule, status, fields) in fields.chain(status_fields()) {
        let block = with(status, &fields);
        let again = block.clone();
        cases.push(case(rule, move |stream| {
            let more = frame(DATA, END_STREAM, stream, "evil");
            [frame(HEADERS, END_HEADERS, stream, &again), more].concat()
        }));
        for at in [1, block.len() / 2, block.len() - 1, block.len()] {
            let block = block.clone();
            cases.push(case(rule, move |stream| {
                cut(END_STREAM, stream, &block, at)
            }));
        }
    }
    check(cases, &[502]);
}

#[test]
fn a_malformed_interim_head_is_502_for_its_own_client_alone() {
    let fields = malformed_fields().into_iter();
    let mut cases: Vec<Case> = fields
        .map(|(rule, fields)| {
            let block = with("103", &fields);
            case(rule, move |stream| {
                [frame(HEADERS, END_HEADERS, stream, &block), fine(stream)].concat()
            })
        })
        .collect();
    cases.push(case("8.1 it ends no stream", |stream| {
        frame(HEADERS, ENDS, stream, with("103", &[]))
    }));
    cases.push(case("8.1 of a client's kind", |stream| {
        frame(HEADERS, ENDS, stream, with("100", &[]))
    }));
    check(cases, &[502]);
}

#[test]
fn what_is_wrong_around_the_head_is_502_for_its_own_client_alone() {
    let head = |length: &str, flags, stream| {
        let fields = literal("content-length", length);
        frame(HEADERS, flags, stream, with("200", &fields))
    };
    let update = |by: [u8; 4], stream| frame(WINDOW_UPDATE, 0, stream, by);
    check(
        vec![
            case("8.1 DATA in front", |stream| {
                [frame(DATA, 0, stream, "evil"), fine(stream)].concat()
            }),
            case("8.1 DATA alone", |stream| {
                frame(DATA, END_STREAM, stream, "evil")
            }),
            case("8.1 DATA behind an interim head", |stream| {
                let interim = frame(HEADERS, END_HEADERS, stream, with("103", &[]));
                [interim, frame(DATA, END_STREAM, stream, "evil")].concat()
            }),
            case("6.9 an update adds something", move |stream| {
                update([0; 4], stream)
            }),
            case("7540 5.3.1 no stream is on itself", |stream| {
                let priority = [&stream.to_be_bytes()[..], &[9], &with("200", &[])].concat();
                frame(HEADERS, ENDS | 0x20, stream, priority)
            }),
            case("8.1.1 a length that is none", move |stream| {
                head("evil", ENDS, stream)
            }),
            case("8.1.1 a length and no body", move |stream| {
                head("4", ENDS, stream)
            }),
        ],
        &[502],
    );
    let again = remembered("evil", &"v".repeat(4_000));
    check(
        vec![
            case("10.5.1 a list without bounds", move |stream| {
                let block = [with("200", &again), vec![0xBE; 300]].concat();
                frame(HEADERS, ENDS, stream, block)
            }),
            case("10.5.1 more fields than there may be", |stream| {
                in_few(stream, &with("200", &thousands(70)))
            }),
            case("10.5.1 many more", |stream| {
                in_few(stream, &with("200", &thousands(200)))
            }),
            case("10.5.1 few that are written as many", |stream| {
                // A byte of 28 bits in the code, which none has more of that a value may have.
                let field = [0, 1, b'x', 0xFF, 0x8D, 0x82, 0x06];
                let value = [0xFF, 0xFF, 0xFF, 0xEF, 0xFF, 0xFF, 0xFE].repeat(14_100);
                in_few(stream, &with("200", &[&field[..], &value].concat()))
            }),
        ],
        &[502],
    );
    // Its client may have had the head by then.
    check(
        vec![
            case("8.1.1 a body beyond its length", move |stream| {
                [
                    head("0", END_HEADERS, stream),
                    frame(DATA, END_STREAM, stream, "more"),
                ]
                .concat()
            }),
            case("8.1.1 a body behind an empty one", move |stream| {
                [
                    head("0", ENDS, stream),
                    frame(DATA, END_STREAM, stream, "more"),
                ]
                .concat()
            }),
            case("5.1 a head behind the end", |stream| {
                [fine(stream), fine(stream)].concat()
            }),
            case("5.1 trailers behind the end", |stream| {
                [
                    fine(stream),
                    frame(HEADERS, ENDS, stream, literal("x", "y")),
                ]
                .concat()
            }),
            case("6.9 an update by nothing behind the end", move |stream| {
                [fine(stream), update([0; 4], stream)].concat()
            }),
        ],
        &[200, 502],
    );
}

/// A client of whichever version that has the head and a part of the answer.
enum Reader {
    Http1(Peer),
    Http2(Raw),
}

impl Reader {
    fn of_http1(proxy: &Harness) -> Self {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.until("part\r\n");
        Self::Http1(client)
    }

    fn of_http2(proxy: &Harness) -> Self {
        let mut raw = Raw::connect(proxy);
        raw.send(get(1));
        while raw.frame().unwrap().0 != DATA {}
        Self::Http2(raw)
    }

    /// Whether the rest looks as if that was all.
    fn ends_well(self) -> bool {
        match self {
            Self::Http1(mut client) => client.rest().contains("0\r\n\r\n"),
            Self::Http2(mut raw) => !matches!(raw.outcome(), Outcome::Reset(1..)),
        }
    }
}

#[test]
fn malformed_trailers_are_no_end_for_their_own_client_alone() {
    let cut_through = |(rule, fields): (&'static str, Vec<u8>)| {
        let (whole, at) = (fields.clone(), fields.len() - 1);
        let whole = case(rule, move |stream| frame(HEADERS, ENDS, stream, &whole));
        [
            whole,
            case(rule, move |stream| cut(END_STREAM, stream, &fields, at)),
        ]
    };
    let fields = malformed_fields().into_iter();
    let mut cases: Vec<Case> = fields.flat_map(cut_through).collect();
    cases.push(case("8.1 no status", |stream| {
        frame(HEADERS, ENDS, stream, with("200", &[]))
    }));
    cases.push(case("8.1 no end", |stream| {
        frame(HEADERS, END_HEADERS, stream, literal("x", "y"))
    }));
    let rules: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let streams = Mutex::new((0, 0));
    let backend = answering(move |peer, connection, request, stream| {
        let (held, other) = &mut *streams.lock().unwrap();
        match request {
            _ if connection > 0 => peer.send(fine(stream)),
            0 => *held = stream,
            n if n == 4 * cases.len() + 1 => peer.send([fine(*held), fine(stream)].concat()),
            n if n % 2 == 1 => {
                let block = with("200", &literal("content-type", "application/grpc"));
                let part = frame(DATA, 0, stream, "part");
                peer.send([frame(HEADERS, END_HEADERS, stream, block), part].concat());
                *other = stream;
            }
            n => peer.send([(cases[(n - 2) / 4].1)(*other), fine(stream)].concat()),
        }
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    let mut held = proxy.client();
    held.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(|| proxy.backend(0).in_flight() == 1);
    for rule in rules {
        for connect in [Reader::of_http1, Reader::of_http2] {
            let reader = connect(&proxy);
            assert_eq!(status(&proxy.get("/").0), 200, "{rule}");
            assert!(!reader.ends_well(), "{rule}");
            assert_eq!(backend.connections(), 1, "{rule}");
        }
    }
    assert_eq!(status(&proxy.get("/").0), 200);
    assert_eq!(status(&held.response().0), 200);
}

#[test]
fn what_a_malformed_head_had_remembered_is_there_for_the_next_one() {
    for between in [
        [remembered("evil", "\0"), remembered(":status", "99")].concat(),
        [
            thousands(100),
            remembered("x-second", "1"),
            thousands(100),
            remembered("x-third", "1"),
        ]
        .concat(),
    ] {
        let (first, last) = (remembered("x-first", "1"), remembered("x-last", "2"));
        let malformed = with("200", &[first, between, last].concat());
        let backend = answering(move |peer, _, request, stream| {
            peer.send(match request {
                0 => in_few(stream, &malformed),
                _ => frame(HEADERS, ENDS, stream, [0x88, 0xBE, 0xC1]),
            });
        });
        let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
        assert_eq!(status(&proxy.get("/").0), 502);
        let (head, _) = proxy.get("/");
        assert_eq!(status(&head), 200);
        assert_eq!(
            (field(&head, "x-first"), field(&head, "x-last")),
            (Some("1"), Some("2"))
        );
        assert_eq!(backend.connections(), 1);
    }
}

#[test]
fn what_is_malformed_while_a_request_goes_on_ends_that_alone() {
    let cases: [Case; 5] = [
        case("8.2.1", |stream| {
            frame(
                HEADERS,
                END_HEADERS,
                stream,
                with("200", &literal("evil", "\0")),
            )
        }),
        case("8.3.2", |stream| {
            frame(HEADERS, ENDS, stream, with("99", &[]))
        }),
        case("6.9.1", |stream| {
            frame(WINDOW_UPDATE, 0, stream, [0x7F, 0xFF, 0xFF, 0xFF])
        }),
        // Their client may have had the answer by then.
        case("5.1 DATA behind the end", |stream| {
            let more = frame(DATA, 0, stream, "evil");
            [fine(stream), more.clone(), more].concat()
        }),
        case("5.1 HEADERS behind the end", |stream| {
            [fine(stream), fine(stream)].concat()
        }),
    ];
    let rules: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let count = cases.len();
    let held = Mutex::new(0);
    let backend = answering(move |peer, _, request, stream| match request {
        0 => *held.lock().unwrap() = stream,
        n if n % 2 == 1 && n / 2 < count => peer.send((cases[n / 2].1)(stream)),
        n if n <= 2 * count => peer.send(fine(stream)),
        _ => peer.send([fine(*held.lock().unwrap()), fine(stream)].concat()),
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    let mut other = proxy.client();
    other.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(|| proxy.backend(0).in_flight() == 1);
    for rule in rules {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\npart");
        let came = status(&client.head());
        assert!(
            came == 502 || came == 200 && rule.contains("behind"),
            "{rule}: {came}"
        );
        assert_eq!(status(&proxy.get("/").0), 200, "{rule}");
        assert_eq!(backend.connections(), 1, "{rule}");
    }
    assert_eq!(status(&proxy.get("/").0), 200);
    assert_eq!(status(&other.response().0), 200);
}

/// Whoever sends much DATA of padding alone comes to more connections, and no answer to harm.
#[test]
fn what_says_nothing_ends_no_connection() {
    for (flags, payload) in [(0, &[][..]), (PADDED, &[0])] {
        let backend = answering(move |peer, _, _, stream| {
            let fields = [literal(":status", "200"), literal("content-length", "5")];
            let head = frame(HEADERS, END_HEADERS, stream, fields.concat());
            let nothing = frame(DATA, flags, stream, payload).repeat(3);
            let on_itself = frame(
                PRIORITY,
                0,
                stream,
                [&stream.to_be_bytes()[..], &[9]].concat(),
            );
            let too_short = frame(PRIORITY, 0, stream, [0; 4]);
            let ended = frame(DATA, END_STREAM, stream, "whole");
            peer.send([head, nothing, on_itself, too_short, ended].concat());
        });
        let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
        let mut client = proxy.client();
        for n in 0..200 {
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            let (head, body) = client.response();
            assert_eq!((status(&head), &body[..]), (200, "whole"), "{n}: {head}");
        }
        assert_eq!(backend.connections() == 1, flags == 0);
    }
}

#[test]
fn a_connection_with_much_that_is_malformed_is_left_before_it_is_broken_off() {
    let held = Mutex::new(0);
    let backend = answering(move |peer, connection, request, stream| {
        match (connection, request) {
            (0, 0) => *held.lock().unwrap() = stream,
            (0, _) => peer.send(frame(HEADERS, ENDS, stream, literal("Evil", "1"))),
            _ => peer.send(fine(stream)),
        }
        if request == 801 {
            peer.send(fine(*held.lock().unwrap()));
        }
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    let mut other = proxy.client();
    other.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(|| proxy.backend(0).in_flight() == 1);
    let mut client = proxy.client();
    let statuses = (0..1_100).map(|_| {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        status(&client.response().0)
    });
    let statuses: Vec<u16> = statuses.collect();
    let malformed = statuses.iter().take_while(|status| **status == 502).count();
    // The word of the last reset may come behind the next request.
    assert!([801, 802].contains(&malformed), "{malformed}");
    assert!(statuses[malformed..].iter().all(|status| *status == 200));
    assert_eq!(backend.connections(), 2);
    assert_eq!(status(&other.response().0), 200);
}
