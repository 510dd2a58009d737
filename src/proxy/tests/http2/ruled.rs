//! What routes demand and change, for clients and services of HTTP/2: sizes of bodies, fields, redirects, tokens.

use std::sync::mpsc::channel;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};

use super::backend::Backend;
use super::client::*;
use super::raw::{self, DATA, END_STREAM, HEADERS, RST_STREAM, Raw, frame};
use crate::proxy::tests::harness::*;
use crate::proxy::tests::tls::Site;

/// A route to this backend that says `more`, and a pool that says `pool`.
fn routed(backend: std::net::SocketAddr, pool: Value, more: Value) -> Value {
    let mut config = web(&[backend], pool);
    for (key, value) in more.as_object().unwrap() {
        config["routes"][0][key] = value.clone();
    }
    config
}

/// What a backend saw of a request's body.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Begun,
    Ended,
    Cut,
}

#[test]
fn a_body_of_no_told_length_is_refused_once_it_is_too_large_and_never_ends_at_the_backend() {
    let (tell, told) = channel();
    let told_too = tell.clone();
    let http1 = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            if head.starts_with("POST ") {
                peer.until("six by");
                tell.send(Seen::Begun).unwrap();
                let ended = peer.rest().contains("\r\n0\r\n");
                let seen = if ended { Seen::Ended } else { Seen::Cut };
                return tell.send(seen).unwrap();
            }
            peer.try_send(ok("fine"));
        }
    });
    let http2 = Backend::new(move |request, mut respond| {
        let tell = told_too.clone();
        async move {
            if request.method() == http::Method::GET {
                return super::backend::say(&mut respond, "fine");
            }
            let mut body = request.into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "six by");
            tell.send(Seen::Begun).unwrap();
            let seen = match body.data().await {
                Some(Err(_)) => Seen::Cut,
                _ => Seen::Ended,
            };
            tell.send(seen).unwrap();
        }
    });
    for (to, pool) in [
        (http1.address, json!({})),
        (http2.address, json!({"protocol": "http2"})),
    ] {
        let config = routed(to, pool.clone(), json!({"max_body_bytes": 10}));
        let proxy = Harness::new(options(), &config);
        let mut raw = Raw::connect(&proxy);
        raw.send(raw::post(1));
        raw.send(frame(DATA, 0, 1, "six by"));
        assert_eq!(heard(&told), Seen::Begun, "{pool}");
        raw.send(frame(DATA, 0, 1, "tes or"));
        let mut answered = None;
        let ended = loop {
            let (kind, flags, stream, payload) = raw.frame().expect("the connection goes on");
            match (kind, stream) {
                (HEADERS, 1) => answered = Some(raw::status_of(&payload)),
                (RST_STREAM, 1) => panic!("reset by {payload:?} before the end of the answer"),
                (raw::GOAWAY, _) => panic!("{payload:?}"),
                _ => {}
            }
            if stream == 1 && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                break answered;
            }
        };
        assert_eq!(ended, Some(413), "{pool}");
        // RFC 9113, 8.1: the rest of the request is not wanted.
        assert_eq!(raw.outcome(), raw::Outcome::Reset(0), "{pool}");
        raw.send(raw::get(3));
        assert_eq!(raw.outcome(), raw::Outcome::Status(200), "{pool}");
        assert_eq!(heard(&told), Seen::Cut, "{pool}");
        let metrics = proxy.metrics.backend("web", "b1");
        wait_until(|| metrics.in_flight() == 0);
        assert!(!proxy.backend(0).is_ejected());
    }
}

#[test]
fn a_body_of_a_told_length_that_is_too_large_reaches_no_backend_and_one_that_fits_does() {
    let (backend, heads) = recording();
    let config = routed(backend.address, json!({}), json!({"max_body_bytes": 10}));
    let proxy = Harness::new(options(), &config);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        for (length, expected) in [(11, 413), (10, 200)] {
            let request = Request::post("http://x/").header("content-length", length);
            let (response, mut body) = client.send(request.body(()).unwrap(), false).await;
            // It may be refused before.
            let _ = body.send_data(Bytes::from(vec![b'x'; length]), true);
            assert_eq!(response.await.unwrap().status(), expected, "{length}");
        }
    }));
    assert_eq!(heads.try_iter().count(), 1);
}

