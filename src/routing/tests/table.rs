//! Which route a request finds.

use proptest::prelude::*;

use super::*;
use crate::config::{HostPattern, KeyMatch, PathMatch, Route, Wanted};
use crate::routing::explain;
use crate::routing::steps;

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
        // What is left of spelling in a normal form.
        ("www.example.com", "//api", "exact-api"),
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
    assert_eq!(found(&empty, "a.example", "/"), "-");
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
fn prefixes_are_compared_by_segment() {
    let snapshot = snapshot(&config(&[
        pool("web", &[]),
        route("all", &[], prefix("/")),
        route("a", &[], prefix("/a")),
        route("a-b", &[], prefix("/a/b/")),
        route("exact", &[], exact("/a/b")),
        route("root", &[], exact("/")),
        route("younger", &[], prefix("/a/")),
        route("odd", &[], prefix("/q%2fr//;v")),
    ]));
    for (path, route) in [
        ("/", "root"),
        ("/x", "all"),
        ("//", "root"),
        ("/ab", "all"),
        ("/A", "all"),
        ("*", "all"),
        ("/a", "a"),
        ("/a/", "a"),
        ("/a//b", "exact"),
        ("/a%2Fb;v=1", "exact"),
        ("/a\\b/", "a-b"),
        ("/q/r", "odd"),
        ("/q%2Fr/s", "odd"),
        ("/a/bc", "a"),
        ("/a/b", "exact"),
        ("/a/b/", "a-b"),
        ("/a/b/c/d", "a-b"),
    ] {
        assert_eq!(found(&snapshot, "x", path), route, "{path}");
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
fn reference(routes: &[Route], asked: &Question) -> String {
    let host = &asked.host;
    let host_rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(exact) => (**exact == **host).then_some(1_000),
        HostPattern::Wildcard(suffix) => host
            .ends_with(&format!(".{suffix}"))
            .then_some(suffix.len()),
    };
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let header = |name: &str| {
        let line = asked.headers.iter().find(|(field, _)| field == name);
        line.map(|(_, value)| value.as_str())
    };
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let fits = |key: &KeyMatch, value: Option<&str>| match &key.wanted {
        Wanted::Exact(exact) => value == Some(exact),
        Wanted::Regex(pattern) => value.is_some_and(|value| pattern.fits(value.as_bytes())),
        Wanted::Present(present) => value.is_some() == *present,
    };
    let rank = |route: &Route| {
        let wanted = &route.matches;
        let host = if wanted.hosts.is_empty() {
            Some(0)
        } else {
            wanted.hosts.iter().filter_map(host_rank).max()
        }?;
        let path = match &wanted.path {
            PathMatch::Exact(exact) => (exact == path).then_some(1_000)?,
            // Lengths of those here tell all apart.
            PathMatch::Regex(pattern) => pattern
                .fits(path.as_bytes())
                .then_some(100 + pattern.as_str().len())?,
            PathMatch::Prefix(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                (path == prefix || path.starts_with(&format!("{prefix}/")))
                    .then_some(prefix.len())?
            }
        };
        let met = (wanted.methods.is_empty() || wanted.methods.contains(&asked.method))
            && wanted
                .headers
                .iter()
                .all(|key| fits(key, header(&key.name)))
            && wanted
                .query
                .iter()
                .all(|key| fits(key, parameter(&key.name)));
        let method = !wanted.methods.is_empty();
        met.then_some((host, path, method, wanted.headers.len(), wanted.query.len()))
    };
    let mut best = None;
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

fn some_keys() -> impl Strategy<Value = Vec<Value>> {
    let wanted = prop::sample::select(vec![
        json!({"exact": "1"}),
        json!({"exact": "2"}),
        json!({"regex": "[12]"}),
        json!({"present": true}),
        json!({"present": false}),
    ]);
    let named = |name: &'static str| {
        prop::option::weighted(0.3, wanted.clone()).prop_map(move |wanted| {
            wanted.map(|mut wanted| {
                wanted["name"] = json!(name);
                wanted
            })
        })
    };
    (named("k"), named("l")).prop_map(|(k, l)| k.into_iter().chain(l).collect())
}

pub(super) fn some_route() -> impl Strategy<Value = Value> {
    let path = (0..5, some_path()).prop_map(|(kind, path)| match kind {
        0..2 => exact(&path),
        2..4 => prefix(&path),
        _ => json!({"regex": if path.len() > 3 { "/[xy].*" } else { "/.*y/?" }}),
    });
    let hosts = prop::collection::btree_set(some_pattern(), 0..3);
    let methods = prop::sample::subsequence(vec!["GET", "POST"], 0..2);
    (hosts, path, methods, some_keys(), some_keys()).prop_map(
        |(hosts, path, methods, headers, query)| {
            json!({"hosts": hosts, "path": path, "methods": methods, "headers": headers, "query": query})
        },
    )
}

pub(super) fn some_request() -> impl Strategy<Value = Question> {
    let value = || prop::option::of(prop::sample::select(vec!["1", "2", "3"]));
    let method = prop::sample::select(vec!["GET", "POST"]);
    let values = (value(), value(), value(), value());
    (method, some_host(), some_path(), values).prop_map(|(method, host, path, (hk, hl, k, l))| {
        let pair = |name: &str, value: Option<&str>| {
            value.map(|value| (name.to_owned(), value.to_owned()))
        };
        let query = pair("k", k).into_iter().chain(pair("l", l));
        let query: Vec<String> = query
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Question {
            method: method.to_owned(),
            path: format!("{path}?{}", query.join("&")),
            headers: pair("k", hk).into_iter().chain(pair("l", hl)).collect(),
            ..question(&host, "")
        }
    })
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
        requests in prop::collection::vec(some_request(), 60),
        // All on one host and path, so that there are enough in one slot.
        together in any::<bool>(),
    ) {
        let (mut matches, mut requests) = (matches, requests);
        if together {
            for (wanted, host) in matches.iter_mut().zip(["a", "b"].iter().cycle()) {
                wanted["hosts"] = json!([host]);
                wanted["path"] = prefix("/x");
            }
            for asked in &mut requests {
                let (_, query) = asked.path.split_once('?').unwrap();
                asked.path = format!("/x?{query}");
                asked.host.truncate(1);
            }
        }
        let config = of_matches(&matches);
        let snapshot = snapshot(&config);
        let routes: Vec<Route> = config.routes.values().map(|route| route.spec.clone()).collect();
        for asked in &requests {
            let by_table = taken_by(&snapshot, asked);
            prop_assert_eq!(&by_table, &reference(&routes, asked), "{:?}", asked);
            let explained = explain(&snapshot, asked.clone()).route;
            let explained = explained.map_or_else(|| "-".to_owned(), |route| route.route.to_string());
            prop_assert_eq!(explained, by_table, "explained {:?}", asked);
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

/// The `i`th of many routes: by turns they differ in host, wildcard, path, header and parameter.
fn one_of_many(i: usize) -> Value {
    match i % 5 {
        0 => json!({"hosts": [format!("h{i}.example")]}),
        1 => json!({"hosts": [format!("*.w{i}.example")]}),
        2 => json!({"hosts": ["paths"], "path": prefix(&format!("/team{}/service{i}", i % 7))}),
        3 => {
            json!({"methods": ["GET"], "headers": [{"name": "x-tenant", "exact": format!("t{i}")}]})
        }
        _ => json!({"hosts": ["queries"], "query": [
            {"name": "v", "exact": i.to_string()}, {"name": "w", "present": true}]}),
    }
}

#[test]
fn ten_thousand_routes_cost_what_ten_cost() {
    let matches: Vec<Value> = (0..10_000).map(one_of_many).collect();
    let few = snapshot(&of_matches(&matches[..10]));
    let many = snapshot(&of_matches(&matches));
    for (host, target, tenant, route) in [
        ("h5.example", "/a/b", "", "r00005"),
        ("a.w6.example", "/a/b", "", "r00006"),
        ("paths", "/team2/service2/x", "", "r00002"),
        ("paths", "/team2", "t3", "r00003"),
        ("a.b.c.d", "/a", "t8", "r00008"),
        ("queries", "/?v=4&w=1", "", "r00004"),
        ("queries", "/?v=4", "t3", "r00003"),
        ("queries", "/?v=&w=", "none", "-"),
    ] {
        let mut asked = question(host, target);
        asked.headers = vec![("X-Tenant".to_owned(), tenant.to_owned())];
        let of_few = steps::count(|| taken_by(&few, &asked));
        let of_many = steps::count(|| taken_by(&many, &asked));
        assert_eq!((&of_few.0[..], &of_many.0[..]), (route, route));
        // One more where an index is asked for what a short list says as soon.
        assert!(
            of_many.1 <= of_few.1 + 1,
            "{host} {target}: {of_few:?} {of_many:?}"
        );
    }
}

#[test]
fn of_routes_that_ask_for_the_same_one_is_looked_at() {
    let same =
        vec![json!({"methods": ["GET"], "headers": [{"name": "x-tenant", "exact": "t"}]}); 1_000];
    let asked = Question {
        method: "POST".to_owned(),
        headers: vec![("X-Tenant".to_owned(), "t".to_owned())],
        ..question("x", "/")
    };
    let snapshot = snapshot(&of_matches(&same));
    let (route, steps) = steps::count(|| taken_by(&snapshot, &asked));
    assert_eq!(route, "-");
    assert!(steps < 10, "{steps}");
}
