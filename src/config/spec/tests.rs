//! Documents in, faults out: every one of them, each at its place.

use serde_json::{Value, json};

use super::*;

/// The faults of a pool, as `pointer: detail`.
fn pool_faults(value: &Value) -> Vec<String> {
    told(parse_pool(value, None))
}

fn route_faults(value: &Value) -> Vec<String> {
    told(parse_route(value, None))
}

fn told<T: std::fmt::Debug>(result: Result<T, Faults>) -> Vec<String> {
    let faults = result.expect_err("it has faults").0;
    faults
        .iter()
        .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
        .collect()
}

#[test]
fn every_fault_of_a_pool_is_told_at_once() {
    let faults = pool_faults(&json!({
        "name": "web shop",
        "balence": "least_connections",
        "balance": "fastest",
        "colour": "red",
        "backends": [
            {"id": "b1", "address": "10.0.0.7:8080", "weight": -1},
            {"id": "b1", "address": "10.0.0.8:8080"},
            {"id": "b2", "address": "app.example", "wieght": 3, "weight": 65536},
            {"id": "b3", "address": "10.0.0.9", "state": "down"},
            {"address": "10.0.0.10:0", "weight": 1.5},
            "10.0.0.11:80",
        ],
        "timeouts": {"connect": 2, "response_headers": "forever", "idle": "0s"},
        "retries": {"attempts": 0, "budget_percent": "20", "budget_min_per_second": null},
    }));
    let known = "known fields are `name`, `balance`, `hash`, `bounded_load`, `backends`, `timeouts`, `retries`, `proxy_protocol`, `tls`, `protocol`, `health`, `outlier`, `slow_start`, `limits`, `sticky`";
    let address = crate::config::address::EXPECTED;
    let duration = "must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\"";
    assert_eq!(
        faults,
        [
            "/balence: unknown field `balence`; did you mean `balance`?".to_owned(),
            format!("/colour: unknown field `colour`; {known}"),
            format!("/name: {}", crate::config::BadName),
            "/balance: must be one of `round_robin`, `least_connections`, `random`, `power_of_two`, `ewma`, `maglev`, not \"fastest\"".to_owned(),
            "/backends/0/weight: must be an integer from 0 to 65535, not -1".to_owned(),
            "/backends/1/id: must be unique in the pool; element 0 has it too".to_owned(),
            "/backends/2/wieght: unknown field `wieght`; did you mean `weight`?".to_owned(),
            format!(
                "/backends/2/address: must be {address}, not \"app.example\""
            ),
            "/backends/2/weight: must be an integer from 0 to 65535, not 65536".to_owned(),
            format!("/backends/3/address: must be {address}, not \"10.0.0.9\""),
            "/backends/3/state: must be one of `ready`, `drain`, `maint`, not \"down\"".to_owned(),
            "/backends/4/id: is missing: must be a name".to_owned(),
            "/backends/4/address: must have a port from 1 to 65535, not \"10.0.0.10:0\"".to_owned(),
            "/backends/4/weight: must be an integer from 0 to 65535, not 1.5".to_owned(),
            "/backends/5: must be an object, not a string".to_owned(),
            format!("/timeouts/connect: {duration}, not 2"),
            format!("/timeouts/response_headers: {duration}, not \"forever\""),
            format!("/timeouts/idle: {duration}, not \"0s\""),
            "/retries/attempts: must be an integer from 1 to 10, not 0".to_owned(),
            "/retries/budget_percent: must be an integer from 0 to 100, not \"20\"".to_owned(),
            "/retries/budget_min_per_second: must be an integer from 0 to 1000000, not null".to_owned(),
        ]
    );
}

#[test]
fn every_fault_of_limits_and_rates_is_told_at_once() {
    let faults = pool_faults(&json!({"name": "web",
        "limits": {"requests": 0, "queue": -1, "queue_timeout": 1, "connections": 0}}));
    assert_eq!(
        faults,
        [
            "/limits/requests: must be an integer from 1 to 1000000, not 0",
            "/limits/connections: must be an integer from 1 to 1000000, not 0",
            "/limits/queue: must be an integer from 0 to 100000, not -1",
            "/limits/queue_timeout: must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\", not 1",
        ]
    );
    let none = pool_faults(&json!({"name": "web", "limits": {"queue": 5}}));
    assert_eq!(
        none,
        ["/limits: must have one of `requests`, `requests_per_backend` and `connections` at least"]
    );
    let shared =
        pool_faults(&json!({"name": "web", "protocol": "http2", "limits": {"connections": 5}}));
    assert_eq!(
        shared,
        [
            "/limits/connections: is for HTTP/1.1: over HTTP/2 requests share connections; limit `requests`"
        ]
    );
    for (rate, expected) in [
        (
            json!({}),
            "/rate_limit/requests: is missing: must be an integer from 1 to 1000000000",
        ),
        (
            json!({"requests": 2000, "per": "1ms"}),
            "/rate_limit: must be at most one request in a microsecond",
        ),
        (
            json!({"requests": 1, "per": "24h", "burst": 31}),
            "/rate_limit/burst: must be so few that the rate brings them back within 30 days",
        ),
        (
            json!({"requests": 1, "by": "host"}),
            "/rate_limit/by: must be \"address\", \"path\", {\"header\": NAME}, {\"cookie\": NAME} or {\"query\": NAME}, not \"host\"",
        ),
    ] {
        let route = json!({"name": "shop", "to": [{"pool": "web"}], "rate_limit": rate});
        let faults = parse_route(&route, None).unwrap_err().0;
        assert_eq!(
            format!("{}: {}", faults[0].pointer, faults[0].detail),
            expected
        );
    }
}

