//! What routes ask for and do, seen from outside.

use serde_json::{Value, json};

use super::harness::*;

/// A config of pool `web` with one backend a name, each a pool of its own, and these routes.
pub(super) fn config(backends: &[(&str, &Scripted)], routes: Value) -> Value {
    let pools: Vec<Value> = backends
        .iter()
        .map(|(name, backend)| {
            json!({"name": name, "backends": [{"id": "b1", "address": backend.address.to_string()}]})
        })
        .collect();
    json!({"pools": pools, "routes": routes})
}

#[test]
fn routes_ask_for_methods_headers_and_parameters() {
    let (web, beta) = (Scripted::named("web"), Scripted::named("beta"));
    let route = |name: &str, pool: &str, matches: Value| json!({"name": name, "match": matches, "to": [{"pool": pool}]});
    let routes = json!([
        route("web", "web", json!({"methods": ["GET"]})),
        route(
            "beta",
            "beta",
            json!({"methods": ["GET"], "headers": [{"name": "X-Beta", "exact": "1"}]})
        ),
        route(
            "preview",
            "beta",
            json!({"methods": ["GET"], "query": [{"name": "preview", "present": true}]})
        ),
        route(
            "secure",
            "beta",
            json!({"methods": ["GET"], "headers": [{"name": "X-Forwarded-Proto", "exact": "https"}]})
        ),
    ]);
    let config = config(&[("web", &web), ("beta", &beta)], routes);
    let stranger = Harness::new(options(), &config);
    let trusted = Harness::new(trusting_loopback(), &config);
    for (harness, line, fields, expected) in [
        (&stranger, "GET /", "", (200, "web")),
        (&stranger, "POST /", "", (404, "")),
        (&stranger, "GET /", "x-BETA: 1\r\n", (200, "beta")),
        (&stranger, "GET /", "x-beta:  1 \r\n", (200, "beta")),
        (
            &stranger,
            "GET /",
            "x-beta: 0\r\nx-beta: 1\r\n",
            (200, "beta"),
        ),
        (&stranger, "GET /?x&preview", "", (200, "beta")),
        // What is not passed on decides nothing.
        (
            &stranger,
            "GET /",
            "X-Beta: 1\r\nConnection: x-beta\r\n",
            (200, "web"),
        ),
        (
            &stranger,
            "GET /",
            "X-Forwarded-Proto: https\r\n",
            (200, "web"),
        ),
        (
            &trusted,
            "GET /",
            "X-Forwarded-Proto: https\r\n",
            (200, "beta"),
        ),
    ] {
        let request =
            format!("{line} HTTP/1.1\r\nHost: shop.example\r\n{fields}Connection: close\r\n\r\n");
        let (head, body) = harness.once(&request);
        let body = if status(&head) == 404 { "" } else { &body };
        assert_eq!((status(&head), body), expected, "{line} {fields}");
    }
}

/// A backend that answers with the head it read, and a harness that sends it everything by this route.
fn echoing(route: Value) -> (Scripted, Harness) {
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let length = head.len();
            peer.send(format!("HTTP/1.1 200 OK\r\nServer: echo\r\nX-Old: 1\r\nContent-Length: {length}\r\n\r\n{head}"));
        }
    });
    let mut route = route;
    route["name"] = json!("all");
    if route.get("to").is_none() {
        route["to"] = json!([{"pool": "web"}]);
    }
    let config = config(&[("web", &backend)], json!([route]));
    let harness = Harness::new(options(), &config);
    (backend, harness)
}

