//! Routes and what they match.

use super::*;

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
