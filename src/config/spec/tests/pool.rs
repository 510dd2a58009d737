//! Pools, and all that hangs on one.

use super::*;

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
fn every_fault_of_ejection_is_told_at_once() {
    let faults = pool_faults(&json!({"name": "web", "outlier": {
        "consecutive_failures": -1, "failure_percent": 101, "min_requests": 0, "interval": "99ms",
        "ejection_time": "10m", "max_ejection_time": "9m", "max_percent": 101, "max_percen": 1,
        "panic_percent": 101,
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
            "/outlier/panic_percent: must be an integer from 0 to 100, not 101",
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
                "path": "healthz", "host": "a b", "body": "", "method": "head", "headers": {"Host": "a", "TE": "b", "X": " "},
                "status": [99, "200-600", "300-200", "+20", null, 204],
            },
            "interval": "99ms", "timeout": "61s", "rise": 0, "fall": 101, "panic_percent": 101,
        })),
        [
            "/health/http/path: must begin with `/`, not \"healthz\"".to_owned(),
            "/health/http/host: must be a host as in the Host field, up to 253 bytes, not \"a b\"".to_owned(),
            "/health/http/body: must have 1 to 1024 bytes, not 0".to_owned(),
            "/health/http/method: must be a method such as \"HEAD\", in capital letters as it is sent, not \"head\"".to_owned(),
            "/health/http/headers/Host: cannot be sent by a check: it has a `host`".to_owned(),
            "/health/http/headers/TE: cannot be sent by a check: it delimits the message or is for one hop only".to_owned(),
            "/health/http/headers/X: must be visible ASCII without blanks around it, up to 4096 bytes, not \" \"".to_owned(),
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