#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    for (redirect, request, status_and_location) in [
        (
            json!({"scheme": "https"}),
            "GET /a?b=/c HTTP/1.1\r\nHost: Shop.example:8080",
            "302 https://Shop.example/a?b=/c",
        ),
        (
            json!({"host": "b.example"}),
            "GET / HTTP/1.1\r\nHost: shop.example:8080",
            "302 http://b.example:8080/",
        ),
        (
            json!({"host": "b.example", "port": 80}),
            "GET / HTTP/1.1\r\nHost: shop.example:8080",
            "302 http://b.example/",
        ),
        (
            json!({"status": 308, "path": {"full": "/new"}}),
            "POST /a?x HTTP/1.1\r\nHost: [::1]:81\r\nContent-Length: 0",
            "308 http://[::1]:81/new?x",
        ),
        (
            json!({"scheme": "https", "port": 8443, "path": {"prefix": "/b"}}),
            "HEAD /a//evil.example HTTP/1.1\r\nHost: x",
            "302 https://x:8443/b/a//evil.example",
        ),
        (
            json!({"path": {"regex": "^/u/([0-9]+)", "to": "/users/$1"}}),
            "GET http://x/u/7/z HTTP/1.1\r\nHost: x",
            "302 http://x/users/7/z",
        ),
        // It asked for that very URL, so it is served.
        (
            json!({"host": "x"}),
            "GET /served HTTP/1.1\r\nHost: X:80",
            "200 ",
        ),
        (
            json!({"path": {"full": "/served"}}),
            "GET /served?y HTTP/1.1\r\nHost: x",
            "200 ",
        ),
        (
            json!({"scheme": "https"}),
            "OPTIONS * HTTP/1.1\r\nHost: x",
            "302 https://x/",
        ),
        // Nobody to be sent to.
        (json!({"scheme": "https"}), "GET / HTTP/1.0", "200 "),
    ] {
        let (_backend, harness) = echoing(json!({ "redirect": redirect }));
        let mut client = harness.client();
        client.send(format!("{request}\r\n\r\n"));
        let head = client.head();
        let location = field(&head, "location").unwrap_or_default();
        assert_eq!(
            format!("{} {location}", status(&head)),
            status_and_location,
            "{redirect} {request}"
        );
        if status(&head) != 200 && !request.starts_with("HEAD") {
            assert_eq!(field(&head, "content-length"), Some("0"), "{head}");
            let why = "synod; details=\"redirect\"";
            assert_eq!(field(&head, "proxy-status"), Some(why), "{head}");
        }
    }
}

#[test]
fn a_redirect_keeps_the_connection_and_needs_no_pool() {
    let config = config(
        &[],
        json!([{"name": "old", "redirect": {"status": 301, "host": "new.example"}, "to": []}]),
    );
    let harness = Harness::new(options(), &config);
    let mut client = harness.client();
    for path in ["/a", "/b"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: old.example\r\n\r\n"));
        let (head, body) = client.response();
        assert_eq!((status(&head), body.as_str()), (301, ""));
        assert_eq!(
            field(&head, "location"),
            Some(&format!("http://new.example{path}")[..])
        );
    }
    harness.settle();
    assert_eq!(harness.metrics.route("old").requests(301), 2);
}

#[test]
fn a_rewrite_changes_what_the_backend_is_asked_for() {
    for (matched, rewrite, target, line) in [
        (
            "/api",
            json!({"path": {"prefix": "/"}}),
            "/api/users?x=1",
            "GET /users?x=1 HTTP/1.1",
        ),
        (
            "/",
            json!({"path": {"full": "/one"}}),
            "/any?",
            "GET /one? HTTP/1.1",
        ),
        (
            "/",
            json!({"path": {"regex": "/v([0-9])/", "to": "/$1/"}}),
            "/a/v2/b",
            "GET /a/2/b HTTP/1.1",
        ),
        (
            "/",
            json!({"path": {"prefix": "/p/"}}),
            "http://x/q",
            "GET /p/q HTTP/1.1",
        ),
    ] {
        let (_backend, harness) =
            echoing(json!({"match": {"path": {"prefix": matched}}, "rewrite": rewrite}));
        let (_, seen) = harness.get(target);
        assert_eq!(seen.lines().next(), Some(line));
        assert_eq!(field(&seen, "host"), Some("x"));
    }
    let (_backend, harness) = echoing(json!({"rewrite": {"host": "internal:81"}}));
    let (_, seen) = harness.get("/");
    assert_eq!(field(&seen, "host"), Some("internal:81"));
    assert_eq!(field(&seen, "x-forwarded-host"), Some("x"));
    assert_eq!(seen.matches("ost: internal:81").count(), 1, "{seen}");
}

