//! Keep-alive, pipelining and bodies of every framing, both ways.

use serde_json::json;

use super::harness::*;

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[test]
fn both_sides_keep_their_connection() {
    let backend = Scripted::named("one");
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..10 {
        client.send(GET);
        let (head, body) = client.response();
        assert_eq!((status(&head), body.as_str()), (200, "one"));
    }
    assert_eq!(backend.connections(), 1);
    harness.settle();
    assert_eq!(harness.metrics.route("all").requests(200), 10);
    assert_eq!(harness.metrics.backend("web", "b1").answers(200), 10);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            peer.send(ok(&path));
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    let requests: String = (0..50)
        .map(|i| format!("GET /{i} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    client.send(&requests[..requests.len() - 7]);
    client.send(&requests[requests.len() - 7..]);
    for i in 0..50 {
        assert_eq!(client.response().1, format!("/{i}"));
    }
}

/// What a client sees of each answer, by its version. `\0` marks where the backend closes.
#[test]
fn answers_are_framed_for_the_client() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n3\r\n yo\r\n0\r\nX-Sum: 1\r\n\r\n";
    let closing = "HTTP/1.1 200 OK\r\n\r\nto the end\0";
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi\0";
    let table: &[(&str, &str, &str, &str)] = &[
        (
            "GET",
            "1.1",
            chunked,
            "2;x=y\r\nhi\r\n3\r\n yo\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        ("GET", "1.0", chunked, "hi yo"),
        ("GET", "1.1", closing, "a\r\nto the end\r\n0\r\n\r\n"),
        ("GET", "1.0", closing, "to the end"),
        ("GET", "1.1", old, "hi"),
        (
            "HEAD",
            "1.1",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "",
        ),
        (
            "HEAD",
            "1.1",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "",
        ),
        ("GET", "1.1", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            "GET",
            "1.1",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "",
        ),
        ("GET", "1.0", &ok("plain"), "plain"),
    ];
    for (method, version, answer, expected) in table {
        let answer = (*answer).to_owned();
        let backend = Scripted::new(move |peer, _| {
            while peer.try_until("\r\n\r\n").is_some() {
                peer.send(answer.trim_end_matches('\0'));
                if answer.ends_with('\0') {
                    return;
                }
            }
        });
        let harness = Harness::to(&[backend.address]);
        let mut client = harness.client();
        client.send(format!(
            "{method} / HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let head = client.head();
        assert!(head.contains("Connection: close\r\n"), "{head}");
        assert_eq!(
            client.rest(),
            *expected,
            "{method} {version} {:?}",
            field(&head, "transfer-encoding")
        );
        harness.settle();
        let sent = harness.metrics.route("all").requests(status(&head));
        assert_eq!(sent, 1, "it ended in order");
    }
}

#[test]
fn a_client_of_http_1_0_may_keep_its_connection() {
    let backend = Scripted::named("x");
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let (head, body) = client.response();
        assert_eq!(
            (field(&head, "connection"), body.as_str()),
            (Some("keep-alive"), "x")
        );
    }
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().1, "x");
    assert!(client.is_closed());
}

/// A backend that sends every body back, framed as it came.
fn echo() -> Scripted {
    Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            if let Some(length) = field(&head, "content-length") {
                let body = peer.exactly(length.parse().unwrap());
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ));
                peer.send(body);
            } else {
                let body = peer.until("0\r\n") + &peer.until("\r\n\r\n");
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
                ));
            }
        }
    })
}

#[test]
fn large_bodies_pass_both_ways_and_keep_the_connections() {
    let backend = echo();
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for size in [1, 5_000, 16 * 1024, 100_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let mut sender = Peer::connect_clone(&client);
        let sent = body.clone();
        let sending = std::thread::spawn(move || {
            sender.send(format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                sent.len()
            ));
            sender.send(sent);
        });
        let head = client.head();
        assert_eq!(field(&head, "content-length").unwrap(), size.to_string());
        assert!(
            client.exactly(size) == body,
            "{size} bytes came back different"
        );
        sending.join().unwrap();
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn chunks_and_trailers_pass_as_they_came() {
    let backend = echo();
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    let chunks = "4\r\nabcd\r\n2\r\nef\r\n";
    for pause in [false, true] {
        client.send(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
        );
        if pause {
            harness.settle();
        }
        client.send(chunks);
        if pause {
            harness.settle();
        }
        client.send("0\r\nX-Sum: 6\r\n\r\n");
        client.head();
        assert_eq!(
            client.until("X-Sum: 6\r\n\r\n"),
            format!("{chunks}0\r\nX-Sum: 6\r\n\r\n")
        );
    }
}

#[test]
fn a_slow_reader_slows_its_backend_and_nothing_piles_up() {
    let (sender, written) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        peer.stream
            .set_write_timeout(Some(std::time::Duration::from_millis(500)))
            .unwrap();
        let mut total = 0;
        while peer.try_send([0; 64 * 1024]) {
            total += 64 * 1024;
        }
        sender.send(total).unwrap();
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send(GET);
    client.head();
    // What the sockets' own buffers take, on both sides of the proxy, is a few megabytes.
    assert!(written.recv().unwrap() < 100_000_000);
}

#[test]
fn more_large_bodies_at_once_than_there_are_pipes_all_pass() {
    const BODY: usize = 4 << 20;
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
        // Whoever wants only a part of it leaves.
        peer.try_send((0..BODY).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    });
    let harness = Harness::to(&[backend.address]);
    let body: Vec<u8> = (0..BODY).map(|at| (at % 251) as u8).collect();
    for leave in [true, false] {
        // All are under way before any is read.
        let mut clients: Vec<Peer> = (0..80).map(|_| harness.client()).collect();
        for client in &mut clients {
            client.send(GET);
            client.head();
        }
        for client in clients.iter_mut().filter(|_| !leave) {
            assert!(client.exactly(BODY) == body, "the body came out as another");
        }
    }
}

#[test]
fn what_is_hashed_decides_the_backend() {
    let named = ["b1", "b2", "b3"].map(Scripted::named);
    let addresses = named.each_ref().map(|backend| backend.address);
    let maglev = json!({"balance": "maglev", "hash": {"header": "X-User"}});
    let harness = Harness::with_pool(&addresses, maglev);
    let ask = |user: usize| {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nx-user: user{user}\r\n\r\n");
        harness.once(&request).1
    };
    let homes: Vec<String> = (0..30).map(ask).collect();
    assert_eq!((0..30).map(ask).collect::<Vec<_>>(), homes);
    for backend in ["b1", "b2", "b3"] {
        assert!(homes.iter().any(|home| home == backend), "{backend}");
    }
    let anywhere: Vec<String> = (0..60).map(|_| harness.get("/").1).collect();
    assert!(anywhere.iter().any(|home| *home != anywhere[0]));
}