#[test]
fn every_fault_of_a_sticky_cookie_is_told_at_once() {
    let faults = pool_faults(&json!({"name": "web",
        "sticky": {"cookie": "a b", "same_site": "Lax", "max_age": 5, "secure": true}}));
    assert_eq!(
        faults,
        [
            "/sticky/secure: unknown field `secure`; known fields are `cookie`, `same_site`, `max_age`",
            "/sticky/cookie: must be the name of a cookie, up to 256 bytes, not \"a b\"",
            "/sticky/same_site: must be one of `lax`, `strict`, `none`, not \"Lax\"",
            "/sticky/max_age: must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\", not 5",
        ]
    );
    let web = parse_pool(&json!({"name": "web", "sticky": {}}), None).unwrap();
    let written = json!({"cookie": "synod-web", "same_site": "lax"});
    assert_eq!(to_json(&web.sticky.unwrap()), written);
}

#[test]
fn every_fault_of_a_routes_tries_is_told_at_once() {
    let route = json!({"name": "shop", "to": [{"pool": "web"}],
        "timeouts": {"try": "10s", "total": "9s", "idle": "1s"},
        "retries": {"any_method": "yes", "statuses": [500, 404, 500, "503", 600]},
    });
    let faults = parse_route(&route, None).unwrap_err().0.into_iter();
    let faults = faults.map(|fault| format!("{}: {}", fault.pointer, fault.detail));
    assert_eq!(
        faults.collect::<Vec<_>>(),
        [
            "/timeouts/idle: unknown field `idle`; known fields are `try`, `total`",
            "/timeouts/try: must not be longer than `total`",
            "/retries/any_method: must be true or false, not \"yes\"",
            "/retries/statuses/1: must be 429 or from 500 to 599, not 404",
            "/retries/statuses/2: must be there once",
            "/retries/statuses/3: must be 429 or from 500 to 599, not \"503\"",
            "/retries/statuses/4: must be 429 or from 500 to 599, not 600",
        ]
    );
}

#[test]
fn every_fault_of_ejection_is_told_at_once() {
    let faults = pool_faults(&json!({"name": "web", "outlier": {
        "consecutive_failures": -1, "failure_percent": 101, "min_requests": 0, "interval": "99ms",
        "ejection_time": "10m", "max_ejection_time": "9m", "max_percent": 101, "max_percen": 1,
    }}));
    assert_eq!(
        faults,
        [
            "/outlier/max_percen: unknown field `max_percen`; did you mean `max_percent`?",
            "/outlier/interval: must be 100ms at least",
            "/outlier/max_ejection_time: must not be shorter than `ejection_time`",
            "/outlier/consecutive_failures: must be an integer from 0 to 1000000, not -1",
            "/outlier/failure_percent: must be an integer from 0 to 100, not 101",
            "/outlier/min_requests: must be an integer from 1 to 1000000, not 0",
            "/outlier/max_percent: must be an integer from 0 to 100, not 101",
        ]
    );
}