#[test]
fn a_rewritten_target_has_the_bound_of_any() {
    let (_backend, harness) =
        echoing(json!({"rewrite": {"path": {"regex": "(.*)", "to": "/$1$1$1"}}}));
    assert_eq!(
        status(&harness.get(&format!("/{}", "a".repeat(2_000))).0),
        200
    );
    assert_eq!(
        status(&harness.get(&format!("/{}", "a".repeat(4_000))).0),
        414
    );
}

#[test]
fn headers_are_removed_set_and_added_both_ways() {
    let (_backend, harness) = echoing(json!({"headers": {
        "request": {"remove": ["X-Secret"], "set": {"X-Team": "blue"}, "add": {"X-Tag": "b"}},
        "response": {"remove": ["server"], "set": {"X-Old": "2"}, "add": {"X-New": "3"}},
    }}));
    let mut client = harness.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\nx-secret: 1\r\nX-TEAM: red\r\nx-team: green\r\nX-Tag: a\r\n\r\n");
        let (head, seen) = client.response();
        assert_eq!(field(&seen, "x-secret"), None, "{seen}");
        assert_eq!(field(&seen, "x-team"), Some("blue"), "{seen}");
        assert!(!seen.contains("red") && !seen.contains("green"), "{seen}");
        assert!(
            seen.contains("X-Tag: a\r\n") && seen.contains("X-Tag: b\r\n"),
            "{seen}"
        );
        assert_eq!(field(&head, "server"), None, "{head}");
        assert_eq!(field(&head, "x-old"), Some("2"), "{head}");
        assert_eq!(field(&head, "x-new"), Some("3"), "{head}");
    }
}

#[test]
fn a_route_may_be_for_some_clients_only() {
    let routes = json!([
        {"name": "inner", "match": {"path": {"prefix": "/inner"}}, "to": [{"pool": "web"}],
         "clients": {"allow": ["10.0.0.0/8", "127.0.0.1"], "deny": ["10.9.0.0/16"]}},
        {"name": "outer", "to": [{"pool": "web"}], "clients": {"deny": ["127.0.0.0/8"]}},
    ]);
    let backend = Scripted::named("web");
    let config = config(&[("web", &backend)], routes);
    let stranger = Harness::new(options(), &config);
    let trusted = Harness::new(trusting_loopback(), &config);
    for (harness, path, told, expected) in [
        (&stranger, "/inner", "", 200),
        (&stranger, "/inner", "10.9.0.1", 200),
        (&stranger, "/", "", 403),
        (&trusted, "/inner", "10.1.0.1", 200),
        (&trusted, "/inner", "10.9.0.1", 403),
        (&trusted, "/inner", "192.0.2.1", 403),
        (&trusted, "/", "192.0.2.1", 200),
        (&trusted, "/", "", 403),
    ] {
        let told = match told {
            "" => String::new(),
            told => format!("X-Forwarded-For: {told}\r\n"),
        };
        let (head, _) = harness.once(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{told}\r\n"));
        assert_eq!(status(&head), expected, "{path} {told}");
        if expected == 403 {
            assert_eq!(
                field(&head, "proxy-status"),
                Some("synod; error=http_request_denied; details=\"clients\"")
            );
        }
    }
}

#[test]
fn a_body_over_the_limit_is_refused_whatever_its_framing() {
    let (backend, _heads) = recording();
    let route = json!([{"name": "all", "to": [{"pool": "web"}], "max_body_bytes": 10}]);
    let harness = Harness::new(options(), &config(&[("web", &backend)], route));
    for (body, expected) in [
        ("Content-Length: 10\r\n\r\n0123456789", 200),
        ("Content-Length: 11\r\n\r\n", 413),
        (
            "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n",
            413,
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n",
            413,
        ),
    ] {
        let (head, _) = harness.once(&format!("PUT / HTTP/1.1\r\nHost: x\r\n{body}"));
        assert_eq!(status(&head), expected, "{body}");
    }
    // What comes later counts too, without its framing.
    let backend = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            if peer.try_until("0\r\n\r\n").is_none() || !peer.try_send(ok("")) {
                return;
            }
        }
    });
    let route = json!([{"name": "all", "to": [{"pool": "web"}], "max_body_bytes": 10}]);
    let harness = Harness::new(options(), &config(&[("web", &backend)], route));
    for (pieces, expected) in [(10, 200), (11, 413)] {
        let mut client = harness.client();
        client.send("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..pieces {
            client.send("1;x=yyyyyyyyyyyy\r\na\r\n");
        }
        client.try_send("0\r\n\r\n");
        assert_eq!(status(&client.head()), expected, "{pieces}");
    }
}

