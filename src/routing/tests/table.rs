//! Which route a request finds.

use proptest::prelude::*;

use super::*;
use crate::config::{HostPattern, PathMatch, Route};
use crate::routing::{Question, explain};

fn found(snapshot: &Snapshot, host: &str, path: &str) -> String {
    let route = snapshot.route("GET", host, path);
    route.map_or_else(|| "-".to_owned(), |route| route.name.to_string())
}

#[test]
fn precedence_is_that_of_the_gateway_api() {
    let snapshot = snapshot(&config(&[
        pool("web", &[(1, "ready")]),
        route("any", &[], prefix("/")),
        route("any-api", &[], prefix("/api")),
        route("wild", &["*.example.com"], prefix("/")),
        route("wild-deep", &["*.eu.example.com"], prefix("/shop")),
        route("exact", &["www.example.com", "example.com"], prefix("/")),
        route("exact-api", &["www.example.com"], prefix("/api")),
        route("exact-api-v1", &["www.example.com"], prefix("/api/v1/")),
        route("exact-login", &["www.example.com"], exact("/api/login")),
        route("few", &["few.example.com"], prefix("/only")),
    ]));
    for (host, path, route) in [
        // Host before path: the longest prefix of a less specific host does not count.
        ("www.example.com", "/", "exact"),
        ("WWW.Example.COM:8080", "/x?y=/api", "exact"),
        ("www.example.com.", "/api", "exact-api"),
        ("www.example.com", "/api?", "exact-api"),
        ("www.example.com", "/apis", "exact"),
        ("www.example.com", "/api/v1", "exact-api-v1"),
        ("www.example.com", "/api/v1/users/7", "exact-api-v1"),
        ("www.example.com", "/api/v10", "exact-api"),
        ("www.example.com", "/api/login", "exact-login"),
        ("www.example.com", "/api/login/", "exact-api"),
        ("example.com", "/api", "exact"),
        // A wildcard holds one label or more, and never none; the longest comes first.
        ("a.example.com", "/api", "wild"),
        ("a.b.example.com", "/", "wild"),
        ("x.eu.example.com", "/shop/cart", "wild-deep"),
        ("eu.example.com", "/shop", "wild"),
        ("badexample.com", "/", "any"),
        // A host without a route for the path leaves it to the next less specific one.
        ("few.example.com", "/only/this", "few"),
        ("few.example.com", "/other", "wild"),
        ("x.eu.example.com", "/", "wild"),
        // Any host, and none.
        ("other.org", "/api/x", "any-api"),
        ("", "/", "any"),
        ("[::1]:80", "/", "any"),
        ("a..b", "/", "any"),
        // Bytes as they came.
        ("www.example.com", "/%61pi", "exact"),
        ("www.example.com", "//api", "exact"),
        ("www.example.com", "/x/../api", "exact"),
        ("www.example.com", "/API", "exact"),
        ("www.example.com", "*", "exact"),
    ] {
        assert_eq!(found(&snapshot, host, path), route, "{host} {path}");
    }
}

#[test]
fn among_equals_the_oldest_wins_then_the_first_by_name() {
    let same = |name| route(name, &["a.example"], prefix("/x"));
    let mut config = config(&[pool("web", &[(1, "ready")]), same("z"), same("b")]);
    assert_eq!(found(&snapshot(&config), "a.example", "/x"), "z");
    // A change of a route does not make it younger.
    config = put(&config, &[route("z", &["a.example"], prefix("/x/"))]);
    assert_eq!(found(&snapshot(&config), "a.example", "/x"), "z");
    let at_once = json!({"pools": [pool("web", &[])], "routes": [same("z"), same("b")]});
    let at_once = apply(
        &Config::default(),
        Operation::put(ResourcePath::Config, at_once),
    );
    assert_eq!(found(&snapshot(&at_once), "a.example", "/x"), "b");
}

#[test]
fn without_a_match_there_is_no_route() {
    let empty = Snapshot::default();
    assert!(empty.route("GET", "a.example", "/").is_none());
    let snapshot = snapshot(&config(&[
        pool("web", &[]),
        route("r", &["a.example"], prefix("/x")),
    ]));
    for (host, path) in [
        ("a.example", "/y"),
        ("a.example", "/"),
        ("b.example", "/x"),
        ("", "/x"),
        ("a.example", "*"),
    ] {
        assert_eq!(found(&snapshot, host, path), "-", "{host} {path}");
    }
}

