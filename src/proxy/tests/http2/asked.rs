//! HTTP/2 to backends, for clients of either version.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};

use super::backend::{Backend, say};
use super::client::*;
use crate::proxy::tests::harness::*;

fn http2() -> Value {
    json!({"protocol": "http2"})
}

#[test]
fn a_request_of_http1_goes_on_over_http2() {
    let (sender, seen) = mpsc::channel();
    let backend = Backend::new(move |request, mut respond| {
        let sender = sender.clone();
        async move {
            let (head, mut body) = request.into_parts();
            let body = text(&mut body).await;
            sender.send((head, body)).unwrap();
            let response = Response::builder()
                .header("x-kept", "1")
                .header("content-length", "5");
            let response = response.body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data("hello".into(), true).unwrap();
        }
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send(
            "POST /a?b=c HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
             X-Mine: 1\r\nTE: trailers\r\n\r\nmilk",
        );
        let (head, body) = client.response();
        assert_eq!((status(&head), body.as_str()), (200, "hello"), "{head}");
        assert_eq!(field(&head, "via"), Some("2.0 synod"));
        assert_eq!(field(&head, "x-kept"), Some("1"));
        let (head, body) = seen.recv().unwrap();
        assert_eq!(head.uri, "http://shop.example/a?b=c");
        assert_eq!((head.method.as_str(), body.as_str()), ("POST", "milk"));
        let value = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
        for (name, expected) in [
            ("content-length", Some("4")),
            ("te", Some("trailers")),
            ("x-mine", Some("1")),
            ("x-forwarded-for", Some("127.0.0.1")),
            ("via", Some("1.1 synod")),
            ("x-hop", None),
            ("connection", None),
            ("host", None),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn trailers_reach_clients_of_either_version() {
    let backend = Backend::new(|request, mut respond| async move {
        let mut body = request.into_body();
        let asked = text(&mut body).await;
        let mut trailers = body.trailers().await.unwrap().unwrap_or_default();
        trailers.insert("x-asked", asked.parse().unwrap());
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("hello".into(), false).unwrap();
        stream.send_trailers(trailers).unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\ntea\r\n0\r\nX-Check: 9\r\n\r\n");
    let head = client.head();
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
    assert_eq!(client.until("0\r\n"), "5\r\nhello\r\n0\r\n");
    let trailers = client.head();
    assert!(trailers.contains("x-check: 9\r\n") && trailers.contains("x-asked: tea\r\n"));

    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut stream) = client.send(post("/"), false).await;
        push(&mut stream, Bytes::from("milk"), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", "7".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        let (_, body, trailers) = whole(response).await;
        assert_eq!(body, "hello");
        assert_eq!(
            (&trailers["x-check"], &trailers["x-asked"]),
            (&"7".parse().unwrap(), &"milk".parse().unwrap())
        );
    }));
}

#[test]
fn quotes_in_a_query_go_on_escaped() {
    let (plain, heads) = recording();
    let proxy = Harness::to(&[plain.address]);
    let query = "/?q=up{job=\"a\"}<>";
    assert_eq!(status(&proxy.get(query).0), 200);
    let escaped = "/?q=up{job=%22a%22}%3C%3E";
    assert_eq!(heads.recv().unwrap().split(' ').nth(1), Some(escaped));

    let (sender, targets) = mpsc::channel();
    let backend = Backend::new(move |request, mut respond| {
        sender.send(request.uri().to_string()).unwrap();
        async move { say(&mut respond, "") }
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    assert_eq!(status(&proxy.get(query).0), 200);
    assert_eq!(targets.recv().unwrap(), format!("http://x{escaped}"));
}

#[test]
fn trailers_that_are_to_be_expected_pass_beside_a_length() {
    let backend = Backend::new(|request, mut respond| async move {
        let kind = request.headers()["x-kind"].clone();
        let mut body = request.into_body();
        assert_eq!(text(&mut body).await, "milk");
        let mut trailers = body.trailers().await.unwrap().unwrap_or_default();
        let response = match kind.to_str().unwrap() {
            "grpc" => {
                trailers.insert("grpc-status", "7".parse().unwrap());
                Response::builder().header("content-type", "application/grpc")
            }
            _ => Response::builder().header("trailer", "x-check"),
        };
        let response = response.header("content-length", "5").body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        stream.send_data("hello".into(), false).unwrap();
        stream.send_trailers(trailers).unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for (kind, name, value) in [("announced", "x-check", "9"), ("grpc", "grpc-status", "7")] {
            let request = Request::post("http://x/")
                .header("x-kind", kind)
                .header("trailer", "x-check")
                .header("content-length", "4");
            let (response, mut stream) = client.send(request.body(()).unwrap(), false).await;
            push(&mut stream, Bytes::from("milk"), false).await;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-check", "9".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
            let (_, body, trailers) = whole(response).await;
            assert_eq!(body, "hello");
            assert_eq!(trailers[name], value);
        }
    }));
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nX-Kind: announced\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.send("4\r\nmilk\r\n0\r\nX-Check: 9\r\n\r\n");
    client.head();
    assert_eq!(client.until("0\r\n"), "5\r\nhello\r\n0\r\n");
    assert!(client.head().contains("x-check: 9\r\n"));
}

#[test]
fn messages_stream_both_ways_as_they_come() {
    let backend = Backend::new(|request, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let mut body = request.into_body();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            push(&mut stream, piece, false).await;
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut stream) = client.send(post("/"), false).await;
        let mut body = None;
        let mut response = Some(response);
        for n in 0..100 {
            push(&mut stream, Bytes::from(format!("{n:4}")), false).await;
            if let Some(response) = response.take() {
                body = Some(response.await.unwrap().into_body());
            }
            let body = body.as_mut().unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), format!("{n:4}"));
            body.flow_control().release_capacity(4).unwrap();
        }
        let large = Bytes::from(vec![b'x'; 2_000_000]);
        let sending = tokio::spawn(async move { push(&mut stream, large, true).await });
        assert_eq!(text(body.as_mut().unwrap()).await.len(), 2_000_000);
        sending.await.unwrap();
    }));
}