#[test]
fn edits_hold_for_backends_that_take_underscores_for_dashes() {
    let (backend, heads) = recording();
    let headers = json!({"request": {"remove": ["X-Secret"], "set": {"X-User": "anon"}}});
    let route = json!([{"name": "all", "to": [{"pool": "web"}], "headers": headers}]);
    let harness = Harness::new(options(), &config(&[("web", &backend)], route));
    harness.once("GET / HTTP/1.1\r\nHost: x\r\nX_User: root\r\nX_Secret: 1\r\nX_Other: 2\r\n\r\n");
    let head = heads.recv().unwrap();
    for (name, value) in [
        ("x-user", Some("anon")),
        ("x_user", None),
        ("x_secret", None),
        ("x_other", Some("2")),
    ] {
        assert_eq!(field(&head, name), value, "{head}");
    }
}

#[test]
fn what_is_left_of_a_body_over_the_limit_is_no_request() {
    let (sender, heads) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let answers = head.starts_with("GET ");
            sender.send(head).unwrap();
            if answers {
                peer.send(ok(""));
            }
        }
    });
    let route = json!([{"name": "all", "to": [{"pool": "web"}], "max_body_bytes": 10}]);
    let harness = Harness::new(options(), &config(&[("web", &backend)], route));
    let mut client = harness.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\naaaaa\r\n");
    // What is there by now is read and passed on; in what comes next the limit is passed and the body ends.
    heads.recv().unwrap();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = smuggled.len();
    client.send(format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n"));
    assert_eq!(status(&client.response().0), 413);
    client.try_send("GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let rest = client.rest();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 200"),
        "{rest}"
    );
    assert!(rest.matches("HTTP/1.1").count() <= 1, "{rest}");
    drop(harness);
    let asked: Vec<String> = heads.try_iter().collect();
    assert!(
        asked.iter().all(|head| head.starts_with("GET /next ")),
        "{asked:?}"
    );
}

