//! gRPC: what it asks of a proxy beyond HTTP/2.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use serde_json::json;

use super::backend::Backend;
use super::client::*;
use crate::proxy::tests::harness::*;
use crate::telemetry::metrics::BackendError;

fn call(timeout: Option<&str>) -> Request<()> {
    let mut request = Request::post("http://x/greet.Greeter/Greet")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    request.body(()).unwrap()
}

/// An answer that is a head only: its status of gRPC, and its fields.
async fn status_only(client: &mut Client, request: Request<()>) -> (String, HeaderMap) {
    let (response, mut stream) = client.send(request, false).await;
    // One that failed already takes no more.
    let _ = stream.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true);
    let (head, body) = response.await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    assert!(body.is_end_stream(), "a head only");
    assert!(!head.headers.contains_key("content-length"));
    let status = head.headers["grpc-status"].to_str().unwrap().to_owned();
    (status, head.headers)
}

#[test]
fn failures_are_told_in_words_of_grpc() {
    let proxy = Harness::with_pool(&[nobody()], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (status, fields) = status_only(&mut client, call(None)).await;
        assert_eq!(status, "14");
        assert_eq!(fields["content-type"], "application/grpc");
        assert_eq!(
            fields["grpc-message"],
            "The backend refused the connection."
        );
        assert!(
            fields["proxy-status"]
                .to_str()
                .unwrap()
                .contains("connection_refused")
        );
    }));
    proxy.publish(&json!({"pools": [], "routes": []}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(status_only(&mut client, call(None)).await.0, "12");
    }));
}

/// What it asks for is not known then, but that it is gRPC can be seen.
#[test]
fn a_head_that_is_refused_is_told_of_in_words_of_grpc() {
    let proxy = Harness::to(&[nobody()]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut request = call(None);
        let fields = request.headers_mut();
        for n in 0..70 {
            let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
            fields.insert(name, "v".repeat(1_000).try_into().unwrap());
        }
        assert_eq!(status_only(&mut client, request).await.0, "8");
        let mut request = call(None);
        *request.uri_mut() = format!("http://x/{}", "p".repeat(9_000)).parse().unwrap();
        assert_eq!(status_only(&mut client, request).await.0, "13");
    }));
}

/// Call by call, though the client has one connection for all of them; those of one call after the other and those at
/// once.
#[test]
fn calls_on_one_connection_are_spread_over_the_backends() {
    let backends = ["one", "two"].map(|name| {
        Backend::new(move |request, mut respond| async move {
            text(&mut request.into_body()).await;
            let response = Response::builder().header("content-type", "application/grpc");
            let response = response.body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(name.into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        })
    });
    let addresses = backends.each_ref().map(|backend| backend.address);
    let proxy = Harness::with_pool(&addresses, json!({"protocol": "http2"}));
    for at_once in [1, 20] {
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let mut answered = Vec::new();
            for _ in 0..20 / at_once {
                let mut calls = Vec::new();
                for _ in 0..at_once {
                    let (response, mut stream) = client.send(call(None), false).await;
                    let message = Bytes::from_static(b"\0\0\0\0\x02hi");
                    stream.send_data(message, true).unwrap();
                    calls.push(response);
                }
                for response in calls {
                    let (_, body, trailers) = whole(response).await;
                    assert_eq!(trailers["grpc-status"], "0");
                    answered.push(body);
                }
            }
            let by_turns = answered.chunks(2).all(|pair| pair[0] != pair[1]);
            assert!(by_turns, "{at_once} at once: {answered:?}");
        }));
    }
    assert_eq!(backends.each_ref().map(Backend::connections), [1, 1]);
}

