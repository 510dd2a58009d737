use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request};
use serde_json::json;

use super::client::*;
use crate::proxy::tests::harness::*;

#[test]
fn a_request_is_forwarded_by_the_rules_of_http1() {
    let (backend, heads) = recording();
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let request = Request::get("http://shop.example/cart?id=7")
            .header("cookie", "a=1")
            .header("x-forwarded-for", "192.0.2.9")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, _) = client.send(request, true).await;
        let (head, body, _) = whole(response).await;
        assert_eq!((head.status().as_u16(), body.as_str()), (200, ""));
        assert_eq!(head.headers()["via"], "1.1 synod");
        assert!(head.headers().contains_key("date"));
    }));
    let head = heads.recv().unwrap();
    assert!(head.starts_with("GET /cart?id=7 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "shop.example"),
        ("cookie", "a=1; b=2"),
        ("te", "trailers"),
        ("connection", "te"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.example"),
        ("via", "2.0 synod"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert!(field(&head, "x-request-id").is_some(), "{head}");
    assert!(field(&head, "transfer-encoding").is_none(), "{head}");
}

#[test]
fn a_thousand_requests_share_a_connection() {
    let backend = Scripted::named("hello");
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut answers = tokio::task::JoinSet::new();
        for n in 0..1_000 {
            let (response, _) = client.send(get(&format!("/{n}")), true).await;
            answers.spawn(whole(response));
        }
        while let Some(answer) = answers.join_next().await {
            assert_eq!(answer.unwrap().1, "hello");
        }
    }));
    proxy.settle();
    assert_eq!(proxy.metrics.route("all").requests(200), 1_000);
    assert_eq!(proxy.metrics.listener().connections(), 1);
    assert!(backend.connections() <= 100, "no more streams at a time");
}

#[test]
fn bodies_of_any_framing_pass_with_their_length_or_their_trailers() {
    let (sender, bodies) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let body = match field(&head, "content-length") {
                Some(length) => String::from_utf8(peer.exactly(length.parse().unwrap())).unwrap(),
                None => peer.until("0\r\n") + &peer.until("\r\n\r\n"),
            };
            sender.send(body).unwrap();
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            peer.send("2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 7\r\nx-two: a: b\r\n\r\n");
        }
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let known = Request::post("http://x/").header("content-length", "4");
        let (response, mut stream) = client.send(known.body(()).unwrap(), false).await;
        push(&mut stream, Bytes::from("milk"), true).await;
        let (head, body, trailers) = whole(response).await;
        assert_eq!((head.status().as_u16(), body.as_str()), (200, "hello"));
        assert!(!head.headers().contains_key("transfer-encoding"));
        assert_eq!(trailers["x-sum"], "7");
        assert_eq!(trailers["x-two"], "a: b");

        let (response, mut stream) = client.send(post("/"), false).await;
        push(&mut stream, Bytes::from("tea"), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", "9".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        assert_eq!(whole(response).await.1, "hello");
    }));
    assert_eq!(bodies.recv().unwrap(), "milk");
    assert_eq!(
        bodies.recv().unwrap(),
        "3\r\ntea\r\n0\r\nx-check: 9\r\n\r\n"
    );
}

#[test]
fn a_body_streams_both_ways_at_the_same_time() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Chunks go back as they come.
        while peer.pass_back() {}
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut stream) = client.send(post("/"), false).await;
        push(&mut stream, Bytes::from("first"), false).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "first");
        body.flow_control().release_capacity(5).unwrap();
        let large = Bytes::from(vec![b'x'; 1_000_000]);
        let sending = tokio::spawn(async move { push(&mut stream, large, true).await });
        assert_eq!(text(&mut body).await.len(), 1_000_000);
        sending.await.unwrap();
    }));
}

#[test]
fn a_client_that_does_not_read_slows_the_backend() {
    let (sender, sent) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        peer.stream
            .set_write_timeout(Some(std::time::Duration::from_millis(500)))
            .unwrap();
        let mut n = 0;
        while peer.try_send([b'x'; 10_000]) {
            n += 10_000;
        }
        sender.send(n).unwrap();
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, _stream) = client.send(get("/"), true).await;
        let _body = response.await.unwrap().into_body();
        let sent = tokio::task::spawn_blocking(move || sent.recv().unwrap());
        assert!(sent.await.unwrap() < 50_000_000);
        // The others on the connection go on.
        let (response, _) = client.send(get("/"), true).await;
        assert_eq!(response.await.unwrap().status(), 200);
    }));
}

#[test]
fn a_stream_that_waits_for_its_backend_keeps_no_room_from_others() {
    let backend = Scripted::new(|peer, _| {
        let length = match peer.head().starts_with("GET /stalls ") {
            true => 100_000,
            false => 20_000,
        };
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ));
        // More than comes with the head.
        peer.send([b'x'; 20_000]);
        if length > 20_000 {
            peer.send([b'x'; 20_000]);
        }
        assert!(peer.is_closed());
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        // The connection's window is 65,535 bytes, and none of them is given back.
        let (response, _) = client.send(get("/stalls"), true).await;
        let mut stalled = response.await.unwrap().into_body();
        let mut read = 0;
        while read < 40_000 {
            read += stalled.data().await.unwrap().unwrap().len();
        }
        let (_, _, body) = client.get("/").await;
        assert_eq!(body.len(), 20_000);
    }));
}

#[test]
fn interim_answers_reach_the_client_in_order() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        assert_eq!(peer.until("0\r\n\r\n"), "2\r\nhi\r\n0\r\n\r\n");
        peer.send(ok("done"));
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let request = Request::post("http://x/").header("expect", "100-continue");
        let (mut response, mut stream) = client.send(request.body(()).unwrap(), false).await;
        for (status, link) in [(100, None), (103, Some("</a.css>"))] {
            let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
            let interim = interim.await.unwrap().unwrap();
            assert_eq!(interim.status().as_u16(), status);
            let told = interim.headers().get("link");
            assert_eq!(told.map(|link| link.to_str().unwrap()), link);
        }
        push(&mut stream, Bytes::from("hi"), true).await;
        assert_eq!(whole(response).await.1, "done");
    }));
}