#[test]
fn every_fault_of_health_checks_is_told_at_once() {
    let faults = |health: Value| pool_faults(&json!({"name": "web", "health": health}));
    let duration = "must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\"";
    let status = "must be a status from 100 to 599 or a range of them, such as \"200-299\"";
    assert_eq!(
        faults(json!({
            "http": {
                "path": "healthz", "host": "a b", "body": "", "method": "HEAD",
                "status": [99, "200-600", "300-200", "+20", null, 204],
            },
            "interval": "99ms", "timeout": "61s", "rise": 0, "fall": 101, "panic_percent": 101,
        })),
        [
            "/health/http/method: `method` is not supported yet; known fields are `path`, `host`, `status`, `body`".to_owned(),
            "/health/http/path: must begin with `/`, not \"healthz\"".to_owned(),
            "/health/http/host: must be a host as in the Host field, up to 253 bytes, not \"a b\"".to_owned(),
            "/health/http/body: must have 1 to 1024 bytes, not 0".to_owned(),
            format!("/health/http/status/0: {status}, not 99"),
            format!("/health/http/status/1: {status}, not \"200-600\""),
            format!("/health/http/status/2: {status}, not \"300-200\""),
            format!("/health/http/status/3: {status}, not \"+20\""),
            format!("/health/http/status/4: {status}, not null"),
            "/health/interval: must be 100ms at least".to_owned(),
            "/health/timeout: must be 1m at most".to_owned(),
            "/health/rise: must be an integer from 1 to 100, not 0".to_owned(),
            "/health/fall: must be an integer from 1 to 100, not 101".to_owned(),
            "/health/panic_percent: must be an integer from 0 to 100, not 101".to_owned(),
        ]
    );
    for (health, expected) in [
        (json!(null), "/health: must be an object, not null".to_owned()),
        (json!({}), "/health: must have `http`, `tcp` or `grpc`, such as {\"http\": {\"path\": \"/healthz\"}}".to_owned()),
        (json!({"http": {"path": "/"}, "tcp": {}}), "/health: must have one of `http`, `tcp` and `grpc`, not several".to_owned()),
        (json!({"http": {}}), "/health/http/path: is missing: must be a path, such as \"/healthz\"".to_owned()),
        (json!({"http": "/healthz"}), "/health/http: must be an object, not a string".to_owned()),
        (json!({"http": {"path": "/a b"}}), "/health/http/path: must be as on the wire, without spaces, `#` and what is not ASCII, not \"/a b\"".to_owned()),
        (json!({"http": {"path": "/", "status": []}}), "/health/http/status: must have 1 to 16 elements, not 0".to_owned()),
        (json!({"http": {"path": "/", "status": 2.5}}), format!("/health/http/status: {status}, not 2.5")),
        (json!({"tcp": {"port": 1}}), "/health/tcp/port: unknown field `port`; there are none".to_owned()),
        (json!({"grpc": {"service": "a b"}}), "/health/grpc/service: must be the name of a service, up to 256 bytes, not \"a b\"".to_owned()),
        (json!({"tcp": true}), "/health/tcp: must be an object, not a boolean".to_owned()),
        (json!({"tcp": {}, "interval": 2}), format!("/health/interval: {duration}, not 2")),
    ] {
        assert_eq!(faults(health), [expected]);
    }
}

#[test]
fn every_fault_of_tls_is_told_at_once() {
    let faults = |tls: Value| pool_faults(&json!({"name": "web", "tls": tls}));
    let ca = "must be \"system\", a name out of the nodes' settings, or PEM text that begins with `-----BEGIN CERTIFICATE-----`";
    let host = "must be a host name or an IP address, such as \"api.internal\"";
    assert_eq!(
        faults(json!({
            "ca": "no PEM", "server_name": "a b", "names": ["api.internal", "10.0.0.7", "-", 1],
            "certificate": "", "min_version": "1.1", "verify": false, "insecure": "yes",
        })),
        [
            "/tls/verify: unknown field `verify`; known fields are `ca`, `server_name`, `names`, `certificate`, `min_version`, `insecure`".to_owned(),
            format!("/tls/server_name: {host}, not \"a b\""),
            format!("/tls/names/2: {host}, not \"-\""),
            "/tls/names/3: must be a host name, not 1".to_owned(),
            format!("/tls/certificate: {}", crate::config::BadName),
            "/tls/insecure: must be true or false, not \"yes\"".to_owned(),
            format!("/tls/ca: {ca}"),
            "/tls/min_version: must be one of `1.2`, `1.3`, not \"1.1\"".to_owned(),
        ]
    );
    let long = "-----BEGIN CERTIFICATE-----".repeat(3_000);
    for (tls, expected) in [
        (json!(true), "/tls: must be an object, not a boolean".to_owned()),
        (json!({"ca": 1}), format!("/tls/ca: must be {}, not 1", ca.trim_start_matches("must be "))),
        (json!({ "ca": long }), "/tls/ca: must have at most 65536 bytes".to_owned()),
        (
            json!({"ca": "-----BEGIN PRIVATE KEY-----\n"}),
            "/tls/ca: holds a private key, which everybody could read here; give certificates alone, and keep the key where it is safe".to_owned(),
        ),
        (
            json!({"insecure": true, "ca": "system"}),
            "/tls/ca: contradicts `insecure`, with which any certificate is taken".to_owned(),
        ),
    ] {
        assert_eq!(faults(tls), [expected]);
    }
}

