//! Interim answers, `Expect: 100-continue`, and answers that do not wait for the body.

use serde_json::json;

use super::harness::*;

const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n";

#[test]
fn every_interim_answer_is_passed_on() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let backend = Scripted::always(format!("{hints}HTTP/1.1 102 Processing\r\n\r\n{}", ok("x")));
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let early = client.head();
        assert!(
            early.starts_with("HTTP/1.1 103 ") && early.contains("Link: </a.css>\r\n"),
            "{early}"
        );
        assert_eq!(status(&client.head()), 102);
        assert_eq!(client.response().1, "x");
    }
    let (head, body) = harness.once("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        (status(&head), body.as_str()),
        (200, "x"),
        "none of them is for a client of HTTP/1.0"
    );
}

#[test]
fn a_client_waits_for_the_backends_continue() {
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            assert_eq!(field(&head, "expect"), Some("100-continue"));
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = String::from_utf8(peer.exactly(4)).unwrap();
            peer.send(ok(&body));
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..2 {
        client.send(format!("{POST}Expect: 100-continue\r\n\r\n"));
        assert_eq!(status(&client.head()), 100);
        client.send("body");
        assert_eq!(client.response().1, "body");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_refusal_instead_of_continue_reaches_the_client_and_ends_its_connection() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        peer.rest();
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send(format!("{POST}Expect: 100-continue\r\n\r\n"));
    assert_eq!(status(&client.response().0), 417);
    assert!(
        client.is_closed(),
        "where the next request would begin nobody knows"
    );
}

#[test]
fn answer_and_body_move_at_the_same_time() {
    let backend = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..3 {
                let piece = peer.until("\r\n") + &peer.until("\r\n");
                peer.send(piece);
            }
            peer.until("0\r\n\r\n");
            peer.send("0\r\n\r\n");
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(status(&client.head()), 200);
        for word in ["3\r\none\r\n", "3\r\ntwo\r\n", "4\r\nfour\r\n"] {
            client.send(word);
            assert_eq!(String::from_utf8(client.exactly(word.len())).unwrap(), word);
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.until("0\r\n\r\n"), "0\r\n\r\n");
    }
    assert_eq!(
        backend.connections(),
        1,
        "both bodies ended, so both connections go on"
    );
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!",
        );
        // Reads on for a while, as a backend should.
        peer.exactly(100_000);
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
    client.send([b'x'; 150_000]);
    let (head, body) = client.response();
    assert_eq!((status(&head), body.as_str()), (413, "no!"));
    assert_eq!(field(&head, "connection"), Some("close"));
    client.try_send([b'x'; 50_000]);
    assert!(client.is_closed());
}

#[test]
fn a_client_need_not_wait_for_the_continue_it_asked_for() {
    let backend = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = String::from_utf8(peer.exactly(4)).unwrap();
            peer.send(ok(&body));
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..2 {
        client.send(format!("{POST}Expect: 100-continue\r\n\r\nbody"));
        assert_eq!(status(&client.head()), 100);
        assert_eq!(client.response().1, "body");
    }
    client.send(format!("{POST}\r\nbody"));
    assert_eq!(
        status(&client.head()),
        100,
        "unasked, and passed on all the same"
    );
    assert_eq!(client.response().1, "body");
}

#[test]
fn a_backend_that_needs_no_continue_just_answers() {
    let backend = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            peer.exactly(4);
            peer.send(ok("done"));
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..2 {
        client.send(format!("{POST}Expect: 100-continue\r\n\r\n"));
        // A client that hears nothing sends the body after a while.
        harness.wait_for_in_flight("b1");
        client.send("body");
        assert_eq!(client.response().1, "done");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn hints_and_continue_come_in_the_backends_order() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        peer.exactly(4);
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n");
        peer.send(ok("done"));
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send(format!("{POST}Expect: 100-continue\r\n\r\n"));
    assert_eq!(field(&client.head(), "link"), Some("</a>"));
    assert_eq!(status(&client.head()), 100);
    client.send("body");
    assert_eq!(field(&client.head(), "link"), Some("</b>"));
    assert_eq!(client.response().1, "done");
}

#[test]
fn an_expectation_of_http_1_0_is_none() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    for value in ["100-continue", "else"] {
        let request =
            format!("POST / HTTP/1.0\r\nContent-Length: 4\r\nExpect: {value}\r\n\r\nbody");
        assert_eq!(status(&harness.once(&request).0), 200);
        assert_eq!(field(&heads.recv().unwrap(), "expect"), None);
    }
}

#[test]
fn a_request_is_not_tried_again_once_an_interim_answer_has_gone() {
    let bad = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    });
    let harness = Harness::to(&[bad.address, bad.address]);
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&client.head()), 103);
    assert_eq!(status(&client.response().0), 502);
    assert_eq!(bad.connections(), 1);
}

#[test]
fn what_fails_behind_an_interim_answer_is_told_in_a_final_one() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let within = json!({"timeouts": {"response_headers": "300ms", "stream_idle": "300ms"}});
    for (then, expected) in [("", 502), ("garbage\r\n\r\n", 502), ("hang", 504)] {
        let backend = Scripted::new(move |peer, _| {
            let head = peer.head();
            peer.send(hints);
            match then {
                _ if head.starts_with("GET /good") => peer.send(ok("good")),
                "hang" => drop(peer.rest()),
                then => peer.send(then),
            }
        });
        let harness = Harness::with_pool(&[backend.address], within.clone());
        let mut client = harness.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.head(), hints);
        assert_eq!(status(&client.response().0), expected, "{then:?}");
        client.send("GET /good HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.head(), hints);
        assert_eq!(client.response().1, "good", "{then:?}");
    }
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        peer.rest();
    });
    let harness = Harness::with_pool(&[backend.address], within);
    let mut client = harness.client();
    client.send(format!("{POST}Expect: 100-continue\r\n\r\n"));
    assert_eq!(status(&client.head()), 100);
    let (head, _) = client.response();
    assert_eq!(status(&head), 408, "the body does not come");
    assert!(client.is_closed());
}

#[test]
fn interim_answers_are_bounded_in_number_and_in_time() {
    let endless = Scripted::new(|peer, _| {
        peer.head();
        while peer.try_send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {}
    });
    let harness = Harness::to(&[endless.address]);
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let heard = client.rest();
    assert_eq!(heard.matches("HTTP/1.1 103 ").count(), 64);
    assert_eq!(heard.matches("HTTP/1.1").count(), 65);
    assert_eq!(heard.matches("HTTP/1.1 502 ").count(), 1);
    let (head, _) = harness.once("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(status(&head), 502);

    let slow = Scripted::new(|peer, _| {
        peer.head();
        while peer.try_send("HTTP/1.1 102 Processing\r\n\r\n") {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    });
    let within = json!({"timeouts": {"response_headers": "1s"}});
    let harness = Harness::with_pool(&[slow.address], within);
    let (head, _) = harness.once("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(status(&head), 504);
}