#[test]
fn what_fails_behind_an_interim_answer_is_told_in_a_final_one() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (mut response, _) = client.send(get("/"), true).await;
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
        assert_eq!(interim.await.unwrap().unwrap().status().as_u16(), 103);
        assert_eq!(response.await.unwrap().status(), 502);
    }));
}

#[test]
fn the_proxys_own_answers_say_why_and_keep_the_connection() {
    let proxy = Harness::to(&[nobody()]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for _ in 0..2 {
            let (status, fields, body) = client.get("/").await;
            assert_eq!(status, 502, "{body}");
            let why = fields["proxy-status"].to_str().unwrap();
            assert!(why.contains("connection_refused"), "{why}");
            assert!(!fields.contains_key("connection"));
        }
        for (request, status) in [
            (Request::get("http://x/").header("host", "y"), 400),
            (Request::connect("x:80"), 405),
            (Request::get("http://x/").header("expect", "a-miracle"), 417),
            (Request::get("http://x/\"quoted\""), 400),
            (Request::get("http://x/").header("content_length", "0"), 400),
            (
                Request::get("http://x/").header("x", "y".repeat(70_000)),
                431,
            ),
        ] {
            let Ok(request) = request.body(()) else {
                continue;
            };
            let what = format!("{request:?}");
            let (response, _) = client.send(request, true).await;
            let answer = response.await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{what}");
            assert!(answer.headers().contains_key("proxy-status"), "{what}");
        }
    }));
}

#[test]
fn head_and_bodiless_answers_end_their_streams() {
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            peer.send(match head.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
                _ => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
            });
        }
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let head = Request::head("http://x/").body(()).unwrap();
        let (response, _) = client.send(head, true).await;
        let (head, body, _) = whole(response).await;
        assert_eq!(
            (
                head.headers()["content-length"].to_str().unwrap(),
                body.as_str()
            ),
            ("7", "")
        );
        let (status, fields, _) = client.get("/").await;
        assert_eq!((status, fields["etag"].to_str().unwrap()), (304, "\"a\""));
    }));
}

#[test]
fn a_body_until_close_is_whole_for_the_client() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send("HTTP/1.0 200 OK\r\n\r\nall of it");
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(client.get("/").await.2, "all of it");
    }));
}

#[test]
fn an_answer_that_breaks_off_is_reset() {
    let (seen, half_seen) = std::sync::mpsc::channel();
    let half_seen = std::sync::Mutex::new(half_seen);
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        half_seen.lock().unwrap().recv().unwrap();
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, _) = client.send(get("/"), true).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        seen.send(()).unwrap();
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    }));
}

#[test]
fn a_request_taken_back_ends_at_the_backend_too() {
    let directory = tempfile::tempdir().unwrap();
    let (options, log) = logging_to(&directory);
    let backend = Scripted::new(|peer, _| {
        peer.head();
        assert!(peer.is_closed());
    });
    let proxy = Harness::new(options, &web(&[backend.address], json!({})));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut stream) = client.send(get("/"), true).await;
        let metrics = proxy.metrics.backend("web", "b1");
        while metrics.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        stream.send_reset(Reason::CANCEL);
        drop(response);
        while metrics.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    }));
    backend.wait_for_ended(1);
    proxy.drain();
    let lines = lines(&log);
    assert_eq!(lines[0]["reason"], "client_gone");
    assert_eq!(lines[0]["protocol"], "HTTP/2.0");
}

#[test]
fn an_early_answer_lets_the_client_stop_sending() {
    let proxy = Harness::to(&[nobody()]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut stream) = client.send(post("/"), false).await;
        assert_eq!(whole(response).await.0.status(), 502);
        let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        assert_eq!(reset.unwrap(), Reason::NO_ERROR);
    }));
}

/// Whoever is reset while it sends often loses the answer, though the code is that of no error.
#[test]
fn who_is_answered_early_may_end_its_request() {
    let proxy = Harness::to(&[nobody()]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut stream) = client.send(post("/"), false).await;
        assert_eq!(whole(response).await.0.status(), 502);
        // More than its window had room for.
        push(&mut stream, vec![b'x'; 200_000].into(), true).await;
    }));
}

#[test]
fn a_drain_lets_streams_finish_and_says_goodbye() {
    let (release, released) = std::sync::mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        released.lock().unwrap().recv().unwrap();
        peer.send(ok("late"));
    });
    let proxy = Harness::to(&[backend.address]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut client, response) = runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, _) = client.send(get("/"), true).await;
        (client, response)
    }));
    proxy.wait_for_in_flight("b1");
    let draining =
        std::thread::spawn(move || proxy.drain_within(std::time::Duration::from_secs(10)));
    runtime.block_on(soon(async {
        // The goodbye comes while the stream is open.
        while client.is_welcome().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        release.send(()).unwrap();
        assert_eq!(whole(response).await.1, "late");
    }));
    assert_eq!(draining.join().unwrap(), 0, "connections cut");
}

#[test]
fn an_idle_connection_is_ended_politely() {
    let backend = Scripted::named("a");
    let mut options = options();
    options.timeouts.keep_alive = std::time::Duration::from_millis(100);
    let proxy = Harness::new(options, &web(&[backend.address], json!({})));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(client.get("/").await.0, 200);
        while client.is_welcome().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }));
    wait_until(|| proxy.metrics.listener().open() == 0);
}