#[test]
fn tls_is_written_back_with_every_default() {
    let written = |tls: Value| {
        let pool = parse_pool(&json!({"name": "web", "tls": tls}), None).unwrap();
        to_json(&pool)["tls"].clone()
    };
    let pem = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n";
    for (tls, expected) in [
        (json!({}), json!({"ca": "system", "min_version": "1.2"})),
        (
            json!({"insecure": true, "certificate": "mesh"}),
            json!({"insecure": true, "certificate": "mesh", "min_version": "1.2"}),
        ),
        (
            json!({"ca": pem, "names": ["a.b"], "server_name": "c", "min_version": "1.3", "insecure": false}),
            json!({"ca": pem, "server_name": "c", "names": ["a.b"], "min_version": "1.3"}),
        ),
    ] {
        assert_eq!(written(tls), expected);
        assert_eq!(written(expected.clone()), expected);
    }
    let pool = parse_pool(&json!({"name": "web"}), None).unwrap();
    assert_eq!(to_json(&pool).get("tls"), None);
}

#[test]
fn health_checks_are_written_back_with_every_default() {
    let written = |health: Value| {
        let pool = parse_pool(&json!({"name": "web", "health": health}), None).unwrap();
        to_json(&pool)["health"].clone()
    };
    assert_eq!(
        written(json!({"http": {"path": "/healthz"}})),
        json!({
            "http": {"path": "/healthz", "status": ["200-399"]},
            "interval": "2s", "timeout": "1s", "rise": 2, "fall": 3, "panic_percent": 50,
        })
    );
    let all = json!({
        "http": {"path": "/ok?x=1", "host": "shop.example:80", "status": [204, "300-301"], "body": "fine"},
        "interval": "500ms", "timeout": "200ms", "rise": 1, "fall": 5, "panic_percent": 0,
    });
    assert_eq!(written(all.clone()), all);
    assert_eq!(written(json!({"tcp": {}}))["tcp"], json!({}));
    for (one, status) in [
        (json!("204"), json!([204])),
        (json!("200-299"), json!(["200-299"])),
    ] {
        let health = json!({"http": {"path": "/", "status": one}});
        assert_eq!(written(health)["http"]["status"], status);
    }
}

#[test]
fn every_fault_of_a_route_is_told_at_once() {
    let faults = route_faults(&json!({
        "match": {
            "host": ["a"],
            "hosts": ["shop.example", "SHOP.example", "a:80", 7],
            "path": {"exact": "a", "prefix": "/b?c", "regex": "("},
            "method": "GET",
        },
        "to": [{"pool": "web"}, {"pool": "web", "weight": "5"}, {"weight": 1}, {"pool": "a/b"}],
    }));
    assert_eq!(
        faults,
        [
            "/name: is missing: must be a name".to_owned(),
            "/match/host: unknown field `host`; did you mean `hosts`?".to_owned(),
            "/match/method: unknown field `method`; did you mean `methods`?".to_owned(),
            "/match/hosts/1: must be there once; `shop.example` comes before".to_owned(),
            "/match/hosts/2: must be a host alone, without scheme, port or path, not \"a:80\""
                .to_owned(),
            "/match/hosts/3: must be a host name, not 7".to_owned(),
            "/match/path/exact: must begin with `/`, not \"a\"".to_owned(),
            "/match/path/prefix: must be a path alone, without `?` or `#`, not \"/b?c\"".to_owned(),
            "/match/path/regex: must be a regular expression: unclosed group".to_owned(),
            "/match/path: must have one of `exact`, `prefix` and `regex`, such as {\"prefix\": \"/\"}"
                .to_owned(),
            "/to/1/weight: must be an integer from 0 to 65535, not \"5\"".to_owned(),
            "/to/1/pool: must be there once; element 0 names it too".to_owned(),
            "/to/2/pool: is missing: must be a name".to_owned(),
            format!("/to/3/pool: {}", crate::config::BadName),
        ]
    );
}

#[test]
fn every_fault_of_a_condition_is_told_at_once() {
    let faults = route_faults(&json!({
        "name": "shop",
        "match": {
            "methods": ["GET", "get", "GET", "CONNECT", "A B", 1],
            "headers": [
                {"name": "Host", "exact": "a"},
                {"name": "a b", "exact": "a"},
                {"name": "X-A", "exact": " a"},
                {"name": "x-a", "exact": "b"},
                {"name": "x-b", "exact": "b", "present": true},
                {"exact": "b"},
                {"name": "x-c", "present": "yes", "value": 1},
                7,
            ],
            "query": [{"name": "a=b", "exact": "1"}, {"name": "a", "exact": "1&2"}, {"name": "b"}],
        },
        "to": [{"pool": "web"}],
    }));
    let method = "must be a method such as \"GET\", in capital letters as it is sent";
    let one = "must have one of `exact`, `regex` and `present`, such as {\"name\": \"x\", \"exact\": \"1\"}";
    assert_eq!(
        faults,
        [
            format!("/match/methods/1: {method}, not \"get\""),
            "/match/methods/2: must be there once; `GET` comes before".to_owned(),
            "/match/methods/3: is answered by the proxy itself: no route takes it".to_owned(),
            format!("/match/methods/4: {method}, not \"A B\""),
            "/match/methods/5: must be a method such as \"GET\", not 1".to_owned(),
            "/match/headers/0/name: must be a header other than Host, which `hosts` is for, not \"Host\"".to_owned(),
            "/match/headers/1/name: must be the name of a header, up to 256 bytes, not \"a b\"".to_owned(),
            "/match/headers/2/exact: must be visible ASCII without blanks around it, not \" a\"".to_owned(),
            "/match/headers/3/name: must be there once; element 2 names it too".to_owned(),
            format!("/match/headers/4: {one}"),
            "/match/headers/5/name: is missing: must be a name".to_owned(),
            "/match/headers/6/value: unknown field `value`; known fields are `name`, `exact`, `regex`, `present`".to_owned(),
            "/match/headers/6/present: must be true or false, not \"yes\"".to_owned(),
            "/match/headers/7: must be an object, not a number".to_owned(),
            "/match/query/0/name: must be the name of a parameter as written in a query, up to 256 bytes, not \"a=b\"".to_owned(),
            "/match/query/1/exact: must be as written in a query: visible ASCII without `&` and `#`, not \"1&2\"".to_owned(),
            format!("/match/query/2: {one}"),
        ]
    );
}