#[test]
fn ipv6_hosts_are_compared_as_addresses() {
    let snapshot = snapshot(&config(&[
        pool("web", &[]),
        route("r", &["[2001:db8::1]"], prefix("/")),
    ]));
    assert_eq!(found(&snapshot, "[2001:0DB8:0:0::1]:8080", "/"), "r");
    assert_eq!(found(&snapshot, "[2001:db8::2]", "/"), "-");
}

/// The rule as a sentence: of all routes that match, the greatest.
fn reference(routes: &[Route], host: &str, path: &str) -> String {
    let host_rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(exact) => (**exact == *host).then_some(1_000),
        HostPattern::Wildcard(suffix) => host
            .ends_with(&format!(".{suffix}"))
            .then_some(suffix.len()),
    };
    let rank = |route: &Route| {
        let hosts = &route.matches.hosts;
        let host = if hosts.is_empty() {
            Some(0)
        } else {
            hosts.iter().filter_map(host_rank).max()
        }?;
        let path = match &route.matches.path {
            PathMatch::Exact(exact) => (exact == path).then_some(1_000)?,
            PathMatch::Prefix(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                (path == prefix || path.starts_with(&format!("{prefix}/")))
                    .then_some(prefix.len())?
            }
        };
        Some((host, path))
    };
    let mut best: Option<((usize, usize), &Route)> = None;
    for route in routes {
        if let Some(rank) = rank(route)
            && best.is_none_or(|(of_best, _)| rank > of_best)
        {
            best = Some((rank, route));
        }
    }
    best.map_or_else(|| "-".to_owned(), |(_, route)| route.name.to_string())
}

fn some_host() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|labels| labels.join("."))
}

fn some_pattern() -> impl Strategy<Value = String> {
    (any::<bool>(), some_host())
        .prop_map(|(wild, host)| if wild { format!("*.{host}") } else { host })
}

fn some_path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["x", "y", "xy", "z"]);
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let end = if slash && !segments.is_empty() {
            "/"
        } else {
            ""
        };
        format!("/{}{end}", segments.join("/"))
    })
}

fn some_route() -> impl Strategy<Value = Value> {
    let path = (any::<bool>(), some_path()).prop_map(|(is_exact, path)| {
        if is_exact {
            exact(&path)
        } else {
            prefix(&path)
        }
    });
    let hosts = prop::collection::btree_set(some_pattern(), 0..3);
    (hosts, path).prop_map(|(hosts, path)| json!({"hosts": hosts, "path": path}))
}

fn of_matches(matches: &[Value]) -> Config {
    let named = matches.iter().enumerate();
    let routes: Vec<Value> = named
        .map(|(i, matches)| json!({"name": format!("r{i:05}"), "match": matches, "to": [{"pool": "web"}]}))
        .collect();
    let whole = json!({"pools": [pool("web", &[])], "routes": routes});
    apply(
        &Config::default(),
        Operation::put(ResourcePath::Config, whole),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_table_finds_what_looking_at_every_route_finds(
        matches in prop::collection::vec(some_route(), 1..80),
        requests in prop::collection::vec((some_host(), some_path()), 60),
    ) {
        let config = of_matches(&matches);
        let snapshot = snapshot(&config);
        let routes: Vec<Route> = config.routes.values().map(|route| route.spec.clone()).collect();
        for (host, path) in &requests {
            prop_assert_eq!(found(&snapshot, host, path), reference(&routes, host, path), "{} {}", host, path);
            let question = Question { host: host.clone(), path: path.clone(), ..Question::default() };
            let explained = explain(&snapshot, question).route.map_or_else(|| "-".to_owned(), |route| route.route.to_string());
            prop_assert_eq!(explained, found(&snapshot, host, path), "explained {} {}", host, path);
        }
    }
}

#[test]
fn ten_thousand_routes_are_each_found() {
    let host = |i: usize| format!("h{}.example", i % 100);
    let path = |i: usize| format!("/team{}/service{i}", i % 7);
    let matches: Vec<Value> = (0..10_000)
        .map(|i| json!({"hosts": [host(i)], "path": if i % 3 == 0 { exact(&path(i)) } else { prefix(&path(i)) }}))
        .collect();
    let snapshot = snapshot(&of_matches(&matches));
    for i in 0..10_000 {
        assert_eq!(found(&snapshot, &host(i), &path(i)), format!("r{i:05}"));
        let below = found(&snapshot, &host(i), &format!("{}/x", path(i)));
        assert_eq!(below == "-", i % 3 == 0, "{below}");
        assert_eq!(found(&snapshot, &host(i + 1), &path(i)), "-");
    }
}