#[test]
fn ten_thousand_small_messages_reach_a_slow_reader() {
    let backend = Backend::new(|_, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for n in 0..10_000 {
            push(&mut stream, Bytes::from(format!("{n:07}")), false).await;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, _) = client.send(post("/"), true).await;
        let mut body = response.await.unwrap().into_body();
        let mut read = 0;
        while let Some(piece) = body.data().await {
            let n = piece.unwrap().len();
            read += n;
            body.flow_control().release_capacity(n).unwrap();
            if read % 1_000 < 8 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(read, 70_000);
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    }));
}

#[test]
fn interim_answers_pass() {
    let backend = Backend::new(|_, mut respond| async move {
        let interim = Response::builder().status(103).header("link", "</a.css>");
        respond
            .send_informational(interim.body(()).unwrap())
            .unwrap();
        say(&mut respond, "done");
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let interim = client.head();
    assert_eq!(
        (status(&interim), field(&interim, "link")),
        (103, Some("</a.css>"))
    );
    assert_eq!(status(&client.head()), 200);
}

#[test]
fn no_more_streams_are_opened_than_the_backend_allows() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (now, most.clone());
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(10);
    let backend = Backend::with(builder, usize::MAX, move |_, mut respond| {
        let (counted, peak) = (counted.clone(), peak.clone());
        async move {
            peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
            counted.fetch_sub(1, Ordering::SeqCst);
            say(&mut respond, "hello");
        }
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut answers = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let (response, _) = client.send(get("/"), true).await;
            answers.spawn(whole(response));
        }
        while let Some(answer) = answers.join_next().await {
            assert_eq!(answer.unwrap().1, "hello");
        }
    }));
    let most = most.load(Ordering::SeqCst);
    assert!(most > 1, "requests share a connection");
    assert!(
        backend.connections() <= 20,
        "{} connections",
        backend.connections()
    );
    assert!(most <= 10 * backend.connections(), "{most} at a time");
}

#[test]
fn a_refused_stream_goes_to_another_backend_whatever_its_method() {
    let busy = Backend::new(|_, mut respond| async move {
        respond.send_reset(Reason::REFUSED_STREAM);
    });
    let free = Backend::new(|request, mut respond| async move {
        let body = text(&mut request.into_body()).await;
        say(&mut respond, body);
    });
    let proxy = Harness::with_pool(&[busy.address, free.address], http2());
    for _ in 0..4 {
        let (head, body) =
            proxy.once("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nmilk");
        assert_eq!(status(&head), 200, "{head}");
        assert_eq!(body, "");
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    }
    let alone = Harness::with_pool(&[busy.address], http2());
    assert_eq!(status(&alone.get("/").0), 503);
}

#[test]
fn a_goodbye_loses_no_request() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(10);
    let backend = Backend::with(builder, 5, |_, mut respond| async move {
        say(&mut respond, "hello");
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for _ in 0..50 {
            let (response, _) = client.send(post("/"), true).await;
            let (head, body, _) = whole(response).await;
            assert_eq!((head.status().as_u16(), body.as_str()), (200, "hello"));
        }
    }));
    assert!(backend.connections() >= 5, "{}", backend.connections());
}

#[test]
fn a_request_taken_back_is_taken_back_from_the_backend() {
    let (sender, reset) = mpsc::channel();
    let backend = Backend::new(move |request, mut respond| {
        let sender = sender.clone();
        async move {
            if request.uri().path() == "/slow" {
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                sender.send(reason.unwrap()).unwrap();
            } else {
                say(&mut respond, "hello");
            }
        }
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(client.get("/").await.0, 200);
        let (response, mut stream) = client.send(get("/slow"), true).await;
        let metrics = proxy.metrics.backend("web", "b1");
        while metrics.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        stream.send_reset(Reason::CANCEL);
        drop(response);
        let reset = tokio::task::spawn_blocking(move || reset.recv().unwrap());
        assert_eq!(reset.await.unwrap(), Reason::CANCEL);
        assert_eq!(client.get("/").await.2, "hello");
    }));
    assert_eq!(backend.connections(), 1, "it stays for the others");
}

#[test]
fn a_backend_that_breaks_off_or_speaks_something_else_is_told_apart() {
    let broken = Backend::new(|_, mut respond| async move {
        let response = Response::builder().header("content-length", "10").body(());
        let mut stream = respond.send_response(response.unwrap(), false).unwrap();
        stream.send_data("half".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
    let proxy = Harness::with_pool(&[broken.address], http2());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(client.head().contains("content-length: 10"));
    assert_eq!(client.rest(), "half");

    let other = Scripted::named("hello");
    let proxy = Harness::with_pool(&[other.address], http2());
    assert_eq!(status(&proxy.get("/").0), 502);
}

#[test]
fn bodiless_answers_are_so_for_http1() {
    let backend = Backend::new(|request, mut respond| async move {
        let status = match request.method().as_str() {
            "GET" => 404,
            "DELETE" => 204,
            _ => 200,
        };
        let response = Response::builder().status(status).body(()).unwrap();
        respond.send_response(response, true).unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], http2());
    let mut client = proxy.client();
    for (method, expected, length) in [
        ("GET", 404, Some("0")),
        ("DELETE", 204, None),
        ("HEAD", 200, None),
        ("PUT", 200, Some("0")),
    ] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.head();
        assert_eq!(
            (status(&head), field(&head, "content-length")),
            (expected, length)
        );
    }
}