#[test]
fn conditions_are_written_back_as_they_are_read() {
    let written = json!({
        "hosts": [], "path": {"prefix": "/"}, "methods": ["GET", "HEAD"],
        "headers": [{"name": "x-beta", "exact": "yes"}, {"name": "cookie", "present": true}],
        "query": [{"name": "V", "exact": ""}, {"name": "w", "present": false}, {"name": "x", "regex": "[0-9]+"}],
    });
    let mut route = json!({"name": "shop", "match": written, "to": [{"pool": "web"}]});
    route["match"]["headers"][0]["name"] = json!("X-Beta");
    let route = parse_route(&route, None).unwrap();
    assert_eq!(to_json(&route)["match"], written);
    let route = json!({"name": "shop", "match": {"path": {"regex": "/v[0-9]+/.*"}}, "to": [{"pool": "web"}]});
    let path = &to_json(&parse_route(&route, None).unwrap())["match"]["path"];
    assert_eq!(path, &json!({"regex": "/v[0-9]+/.*"}));
}

#[test]
fn a_transaction_has_a_bounded_number_of_regular_expressions() {
    let put = |routes: usize, patterns: usize| {
        let query = |i| json!({"name": format!("q{i}"), "regex": "a"});
        let query: Vec<Value> = (0..patterns).map(query).collect();
        let route = |i| json!({"name": format!("r{i}"), "match": {"query": query}, "to": [{"pool": "web"}]});
        let routes: Vec<Value> = (0..routes).map(route).collect();
        parse_config(&json!({"pools": [{"name": "web"}], "routes": routes}))
    };
    assert!(put(62, 16).is_ok());
    assert_eq!(
        told(put(63, 16)),
        [": would make a config of 1008 regular expressions: at most 1000 are allowed"]
    );
    let many = told(put(200, 16));
    assert_eq!(
        many[0],
        "/routes/126: is too much work for one transaction: split it"
    );
}

#[test]
fn shapes_that_are_no_resource_at_all_are_one_fault() {
    for (value, fault) in [
        (json!(null), ": must be an object, not null"),
        (json!([]), ": must be an object, not an array"),
        (json!("web"), ": must be an object, not a string"),
    ] {
        assert_eq!(pool_faults(&value), [fault]);
        assert_eq!(route_faults(&value), [fault]);
    }
    let places = |value| -> Vec<String> {
        parse_pool(&value, None)
            .expect_err("faults")
            .0
            .into_iter()
            .map(|fault| fault.pointer)
            .collect()
    };
    assert_eq!(
        places(json!({"name": "a", "backends": {}, "timeouts": [], "retries": 3})),
        ["/backends", "/timeouts", "/retries"]
    );
    assert_eq!(
        route_faults(&json!({"name": "a", "to": []})),
        [
            "/to: must name one pool at least, such as [{\"pool\": \"web\"}]; only a redirect needs none"
        ]
    );
    assert_eq!(
        route_faults(&json!({"name": "a", "match": {"path": {}}, "to": [{"pool": "p"}]})),
        [
            "/match/path: must have one of `exact`, `prefix` and `regex`, such as {\"prefix\": \"/\"}"
        ]
    );
}

#[test]
fn the_name_in_the_body_is_the_one_in_the_path() {
    let web = Name::new("web").unwrap();
    assert_eq!(
        parse_pool(&json!({}), Some(&web)),
        Ok(Pool::new(web.clone())),
        "it may be left out"
    );
    assert_eq!(
        parse_pool(&json!({"name": "web"}), Some(&web)),
        Ok(Pool::new(web.clone()))
    );
    assert_eq!(
        told(parse_pool(&json!({"name": "api"}), Some(&web))),
        ["/name: must be \"web\", as in the path, not \"api\""]
    );
    assert_eq!(
        told(parse_backend(
            &json!({"id": 1, "address": "[::1]:80"}),
            Some(&web)
        )),
        ["/id: must be \"web\", as in the path, not 1"]
    );
}