#[test]
fn scripts_of_other_origins_are_told_what_they_may() {
    let backend = Scripted::always(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\nContent-Length: 2\r\n\r\nhi",
    );
    let cors = json!({"origins": ["https://a.example", "https://*.b.example"], "methods": ["GET", "PUT"],
        "headers": ["X-Token"], "expose": ["X-Id"], "credentials": true, "max_age": "10m"});
    let routes = json!([
        {"name": "open", "match": {"path": {"prefix": "/open"}}, "to": [{"pool": "web"}], "cors": {"origins": ["*"]}},
        {"name": "some", "to": [{"pool": "web"}], "cors": cors},
    ]);
    let harness = Harness::new(options(), &config(&[("web", &backend)], routes));
    let ask = |line: &str, fields: &str| {
        harness
            .once(&format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
            .0
    };
    let preflight = "Access-Control-Request-Method: PUT\r\n";

    let head = ask(
        "OPTIONS /",
        &format!("Origin: https://a.example\r\n{preflight}"),
    );
    assert_eq!(status(&head), 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "X-Token"),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert_eq!(
        status(&ask(
            "OPTIONS /",
            &format!("Origin: https://evil\r\n{preflight}")
        )),
        403
    );
    assert_eq!(
        status(&ask("OPTIONS /", "Origin: https://evil\r\n")),
        200,
        "no preflight"
    );

    let head = ask("GET /", "Origin: https://x.b.example\r\n");
    assert_eq!(
        field(&head, "access-control-allow-origin"),
        Some("https://x.b.example"),
        "{head}"
    );
    assert_eq!(
        field(&head, "access-control-expose-headers"),
        Some("X-Id"),
        "{head}"
    );
    assert!(
        head.contains("Vary: Accept\r\n") && head.contains("Vary: Origin\r\n"),
        "{head}"
    );
    for fields in ["Origin: https://evil\r\n", ""] {
        let head = ask("GET /", fields);
        assert_eq!(
            (status(&head), field(&head, "access-control-allow-origin")),
            (200, None),
            "{head}"
        );
        assert!(head.contains("Vary: Origin\r\n"), "{head}");
    }
    let head = ask("GET /open", "Origin: null\r\n");
    assert_eq!(
        field(&head, "access-control-allow-origin"),
        Some("*"),
        "{head}"
    );
    assert!(!head.contains("Vary: Origin"), "{head}");
    let head = ask("OPTIONS /open", &format!("Origin: null\r\n{preflight}"));
    assert_eq!(
        field(&head, "access-control-allow-methods"),
        Some("GET, HEAD, POST"),
        "{head}"
    );
}

/// In smooth rotation, so it is exact.
#[test]
fn a_split_gives_each_pool_its_share() {
    let (web, canary) = (Scripted::named("web"), Scripted::named("canary"));
    let split = json!([{"name": "all",
        "to": [{"pool": "web", "weight": 90}, {"pool": "canary", "weight": 10}]}]);
    let harness = Harness::new(
        options(),
        &config(&[("web", &web), ("canary", &canary)], split),
    );
    let mut client = harness.client();
    let mut at_canary = Vec::new();
    for n in 0..1_000 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        if client.response().1 == "canary" {
            at_canary.push(n);
        }
    }
    assert_eq!(at_canary.len(), 100);
    let even = at_canary.windows(2).all(|two| two[1] - two[0] == 10);
    assert!(even, "{at_canary:?}");
}

#[test]
fn of_ten_thousand_routes_each_leads_to_its_own_pool() {
    const ROUTES: usize = 10_000;
    let named = ["first", "middle", "last", "other"];
    let backends = named.map(Scripted::named);
    let pool_of = |n: usize| match n {
        0 => "first",
        n if n == ROUTES / 2 => "middle",
        n if n == ROUTES - 1 => "last",
        _ => "other",
    };
    let route = |n: usize| {
        json!({"name": format!("r{n}"), "match": {"hosts": [format!("h{}.example", n / 10)],
            "path": {"prefix": format!("/p{}", n % 10)}}, "to": [{"pool": pool_of(n)}]})
    };
    let routes: Vec<Value> = (0..ROUTES).map(route).collect();
    let pools: Vec<_> = named.into_iter().zip(&backends).collect();
    let harness = Harness::new(options(), &config(&pools, routes.into()));
    for n in [
        0,
        1,
        ROUTES / 2 - 1,
        ROUTES / 2,
        ROUTES / 2 + 1,
        ROUTES - 2,
        ROUTES - 1,
    ] {
        let (host, path) = (n / 10, n % 10);
        let (_, body) = harness.once(&format!(
            "GET /p{path}/a HTTP/1.1\r\nHost: h{host}.example\r\n\r\n"
        ));
        assert_eq!(body, pool_of(n), "{n}");
    }
    let (head, _) = harness.once("GET /p10/a HTTP/1.1\r\nHost: h0.example\r\n\r\n");
    assert_eq!(status(&head), 404);
}