/// Media types are told in any case (RFC 9110, 8.3.1), with white space before a parameter (5.6.6).
#[test]
fn grpc_is_spoken_in_any_case() {
    let backend = Backend::new(|request, mut respond| async move {
        let media = request.headers()["content-type"].clone();
        let response = Response::builder().header("content-type", media);
        let response = response.header("content-length", "2").body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        stream.send_data("ok".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "7".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    });
    let pool = json!({"protocol": "http2"});
    let answered = Harness::with_pool(&[backend.address], pool.clone());
    let refused = Harness::with_pool(&[nobody()], pool);
    for media in [
        "Application/gRPC",
        "APPLICATION/GRPC+proto",
        "application/grpc ;a=b",
    ] {
        let call = || {
            let mut call = call(None);
            let media = media.try_into().unwrap();
            call.headers_mut().insert("content-type", media);
            call
        };
        refused.runtime.block_on(soon(async {
            let mut client = Client::connect(&refused).await;
            assert_eq!(status_only(&mut client, call()).await.0, "14", "{media}");
            let mut large = call();
            *large.uri_mut() = format!("http://x/{}", "p".repeat(9_000)).parse().unwrap();
            assert_eq!(status_only(&mut client, large).await.0, "13", "{media}");
        }));
        answered.runtime.block_on(soon(async {
            let mut client = Client::connect(&answered).await;
            let (response, _) = client.send(call(), true).await;
            let (_, body, trailers) = whole(response).await;
            assert_eq!(
                (&body[..], trailers.get("grpc-status")),
                ("ok", Some(&"7".parse().unwrap())),
                "{media}"
            );
        }));
    }
}

/// A page is for browsers: a client of gRPC reads no body of the proxy's.
#[test]
fn neither_pages_nor_faults_on_purpose_give_a_failure_a_body() {
    let pages = json!([{"status": ["400-599"], "body": "<h1>sorry</h1>"}]);
    let backend = Backend::new(|_, _| async {});
    for (name, address, more, expected) in [
        ("a page", nobody(), json!({}), "14"),
        (
            "an abort",
            backend.address,
            json!({"fault_injection": {"abort": {}}}),
            "14",
        ),
        (
            "one of too many",
            backend.address,
            json!({"fault_injection": {"abort": {"status": 429}}}),
            "8",
        ),
        (
            "a refusal",
            backend.address,
            json!({"clients": {"deny": ["127.0.0.0/8"]}}),
            "7",
        ),
    ] {
        let mut config = web(&[address], json!({"protocol": "http2"}));
        config["routes"][0]["error_pages"] = pages.clone();
        for (key, value) in more.as_object().unwrap() {
            config["routes"][0][key] = value.clone();
        }
        let proxy = Harness::new(options(), &config);
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let (status, fields) = status_only(&mut client, call(None)).await;
            assert_eq!(status, expected, "{name}");
            assert_eq!(fields["content-type"], "application/grpc", "{name}");
        }));
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_deadline_is_for_all_tries_together() {
    let (sender, resets) = std::sync::mpsc::channel();
    let hanging: Vec<Backend> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            Backend::new(move |_, mut respond| {
                let sender = sender.clone();
                async move {
                    let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                    sender.send(reason.unwrap()).unwrap();
                }
            })
        })
        .collect();
    let addresses: Vec<_> = hanging.iter().map(|backend| backend.address).collect();
    let pool =
        json!({"protocol": "http2", "outlier": {"max_percent": 0}, "retries": {"attempts": 9}});
    let mut config = web(&addresses, pool);
    config["routes"][0]["timeouts"] = json!({"try": "400ms"});
    config["routes"][0]["retries"] = json!({"any_method": true});
    let proxy = Harness::new(options(), &config);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(status_only(&mut client, call(Some("1S"))).await.0, "4");
    }));
    let tries: usize = hanging.iter().map(Backend::connections).sum();
    assert!((2..=3).contains(&tries), "{tries}");
    for _ in 0..tries {
        assert_eq!(heard(&resets), Reason::CANCEL);
    }
}

#[test]
fn a_deadline_ends_a_second_try_too() {
    let hanging = Scripted::new(|peer, _| drop(peer.rest()));
    let proxy = Harness::to(&[nobody(), hanging.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for _ in 0..2 {
            assert_eq!(status_only(&mut client, call(Some("300m"))).await.0, "4");
        }
    }));
    assert!(proxy.metrics.route("all").retries() >= 1);
}

#[test]
fn a_deadline_that_passes_within_an_answer_ends_it() {
    let (sender, reset) = std::sync::mpsc::channel();
    let backend = Backend::new(move |_, mut respond| {
        let sender = sender.clone();
        async move {
            let head = Response::builder().header("content-type", "application/grpc");
            let mut stream = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            push(&mut stream, Bytes::from_static(b"\0\0\0\0\x02ok"), false).await;
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            sender.send(reason.unwrap()).unwrap();
        }
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        // The connection is as good as before.
        for _ in 0..2 {
            let (response, _out) = client.send(call(Some("300m")), false).await;
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "\0\0\0\0\x02ok");
            let cut = body.data().await.expect("no orderly end").unwrap_err();
            assert!(cut.is_reset(), "{cut}");
        }
    }));
    for _ in 0..2 {
        assert_eq!(heard(&reset), Reason::CANCEL);
    }
    let metrics = proxy.metrics.backend("web", "b1");
    assert_eq!(metrics.errors(BackendError::Timeout), 0);
}