#[test]
fn what_is_written_back_shows_every_default() {
    let pool = parse_pool(
        &json!({"name": "web", "backends": [{"id": "b1", "address": "10.0.0.7:8080"}]}),
        None,
    );
    assert_eq!(
        to_json(&pool.unwrap()),
        json!({
            "name": "web",
            "balance": "round_robin",
            "backends": [{"id": "b1", "address": "10.0.0.7:8080", "weight": 1, "state": "ready"}],
            "timeouts": {"connect": "2s", "response_headers": "1m", "stream_idle": "5m", "idle": "1m",
                "tunnel_idle": "1h"},
            "retries": {"attempts": 3, "budget_percent": 20, "budget_min_per_second": 10},
            "outlier": {"consecutive_failures": 5, "failure_percent": 50, "min_requests": 20, "interval": "10s",
                "ejection_time": "30s", "max_ejection_time": "5m", "max_percent": 10},
        })
    );
    let route = parse_route(&json!({"name": "shop", "to": [{"pool": "web"}]}), None);
    assert_eq!(
        to_json(&route.unwrap()),
        json!({
            "name": "shop",
            "match": {"hosts": [], "path": {"prefix": "/"}},
            "to": [{"pool": "web", "weight": 1}],
        })
    );
}

#[test]
fn every_fault_of_a_transaction_is_told_at_once() {
    assert_eq!(
        told(Transaction::from_json(json!({}))),
        [": must be an array of operations, not an object"]
    );
    let faults = told(Transaction::from_json(json!([
        {"op": "put", "path": "/pools/web"},
        {"op": "move", "path": "/pools/web/backends/b1/weight", "form": "x"},
        {"op": "delete", "path": "/config"},
        {"op": "delete", "path": "/routes/a", "value": 1, "revision": 1, "exists": true},
        {"op": "check", "path": "/routes/a", "revision": "12"},
        7,
    ])));
    assert_eq!(
        faults,
        [
            "/0/value: is missing: must be the spec to put, or the merge patch",
            "/1/form: unknown field `form`; known fields are `op`, `path`, `value`, `revision`, `exists`",
            "/1/op: must be `put`, `patch`, `delete` or `check`, not \"move\"",
            "/1/path: must be `/config`, `/pools/NAME`, `/pools/NAME/backends/ID` or `/routes/NAME`, with valid names",
            "/2/op: the config cannot be deleted: put {\"pools\": [], \"routes\": []}",
            "/3: must have `revision` or `exists`, not both",
            "/3/value: must be left out: only `put` and `patch` have a value",
            "/4/revision: must be a revision, an integer, not \"12\"",
            "/5: must be an object, not a number",
        ]
    );
}

#[test]
fn answers_do_not_grow_with_the_document() {
    let name = "/".repeat(100_000);
    let faults = pool_faults(&json!({ "name": "a", name: 1 }));
    assert!(faults[0].len() < 600, "{}", faults[0].len());

    let many: serde_json::Map<_, _> = (0..5_000)
        .map(|i| (format!("field{i}"), Value::Null))
        .collect();
    let faults = pool_faults(&Value::Object(many));
    assert_eq!(faults.len(), crate::config::limits::FAULTS + 1);
    assert_eq!(
        faults.last().unwrap(),
        ": has more faults than are told at once"
    );
}

#[test]
fn what_is_hashed_is_said_for_maglev_alone() {
    let pool = |fields: Value| {
        let mut pool = json!({"name": "web"});
        pool.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        pool
    };
    let written = |fields: Value| {
        let pool = to_json(&parse_pool(&pool(fields), None).unwrap());
        (pool["hash"].clone(), pool["bounded_load"].clone())
    };
    assert_eq!(
        written(json!({"balance": "maglev"})),
        (json!("address"), json!(false))
    );
    assert_eq!(
        written(json!({"balance": "random"})),
        (Value::Null, Value::Null)
    );
    for (hash, canonical) in [
        (json!("path"), json!("path")),
        (json!({"header": "X-User"}), json!({"header": "x-user"})),
        (json!({"cookie": "Session"}), json!({"cookie": "Session"})),
        (json!({"query": "a[]"}), json!({"query": "a[]"})),
    ] {
        let fields = json!({"balance": "maglev", "hash": hash, "bounded_load": true});
        assert_eq!(written(fields), (canonical, json!(true)));
    }
    let shape = "must be \"address\", \"path\", {\"header\": NAME}, {\"cookie\": NAME} or {\"query\": NAME}";
    let alone = "is of `maglev` alone, not of `ewma`: leave it out (null in a patch)";
    for (fields, faults) in [
        (
            json!({"balance": "maglev", "hash": "uri"}),
            vec![format!("/hash: {shape}, not \"uri\"")],
        ),
        (
            json!({"balance": "maglev", "hash": {}}),
            vec![format!("/hash: {shape}")],
        ),
        (
            json!({"balance": "maglev", "hash": {"header": "a", "query": "b"}, "bounded_load": 1}),
            vec![
                format!("/hash: {shape}"),
                "/bounded_load: must be true or false, not 1".to_owned(),
            ],
        ),
        (
            json!({"balance": "maglev", "hash": {"header": "a b"}}),
            vec![
                "/hash/header: must be the name of a header, up to 256 bytes, not \"a b\""
                    .to_owned(),
            ],
        ),
        (
            json!({"balance": "ewma", "hash": "path", "bounded_load": false}),
            vec![format!("/hash: {alone}"), format!("/bounded_load: {alone}")],
        ),
    ] {
        assert_eq!(pool_faults(&pool(fields)), faults);
    }
}

