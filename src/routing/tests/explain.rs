//! What people and programs are told of a request.

use super::*;
use crate::config::policy::Scheme;
use crate::routing::{Explanation, explain};

fn ask(snapshot: &Snapshot, host: &str, path: &str) -> Explanation {
    explain(snapshot, question(host, path))
}

fn shop() -> Arc<Config> {
    config(&[
        pool(
            "web",
            &[
                (5, "ready"),
                (1, "ready"),
                (1, "drain"),
                (1, "maint"),
                (0, "ready"),
            ],
        ),
        pool("canary", &[(1, "ready")]),
        route("catch-all", &[], prefix("/")),
        route("wild", &["*.example"], prefix("/")),
        json!({"name": "shop", "match": {"hosts": ["shop.example"], "path": {"prefix": "/cart"}},
               "to": [{"pool": "web", "weight": 95}, {"pool": "canary", "weight": 5}]}),
        route("shop-younger", &["shop.example"], prefix("/cart/")),
        route("shop-all", &["shop.example"], prefix("/")),
        route("shop-old", &["shop.example"], prefix("/car")),
        route("blog", &["blog.example"], prefix("/cart")),
        route("far", &["far.example"], prefix("/far")),
    ])
}

#[test]
fn an_explanation_ends_an_argument() {
    let publisher = publisher();
    let snapshot = publisher.activate(compiled(&shop(), &publisher.registry, None).unwrap());
    let _under_way = snapshot.pool("web").unwrap().members()[1].backend.begin();
    let text = ask(&snapshot, "Shop.Example:8080", "/cart/7?x=1").to_string();
    assert_eq!(text, "\
GET http://Shop.Example:8080/cart/7?x=1 at revision 10
goes to web or canary by route shop, to one of 3 eligible backends

route shop: its host is exactly this and the path is /cart or below it; it comes before 4 other routes that match

pool web (round_robin), 95% of the route
  + a 127.0.0.1:8001  weight 5, 83.33%, 0 in flight; ready
  + b 127.0.0.1:8002  weight 1, 16.67%, 1 in flight; ready
  - c 127.0.0.1:8003  weight 1, 0%, 0 in flight; draining: finishes what it has, gets nothing new
  - d 127.0.0.1:8004  weight 1, 0%, 0 in flight; in maintenance: gets nothing
  - e 127.0.0.1:8005  weight 0, 0%, 0 in flight; weight 0: gets nothing

pool canary (round_robin), 5% of the route
  + a 127.0.0.1:8001  weight 1, 100%, 0 in flight; ready

also matched:
  shop-younger: matches, but it asks for the same and is younger
  shop-all: matches, but its prefix is shorter
  wild: matches, but its host is a wildcard, and an exact host comes first
  catch-all: matches, but it takes any host, and an exact host comes first

did not match:
  shop-old: the path /cart/7 only begins like /car: prefixes match by whole segments
  blog: the host Shop.Example:8080 is not blog.example

1 other route is not listed
");
}

#[test]
fn the_sentence_says_what_happens_to_the_request() {
    let config = config(&[
        pool("web", &[(0, "ready")]),
        route("r", &["a.example"], prefix("/")),
        json!({"name": "nowhere", "match": {"hosts": ["b.example"]}, "to": [{"pool": "web", "weight": 0}]}),
    ]);
    let snapshot = snapshot(&config);
    for (host, sentence) in [
        (
            "a.example",
            "goes to web by route r, which has no eligible backend: the proxy answers unavailable",
        ),
        (
            "b.example",
            "route nowhere has no pool with a weight above 0: the proxy answers unavailable",
        ),
        (
            "c.example",
            "no route matches: the proxy answers that nothing is found here",
        ),
    ] {
        assert_eq!(ask(&snapshot, host, "/").verdict, sentence);
    }
}

/// A question as `METHOD URL`, with lines of header fields.
fn asks(request: &str, headers: &[(&str, &str)], client: Option<&str>) -> Question {
    let (method, url) = request.split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Question {
        method: method.to_owned(),
        scheme: if scheme == "https" {
            Scheme::Https
        } else {
            Scheme::Http
        },
        headers: headers.iter().map(owned).collect(),
        client: client.map(|client| client.parse().unwrap()),
        ..question(host, path)
    }
}

#[test]
fn a_request_that_no_backend_sees_is_told_the_answer() {
    // SHA-256 of `secret`.
    let secret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let with = |host: &str, policy: Value| {
        let mut spec = route(host.split('.').next().unwrap(), &[host], prefix("/"));
        let fields = spec.as_object_mut().unwrap();
        fields.extend(policy.as_object().unwrap().clone());
        spec
    };
    let snapshot = snapshot(&config(&[
        pool("web", &[(1, "ready")]),
        with(
            "tls.test",
            json!({"redirect": {"scheme": "https", "status": 301}}),
        ),
        with(
            "alone.test",
            json!({"to": [], "redirect": {"scheme": "https"}}),
        ),
        with("said.test", json!({"respond": {"status": 410}})),
        with("near.test", json!({"clients": {"allow": ["10.0.0.0/8"]}})),
        with(
            "own.test",
            json!({"basic_auth": {"users": [{"name": "ann", "password_sha256": secret}]}}),
        ),
        with("small.test", json!({"max_body_bytes": 10})),
        with(
            "cross.test",
            json!({"cors": {"origins": ["https://a.test"]}}),
        ),
        with(
            "ill.test",
            json!({"fault_injection": {"abort": {"status": 502}}, "respond": {}}),
        ),
        with(
            "odd.test",
            json!({"fault_injection": {"abort": {"status": 502, "percent": 99}}}),
        ),
        with(
            "held.test",
            json!({"fence": {"lock": "deploy", "header": "x-token"}}),
        ),
    ]));
    let to_web =
        |route: &str| format!("goes to web by route {route}, to one of 1 eligible backend");
    let preflight = |origin| [("Origin", origin), ("Access-Control-Request-Method", "GET")];
    for (asked, expected) in [
        (
            asks("GET http://tls.test/x?y", &[], None),
            "is redirected with 301 by route tls to https://tls.test/x?y".to_owned(),
        ),
        (
            asks("GET http://tls.test:8080/", &[], None),
            "is redirected with 301 by route tls to https://tls.test/".to_owned(),
        ),
        (asks("GET https://tls.test/x", &[], None), to_web("tls")),
        (
            asks("GET https://alone.test/x", &[], None),
            "route alone has no pool with a weight above 0: the proxy answers unavailable".to_owned(),
        ),
        (
            asks("GET http://said.test/", &[], None),
            "is answered with 410 by route said itself".to_owned(),
        ),
        (asks("GET http://near.test/", &[], None), to_web("near")),
        (asks("GET http://near.test/", &[], Some("10.1.2.3")), to_web("near")),
        (
            asks("GET http://near.test/", &[], Some("192.0.2.1")),
            "is answered with 403 by route near: it is not for the client 192.0.2.1".to_owned(),
        ),
        (
            asks("GET http://own.test/", &[], None),
            "is answered with 401 by route own: it shows no name and password, or several".to_owned(),
        ),
        // A wrong one, of which it is not told.
        (asks("GET http://own.test/", &[("authorization", "Basic YW5uOndyb25n")], None), to_web("own")),
        (
            asks("GET http://own.test/", &[("authorization", "basic YW5uOnNlY3JldA==")], None),
            to_web("own"),
        ),
        (
            asks("POST http://small.test/", &[("content-length", "11")], None),
            "is answered with 413 by route small: its body is longer than 10 bytes".to_owned(),
        ),
        (asks("POST http://small.test/", &[("content-length", "10")], None), to_web("small")),
        (
            asks("OPTIONS http://cross.test/", &preflight("https://a.test"), None),
            "is answered with 204 by route cross: it is a preflight from https://a.test".to_owned(),
        ),
        (
            asks("OPTIONS http://cross.test/", &preflight("https://b.test"), None),
            "is answered with 403 by route cross: it is a preflight from https://b.test, which it is not for".to_owned(),
        ),
        (asks("GET http://cross.test/", &preflight("https://b.test"), None), to_web("cross")),
        (
            asks("GET http://ill.test/", &[], None),
            "is answered with 502 by route ill: it fails on purpose".to_owned(),
        ),
        (asks("GET http://odd.test/", &[], None), to_web("odd")),
        (
            asks("GET http://held.test/", &[], None),
            "is answered with 428 by route held: it shows no token of the lock, or several".to_owned(),
        ),
        (
            asks("GET http://held.test/", &[("X-Token", "7")], None),
            "is answered with 503 by route held: whether its token is good cannot be told here now".to_owned(),
        ),
    ] {
        let told = explain(&snapshot, asked.clone());
        assert_eq!(told.verdict, expected, "{asked:?}");
        let location = told.verdict.split_once(" to https").map(|(_, rest)| format!("https{rest}"));
        assert_eq!(told.location, location);
    }
}

#[test]
fn an_explanation_reads_a_path_as_the_proxy_does() {
    let snapshot = snapshot(&shop());
    let by = |path| ask(&snapshot, "shop.example", path).route.unwrap().route;
    for path in ["/cart/7", "/x/../%63art/7", "//cart;v=1/7"] {
        assert_eq!(by(path).as_str(), "shop", "{path}");
    }
    let ambiguous = ask(&snapshot, "shop.example", "/x/..%2fcart");
    assert!(ambiguous.route.is_none() && ambiguous.verdict.contains("bad request"));
}

#[test]
fn programs_get_the_same_as_json() {
    let snapshot = snapshot(&shop());
    let json = serde_json::to_value(ask(&snapshot, "blog.example", "/cart")).unwrap();
    assert_eq!(json["revision"], 10);
    assert_eq!(json["route"]["route"], "blog");
    assert_eq!(json["pools"][0]["pool"], "web");
    assert_eq!(json["pools"][0]["backends"][2]["state"], "drain");
    assert_eq!(
        json["pools"][0]["backends"][0]["why"],
        "ready, but closed: its snapshot is not in force yet or any more"
    );
}

#[test]
fn thousands_of_losers_are_counted_not_listed() {
    let mut resources = vec![pool("web", &[])];
    resources.extend((0..300).map(|i| {
        route(
            &format!("r{i:03}"),
            &["a.example"],
            prefix(&format!("/{i}")),
        )
    }));
    resources.extend((0..100).map(|i| route(&format!("s{i:03}"), &["a.example"], prefix("/7"))));
    let explained = ask(&snapshot(&config(&resources)), "a.example", "/7");
    assert_eq!(
        (explained.outranked.len(), explained.missed.len()),
        (50, 50)
    );
    assert_eq!(explained.others, 400 - 101);
}

#[test]
fn health_is_named_as_the_reason() {
    use crate::backend::Health;
    let publisher = publisher();
    let mut web = pool("web", &[(1, "ready"), (1, "ready"), (1, "ready")]);
    web["health"] = json!({"tcp": {}});
    let config = config(&[web, route("all", &[], prefix("/"))]);
    let snapshot = publisher.activate(compiled(&config, &publisher.registry, None).unwrap());
    let told = || {
        let explained = ask(&snapshot, "a", "/");
        let backends = &explained.pools[0].backends;
        let told = backends.iter().map(|backend| {
            (
                backend.eligible,
                backend.health,
                backend.share,
                backend.why.clone(),
            )
        });
        (explained.verdict, told.collect::<Vec<_>>())
    };
    let (verdict, backends) = told();
    assert!(
        verdict.ends_with("to one of 3 eligible backends"),
        "{verdict}"
    );
    let used = "ready, and used although no health check was good yet: none of the pool is up";
    assert_eq!(backends[2], (true, "unknown", 33.33, used.to_owned()));

    let hold = |index: usize, health| {
        let backend = &snapshot.pool("web").unwrap().members()[index].backend;
        backend.checked(&Err("answered 500".to_owned()));
        backend.change_health(|_, _| health);
        crate::routing::judge(&publisher.cell, &name("web"));
    };
    hold(0, Health::Healthy);
    hold(1, Health::Healthy);
    hold(1, Health::Unhealthy);
    let (verdict, backends) = told();
    assert!(
        verdict.ends_with("to one of 1 eligible backend"),
        "{verdict}"
    );
    assert_eq!(backends[0], (true, "up", 100.0, "ready".to_owned()));
    let down = "ready, but down: answered 500".to_owned();
    assert_eq!(backends[1], (false, "down", 0.0, down));
    let unknown = "ready, but unknown: no health check was good yet".to_owned();
    assert_eq!(backends[2], (false, "unknown", 0.0, unknown));

    hold(2, Health::Unhealthy);
    let why = "ready, and used although it is down (answered 500): too few of the pool are up";
    assert_eq!(told().1[1], (true, "down", 33.33, why.to_owned()));
}

#[test]
fn an_explanation_tells_what_the_route_does_besides() {
    let config = config(&[
        pool("web", &[(1, "ready")]),
        json!({"name": "api", "match": {"path": {"prefix": "/api"}},
               "rewrite": {"host": "inner", "path": {"prefix": "/v1"}},
               "basic_auth": {"users": [{"name": "ann", "password_sha256": "0a".repeat(32)}]},
               "compress": {},
               "forward_auth": {"pool": "web", "path": "/verify"},
               "error_pages": [{"status": [502, "503-504"], "body": "sorry"}],
               "respond": {"status": 503, "body": "closed"},
               "mirror": {"pool": "web", "percent": 10},
               "fault_injection": {"delay": {"percent": 5, "for": "2s"}, "abort": {"status": 500}},
               "headers": {"request": {"remove": ["X-A"], "set": {"X-B": "1"}}, "response": {"add": {"X-C": "1"}}},
               "to": [{"pool": "web"}]}),
        json!({"name": "old", "match": {"path": {"prefix": "/old"}},
               "redirect": {"status": 308, "scheme": "https", "path": {"prefix": "/new"}}}),
    ]);
    let snapshot = snapshot(&config);
    assert_eq!(
        ask(&snapshot, "x", "/api/users").does,
        [
            "asks for the name and password of ann",
            "asks the backend for host inner and path /v1/users",
            "of headers of requests removes X-A, sets X-B",
            "of headers of answers adds X-C",
            "holds 5 % of requests for 2s, on purpose",
            "answers 100 % of requests with 500, on purpose",
            "asks pool web for /verify whether the request may go on",
            "answers by itself, with 503 and 6 bytes",
            "has error pages of its own for 502, 503-504",
            "compresses answers by br or gzip",
        ]
    );
    let verdict = "is answered with 401 by route api: it shows no name and password, or several";
    assert_eq!(ask(&snapshot, "x", "/api/users").verdict, verdict);
    let old = ask(&snapshot, "x", "/old/a?b");
    let verdict = "is redirected with 308 by route old to https://x/new/a?b";
    assert_eq!(old.verdict, verdict);
    let redirect = "  redirects with 308 to scheme https, path /new/a, unless the client asked for that very URL\n";
    assert!(old.to_string().contains(redirect), "{old}");
}

#[test]
fn an_explanation_tells_whom_a_cookie_names() {
    use crate::config::StickyKey;
    let mut web = pool("web", &[(1, "ready"), (1, "drain")]);
    web["sticky"] = json!({"cookie": "at"});
    let mut config = (*config(&[web, route("all", &[], prefix("/"))])).clone();
    config.sticky_key = Some(StickyKey([7; 32]));
    let publisher = publisher();
    let snapshot = publisher.activate(compiled(&config, &publisher.registry, None).unwrap());
    let cookie = snapshot.pool("web").unwrap().cookie(1, false).unwrap();
    let pair = cookie.split(';').next().unwrap();
    let keeps = "keeps clients at their backend of pool web by the cookie at";
    for (cookie, told) in [
        ("ab=1", keeps.to_owned()),
        (pair, format!("{keeps}; that of the request names b")),
        (
            "at=1",
            format!("{keeps}; that of the request names no backend"),
        ),
    ] {
        let mut question = question("x", "/");
        question.headers = vec![("Cookie".to_owned(), cookie.to_owned())];
        let explained = explain(&snapshot, question);
        assert_eq!(explained.does, [told]);
        assert_eq!(
            explained.pools[0].backends[1].why,
            "draining: finishes what it has, gets nothing new but of clients that stick to it"
        );
    }
}