#[test]
fn a_deadline_ends_the_call_here_and_at_the_backend() {
    let (sender, reset) = std::sync::mpsc::channel();
    let backend = Backend::new(move |_, mut respond| {
        let sender = sender.clone();
        async move {
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            sender.send(reason.unwrap()).unwrap();
        }
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(status_only(&mut client, call(Some("200m"))).await.0, "4");
    }));
    assert_eq!(reset.recv().unwrap(), Reason::CANCEL);
}

#[test]
fn a_deadline_holds_wherever_the_call_waits_and_is_no_failure_of_a_backend() {
    let hanging = Scripted::new(|peer, _| {
        peer.head();
        peer.rest();
    });
    let held_up = HeldUp::new();
    let with = |to, more| web(&[to], more);
    let mut delayed = with(hanging.address, json!({}));
    delayed["routes"][0]["fault_injection"] = json!({"delay": {"for": "30s"}});
    let mut asking = with(hanging.address, json!({}));
    let auth = json!({"id": "a", "address": hanging.address.to_string()});
    let pools = asking["pools"].as_array_mut().unwrap();
    pools.push(json!({"name": "auth", "backends": [auth]}));
    asking["routes"][0]["forward_auth"] = json!({"pool": "auth", "path": "/", "timeout": "30s"});
    for (name, config) in [
        ("in the answer", with(hanging.address, json!({}))),
        (
            "in connecting",
            with(held_up.address, json!({"timeouts": {"connect": "60s"}})),
        ),
        ("in a delay", delayed),
        ("in asking about it", asking),
    ] {
        let proxy = Harness::new(options(), &config);
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            for _ in 0..7 {
                let (status, _) = status_only(&mut client, call(Some("100m"))).await;
                assert_eq!(status, "4", "{name}");
            }
        }));
        let backend = proxy.backend(0);
        assert!(backend.is_available(), "{name}: it is ejected");
        let metrics = proxy.metrics.backend("web", "b1");
        for error in [BackendError::Connect, BackendError::Timeout] {
            assert_eq!(metrics.errors(error), 0, "{name}");
        }
    }
}

#[test]
fn an_answer_of_trailers_only_stays_one() {
    let backend = Backend::new(|_, mut respond| async move {
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .header("grpc-message", "no such thing");
        respond
            .send_response(response.body(()).unwrap(), true)
            .unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let (status, fields) = status_only(&mut client, call(Some("10S"))).await;
        assert_eq!(
            (status.as_str(), &fields["grpc-message"]),
            ("5", &"no such thing".parse().unwrap())
        );
    }));
}

#[test]
fn calls_of_all_four_kinds_pass() {
    // Answers as many messages as were asked for, or one for each that comes.
    let backend = Backend::new(|request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let kind = request.uri().path().to_owned();
        let response = Response::builder().header("content-type", "application/grpc");
        let mut stream = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        let mut body = request.into_body();
        let asked = text(&mut body).await.len() / 7;
        let answers = match kind.as_str() {
            "/unary" | "/client-stream" => 1,
            "/server-stream" => 100,
            _ => asked,
        };
        for _ in 0..answers {
            push(&mut stream, Bytes::from_static(b"\0\0\0\0\x02ok"), false).await;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for (kind, messages, answers) in [
            ("unary", 1, 1),
            ("client-stream", 50, 1),
            ("server-stream", 1, 100),
            ("both", 50, 50),
        ] {
            let request = Request::post(format!("http://x/{kind}"))
                .header("content-type", "application/grpc+proto")
                .header("te", "trailers");
            let (response, mut stream) = client.send(request.body(()).unwrap(), false).await;
            for n in 1..=messages {
                let message = Bytes::from_static(b"\0\0\0\0\x02hi");
                push(&mut stream, message, n == messages).await;
            }
            let (_, body, trailers) = whole(response).await;
            assert_eq!(
                (body.len(), &trailers["grpc-status"]),
                (7 * answers, &"0".parse().unwrap()),
                "{kind}"
            );
        }
    }));
}