/// The faults of route `shop` to `web` with these fields.
fn policy_faults(fields: Value) -> Vec<String> {
    let mut route = json!({"name": "shop", "to": [{"pool": "web"}]});
    let more = fields.as_object().unwrap().clone();
    route.as_object_mut().unwrap().extend(more);
    route_faults(&route)
}

#[test]
fn every_fault_of_a_redirect_or_rewrite_is_told_at_once() {
    let one =
        "must have one of `full`, `prefix`, and `regex` with `to`, such as {\"prefix\": \"/new\"}";
    let faults = policy_faults(json!({
        "match": {"path": {"exact": "/x"}},
        "redirect": {"status": 304, "scheme": "ftp", "host": "*.a", "port": 0, "path": {"prefix": "x"}},
        "rewrite": {"host": "a:b", "path": {"regex": "(", "to": "/a b"}, "query": ""},
    }));
    assert_eq!(
        faults,
        [
            "/redirect/status: must be 301, 302, 303, 307 or 308, not 304",
            "/redirect/scheme: must be one of `http`, `https`, not \"ftp\"",
            "/redirect/port: must be an integer from 1 to 65535, not 0",
            "/redirect/host: must be one host, without `*`, not \"*.a\"",
            "/redirect/path/prefix: replaces the prefix that the route matches by, and its `match` has none: use `full` or `regex`",
            "/redirect/path/prefix: must begin with `/`, not \"x\"",
            "/rewrite/query: unknown field `query`; known fields are `host`, `path`",
            "/rewrite/host: must have a port from 1 to 65535 behind the colon, not \"a:b\"",
            "/rewrite/path/regex: must be a regular expression: unclosed group",
            "/rewrite/path/to: must be a path's visible ASCII, without `?` and `#`, not \"/a b\"",
        ]
    );
    for (fields, fault) in [
        (
            json!({"redirect": {}}),
            "/redirect: must have one at least of `scheme`, `host`, `port` and `path`".to_owned(),
        ),
        (
            json!({"redirect": {"host": "a:80"}}),
            "/redirect/host: must be a host alone, without scheme, port or path, not \"a:80\""
                .to_owned(),
        ),
        (
            json!({"rewrite": {}}),
            "/rewrite: must have `host`, `path` or both".to_owned(),
        ),
        (
            json!({"rewrite": {"path": {"full": "/a", "to": "b"}}}),
            format!("/rewrite/path: {one}"),
        ),
        (
            json!({"rewrite": {"path": {}}}),
            format!("/rewrite/path: {one}"),
        ),
    ] {
        assert_eq!(policy_faults(fields), [fault]);
    }
}

#[test]
fn every_fault_of_header_edits_is_told_at_once() {
    let twice = "must be there once, over `remove`, `set` and `add`";
    let framing = "cannot be edited: it delimits the message or is for one hop only";
    let own = "cannot be edited: the proxy writes it itself";
    let faults = policy_faults(json!({"headers": {
        "request": {
            "remove": ["Host", "X-A", 1, "Content_Length"],
            "set": {"x-a": "1", "X-B": " x", "Transfer-Encoding": "chunked", "a b": "1"},
            "add": {"X-Forwarded-For": "1.2.3.4", "X-C": 1},
        },
        "response": {"set": [], "add": {"Via": "x", "x-forwarded-for": "fine", "X-D": "a\r\nb"}},
        "answer": {},
    }}));
    assert_eq!(
        faults,
        [
            "/headers/answer: unknown field `answer`; known fields are `request`, `response`".to_owned(),
            "/headers/request/remove/0: cannot be edited: `rewrite` has a `host`".to_owned(),
            "/headers/request/remove/2: must be the name of a header, not 1".to_owned(),
            format!("/headers/request/remove/3: {framing}"),
            format!("/headers/request/set/x-a: {twice}"),
            "/headers/request/set/X-B: must be visible ASCII without blanks around it, up to 4096 bytes, not \" x\"".to_owned(),
            format!("/headers/request/set/Transfer-Encoding: {framing}"),
            "/headers/request/set/a b: must be the name of a header, up to 256 bytes".to_owned(),
            format!("/headers/request/add/X-Forwarded-For: {own}"),
            "/headers/request/add/X-C: must be visible ASCII without blanks around it, up to 4096 bytes, not 1".to_owned(),
            "/headers/response/set: must be an object from names to values, not an array".to_owned(),
            format!("/headers/response/add/Via: {own}"),
            "/headers/response/add/X-D: must be visible ASCII without blanks around it, up to 4096 bytes, not \"a\\r\\nb\"".to_owned(),
        ]
    );
}