#[test]
fn fields_are_edited_between_all_versions() {
    let edits = json!({"headers": {
        "request": {"set": {"X-Set": "ours"}, "add": {"X-Add": "ours"}, "remove": ["X-Gone"]},
        "response": {"set": {"X-Set": "ours"}, "add": {"X-Add": "ours"}, "remove": ["X-Gone"]},
    }});
    let fields = [
        ("x-set", "theirs"),
        ("x-add", "theirs"),
        ("x-gone", "theirs"),
    ];
    let edited = |fields: &HeaderMap| {
        let values = |name: &str| -> Vec<String> {
            let all = fields.get_all(name).iter();
            all.map(|value| value.to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(values("x-set"), ["ours"]);
        assert_eq!(values("x-add"), ["theirs", "ours"]);
        assert_eq!(values("x-gone"), [""; 0]);
    };
    let (tell, told) = channel();
    let tell_too = tell.clone();
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
    let http1 = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            tell.send(map_of(&head)).unwrap();
            peer.try_send(&answer);
        }
    });
    let http2 = Backend::new(move |request, mut respond| {
        tell_too.send(request.headers().clone()).unwrap();
        async move {
            let answer = fields
                .iter()
                .fold(Response::builder(), |answer, (name, value)| {
                    answer.header(*name, *value)
                });
            respond
                .send_response(answer.body(()).unwrap(), true)
                .unwrap();
        }
    });
    for (to, pool) in [
        (http1.address, json!({})),
        (http2.address, json!({"protocol": "http2"})),
    ] {
        let proxy = Harness::new(options(), &routed(to, pool, edits.clone()));
        let (head, _) = proxy.once(&format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n"));
        edited(&map_of(&head));
        edited(&heard(&told));
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let request = fields
                .iter()
                .fold(Request::get("http://x/"), |request, (name, value)| {
                    request.header(*name, *value)
                });
            let (response, _) = client.send(request.body(()).unwrap(), true).await;
            edited(response.await.unwrap().headers());
        }));
        edited(&heard(&told));
    }
}

/// The fields of a head of HTTP/1.1.
fn map_of(head: &str) -> HeaderMap {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, value.parse().unwrap());
    }
    map
}

/// Who is redirected to https must not be sent round in circles behind a proxy that ends TLS.
#[test]
fn a_redirect_to_https_is_for_those_alone_that_do_not_speak_it() {
    let backend = Scripted::named("served");
    let config = routed(
        backend.address,
        json!({}),
        json!({"redirect": {"scheme": "https"}}),
    );
    const ASK: &str = "GET /a HTTP/1.1\r\nHost: shop.example\r\n";
    for (options, fields, expected) in [
        (options(), "", 302),
        (options(), "X-Forwarded-Proto: https\r\n", 302),
        (trusting_loopback(), "X-Forwarded-Proto: https\r\n", 200),
        (trusting_loopback(), "X-Forwarded-Proto: http\r\n", 302),
    ] {
        let proxy = Harness::new(options, &config);
        let (head, _) = proxy.once(&format!("{ASK}{fields}\r\n"));
        assert_eq!(status(&head), expected, "{fields}");
        if expected == 302 {
            assert_eq!(field(&head, "location"), Some("https://shop.example/a"));
        }
    }
    let site = Site::new(None);
    let encrypted = Harness::new(site.options(), &config);
    let mut client = site.client(&encrypted);
    client.send(format!("{ASK}\r\n"));
    assert_eq!(status(&client.response().0), 200);
    for (mut raw, expected) in [
        (Raw::encrypted(&site, &encrypted), 200),
        (Raw::connect(&Harness::new(options(), &config)), 302),
    ] {
        raw.send(raw::get(1));
        assert_eq!(raw.outcome(), raw::Outcome::Status(expected));
    }
}

#[test]
fn a_fenced_route_lets_tokens_in_by_either_version() {
    let (backend, heads) = recording();
    let config = routed(
        backend.address,
        json!({}),
        json!({"fence": {"lock": "deploy"}}),
    );
    let proxy = Harness::new(options(), &config);
    let asks = |token: Option<&str>| -> [u16; 2] {
        let field = token.map_or_else(String::new, |token| {
            format!("Synod-Lock-Token: {token}\r\n")
        });
        let (head, _) = proxy.once(&format!("GET / HTTP/1.1\r\nHost: x\r\n{field}\r\n"));
        let over_http2 = proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let mut request = get("/");
            if let Some(token) = token {
                request
                    .headers_mut()
                    .insert("synod-lock-token", token.parse().unwrap());
            }
            let (response, _) = client.send(request, true).await;
            response.await.unwrap().status().as_u16()
        }));
        [status(&head), over_http2]
    };
    assert_eq!(asks(Some("6")), [503; 2], "nothing is known of the lock");
    proxy.tell_fences(5, 6);
    assert_eq!(asks(None), [428; 2]);
    assert_eq!(asks(Some("x")), [428; 2]);
    assert_eq!(asks(Some("4")), [412; 2], "it was granted to another since");
    assert_eq!(asks(Some("7")), [412; 2], "it was never granted");
    assert_eq!(heads.try_iter().count(), 0);
    assert_eq!(asks(Some("5")), [200; 2]);
    assert_eq!(asks(Some("6")), [200; 2]);
    assert_eq!(heads.try_iter().count(), 4);
}