#[test]
fn policies_are_written_back_as_they_are_read() {
    let written = json!({
        "name": "shop",
        "match": {"hosts": [], "path": {"prefix": "/a"}},
        "to": [],
        "redirect": {"status": 308, "scheme": "https", "host": "b.example", "port": 8443, "path": {"prefix": "/b"}},
        "rewrite": {"host": "b.example:80", "path": {"regex": "^/a", "to": "/b"}},
        "clients": {"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]},
        "cors": {"origins": ["https://a.example", "http://*.example:81"], "methods": ["GET", "HEAD", "POST"],
            "headers": [], "expose": ["X-A"], "credentials": true, "max_age": "5s"},
        "max_body_bytes": 0,
        "mirror": {"pool": "web", "percent": 7},
        "forward_auth": {"pool": "auth", "path": "/verify", "answer_headers": ["X-User"], "timeout": "1s"},
        "compress": {"codings": ["gzip"], "types": ["text/*", "application/json"], "min_bytes": 0},
        "basic_auth": {"realm": "staff", "users": [{"name": "ann", "password_sha256": "0a".repeat(32)}]},
        "error_pages": [{"status": [502, "503-504"], "body": "sorry", "content_type": "text/plain"}],
        "fault_injection": {"delay": {"percent": 5, "for": "2s"}, "abort": {"percent": 100, "status": 503}},
        "headers": {
            "request": {"remove": ["X-A"], "set": {"X-B": "1"}, "add": {"X-C": ""}},
            "response": {"add": {"X-D": "1"}},
        },
    });
    assert_eq!(to_json(&parse_route(&written, None).unwrap()), written);
    let plain = json!({"name": "shop", "to": [{"pool": "web"}], "headers": {"request": {}}});
    assert_eq!(parse_route(&plain, None).unwrap().policy, None);
}

#[test]
fn every_fault_of_clients_cors_and_body_limit_is_told_at_once() {
    let network = crate::config::BadNetwork;
    let origin =
        "must be an origin such as \"https://shop.example\" or \"https://*.example\", or \"*\"";
    let faults = policy_faults(json!({
        "clients": {"allow": ["10.0.0.0/33", 1], "forbid": []},
        "cors": {"origins": ["shop.example", "https://a.example/", "https://a:443", "ftp://a", "*"],
            "methods": ["get"], "headers": ["a b"], "credentials": true, "max_age": 5},
        "max_body_bytes": -1,
    }));
    assert_eq!(
        faults,
        [
            "/clients/forbid: unknown field `forbid`; known fields are `allow`, `deny`".to_owned(),
            format!("/clients/allow/0: {network}, not \"10.0.0.0/33\""),
            format!("/clients/allow/1: {network}, not 1"),
            format!("/cors/origins/0: {origin}, not \"shop.example\""),
            format!("/cors/origins/1: {origin}, not \"https://a.example/\""),
            format!("/cors/origins/2: {origin}, not \"https://a:443\""),
            format!("/cors/origins/3: {origin}, not \"ftp://a\""),
            "/cors/methods/0: must be a method such as \"PUT\", in capital letters as it is sent, not \"get\"".to_owned(),
            "/cors/headers/0: must be the name of a header, up to 256 bytes, not \"a b\"".to_owned(),
            "/cors/origins: must be named one by one where there are credentials: `*` would let any site act as its visitor".to_owned(),
            "/cors/max_age: must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\", not 5".to_owned(),
            "/max_body_bytes: must be an integer from 0 to 9223372036854775807, not -1".to_owned(),
        ]
    );
    for (fields, fault) in [
        (
            json!({"clients": {}}),
            "/clients: must have `allow`, `deny` or both",
        ),
        (
            json!({"clients": {"allow": []}}),
            "/clients/allow: must name one network at least; leave it out to allow everybody",
        ),
        (
            json!({"cors": {}}),
            "/cors/origins: must name one origin at least",
        ),
    ] {
        assert_eq!(policy_faults(fields), [fault]);
    }
}
