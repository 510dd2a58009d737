//! Fields: what is dropped, what is set, what stays as it came.

use serde_json::json;

use super::harness::*;
use crate::config::Network;
use crate::telemetry::access_log::Format;

fn forwarded(options: crate::proxy::ProxyOptions, fields: &str) -> String {
    let (backend, heads) = recording();
    let harness = Harness::new(options, &web(&[backend.address], json!({})));
    harness.once(&format!(
        "GET /a?b HTTP/1.1\r\nHost: Shop.Example:80\r\n{fields}\r\n"
    ));
    heads.recv().unwrap()
}

#[test]
fn hop_by_hop_fields_end_here() {
    let dropped = [
        "Connection: keep-alive, X-Mine",
        "X-Mine: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: deflate",
        "Upgrade: websocket",
    ];
    let kept = [
        "accept: */*",
        "X-CASE: Kept",
        "Authorization: Basic eA==",
        "Proxy-Authorization: Basic eA==",
        "Cookie: a=b",
    ];
    let head = forwarded(
        options(),
        &format!("{}\r\n{}\r\n", dropped.join("\r\n"), kept.join("\r\n")),
    );
    assert!(
        head.starts_with("GET /a?b HTTP/1.1\r\nHost: Shop.Example:80\r\n"),
        "{head}"
    );
    for line in dropped {
        assert!(
            !head.contains(line.split(':').next().unwrap()),
            "{line} in {head}"
        );
    }
    for line in kept {
        assert!(
            head.contains(&format!("{line}\r\n")),
            "{line} not in {head}"
        );
    }
}

#[test]
fn what_a_stranger_says_of_the_client_is_replaced() {
    let claims = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: bank\r\n\
                  X-Forwarded-Port: 1\r\nForwarded: for=1\r\n";
    let head = forwarded(options(), claims);
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(&head, "x-forwarded-host"), Some("Shop.Example:80"));
    assert!(
        !head.contains("203.0.113.9")
            && !head.contains("X-Forwarded-Port")
            && !head.contains("Forwarded: ")
    );
    assert_eq!(field(&head, "via"), Some("1.1 synod"));

    let head = forwarded(trusting_loopback(), claims);
    assert_eq!(
        field(&head, "x-forwarded-for"),
        Some("203.0.113.9, 127.0.0.1")
    );
    assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(&head, "x-forwarded-host"), Some("bank"));
}

#[test]
fn forwarded_is_written_where_the_listener_says_so() {
    let with_forwarded = |mut options: crate::proxy::ProxyOptions| {
        options.listeners[0].forwarded_header = true;
        options
    };
    let own = "for=127.0.0.1;host=\"Shop.Example:80\";proto=http";
    let claim = "Forwarded: for=203.0.113.9\r\n";
    let head = forwarded(with_forwarded(options()), claim);
    assert_eq!(field(&head, "forwarded"), Some(own));
    let head = forwarded(with_forwarded(trusting_loopback()), claim);
    assert_eq!(field(&head, "forwarded"), Some("for=203.0.113.9"));
    assert!(head.contains(&format!("Forwarded: {own}\r\n")), "{head}");
}

#[test]
fn x_real_ip_is_whom_the_proxy_takes_for_the_client_where_the_listener_says_so() {
    let claim = "X-Real-IP: 203.0.113.9\r\nX_Real_IP: 203.0.113.8\r\n";
    let hops = "X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n";
    for (told, trusted, fields, expected) in [
        (false, false, claim, &[][..]),
        (false, true, claim, &["203.0.113.9"]),
        (true, false, claim, &["127.0.0.1"]),
        (true, false, hops, &["127.0.0.1"]),
        (true, true, claim, &["127.0.0.1"]),
        (true, true, &format!("{claim}{hops}"), &["203.0.113.7"]),
    ] {
        let mut options = if trusted {
            trusting_loopback()
        } else {
            options()
        };
        options.listeners[0].real_ip_header = told;
        let head = forwarded(options, fields);
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let alike = |name: &str| name.to_ascii_lowercase().replace('_', "-") == "x-real-ip";
        let seen: Vec<&str> = lines
            .filter(|(name, _)| alike(name))
            .map(|(_, value)| value)
            .collect();
        assert_eq!(seen, expected, "{told} {trusted} {fields}");
    }
}

#[test]
fn what_a_route_says_of_the_real_ip_goes() {
    let (backend, heads) = recording();
    for (edits, expected) in [
        (json!({"set": {"X-Real-IP": "mine"}}), Some("mine")),
        (json!({"remove": ["x-real-ip"]}), None),
    ] {
        let mut options = options();
        options.listeners[0].real_ip_header = true;
        let mut config = web(&[backend.address], json!({}));
        config["routes"][0]["headers"] = json!({"request": edits});
        Harness::new(options, &config).once("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let head = heads.recv().unwrap();
        assert_eq!(field(&head, "x-real-ip"), expected, "{edits}");
        let told = usize::from(expected.is_some());
        assert_eq!(
            head.to_ascii_lowercase().matches("x-real-ip:").count(),
            told
        );
    }
}

#[test]
fn a_service_that_is_asked_is_told_the_real_ip_too() {
    let (backend, heads) = recording();
    for told in [false, true] {
        let mut options = options();
        options.listeners[0].real_ip_header = told;
        let mut config = web(&[backend.address], json!({}));
        config["routes"][0]["forward_auth"] = json!({"pool": "web"});
        let harness = Harness::new(options, &config);
        harness.once("GET / HTTP/1.1\r\nHost: x\r\nX-Real-IP: 203.0.113.9\r\n\r\n");
        for _ in 0..2 {
            let expected = told.then_some("127.0.0.1");
            assert_eq!(field(&heads.recv().unwrap(), "x-real-ip"), expected);
        }
    }
}

#[test]
fn a_request_id_is_kept_or_made() {
    let head = forwarded(options(), "X-Request-Id: mine\r\n");
    assert_eq!(field(&head, "x-request-id"), Some("mine"));
    let head = forwarded(options(), "");
    assert_eq!(field(&head, "x-request-id").unwrap().len(), 32);
}

#[test]
fn answers_lose_hop_by_hop_fields_and_keep_the_rest() {
    let backend = Scripted::always(
        "HTTP/1.1 200 Fine\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         Synod-Revision: 4711\r\ncontent-length: 0\r\n\r\n",
    );
    let mut with_revision = options();
    with_revision.listeners[0].revision_header = true;
    let harness = Harness::new(with_revision, &web(&[backend.address], json!({})));
    let (head, _) = harness.get("/");
    assert!(
        head.starts_with("HTTP/1.1 200 Fine\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        "{head}"
    );
    assert!(
        head.contains("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
        "{head}"
    );
    assert_eq!(field(&head, "proxy-authenticate"), Some("Basic"));
    for gone in ["X-Mine", "Keep-Alive", "4711"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert_eq!(field(&head, "synod-revision"), Some("1"));
    assert_eq!(field(&head, "via"), Some("1.1 synod"));
    let (head, _) = Harness::to(&[backend.address]).get("/");
    assert_eq!(
        field(&head, "synod-revision"),
        Some("4711"),
        "the listener does not say it, so the backend may"
    );
}

#[test]
fn an_answer_without_a_date_gets_one_and_no_other_gets_a_second() {
    for given in ["", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{given}Content-Length: 2\r\n\r\nok");
        let backend = Scripted::always(&answer);
        let harness = Harness::new(options(), &web(&[backend.address], json!({})));
        let (head, _) = harness.get("/");
        let head = head.to_lowercase();
        assert_eq!(head.matches("\r\ndate: ").count(), 1, "{head}");
        assert_eq!(head.contains("1994"), !given.is_empty(), "{head}");
    }
}

#[test]
fn each_request_leaves_a_line_in_the_access_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let backend = Scripted::named("hello");
    let mut logging = trusting_loopback();
    let destination = crate::telemetry::access_log::Destination::File(path.clone());
    let metrics = crate::telemetry::metrics::MetricsRegistry::new(1);
    logging.access_log = Some(
        crate::telemetry::access_log::AccessLog::open(
            &destination,
            Format::Json,
            metrics.listener().clone(),
        )
        .unwrap(),
    );
    let harness = Harness::new(logging, &web(&[backend.address], json!({})));
    harness.once("GET /a?b HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7, 203.0.113.9\r\nX-Request-Id: i\r\n\r\n");
    harness.once("GET / HTTP/2.0\r\n\r\n");
    harness.drain();
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = json!({"client": "203.0.113.9", "method": "GET", "host": "x", "target": "/a?b", "protocol": "HTTP/1.1",
        "status": 200, "request_id": "i", "route": "all", "pool": "web", "backend": "b1", "tries": 1, "sent": 5,
        "received": 0, "revision": 1, "reason": "complete"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&lines[0][key], value, "{key} in {text}");
    }
    assert!(lines[0]["total_us"].as_u64() >= lines[0]["first_byte_us"].as_u64());
    assert_eq!(
        (&lines[1]["status"], &lines[1]["reason"]),
        (&json!(505), &json!("http_request_error")),
        "{text}"
    );
}

/// The peer, 127.0.0.1, tells of those before it, and so does whoever is trusted of these, and nobody further.
#[test]
fn the_client_is_the_last_one_that_a_trusted_hop_tells_of() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Scripted::named("hello");
    let table = [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        (
            "X-Forwarded-For: 192.0.2.7, 203.0.113.9, 10.0.0.2, 10.0.0.1\r\n",
            "203.0.113.9",
        ),
        (
            "X-Forwarded-For: 192.0.2.7, 203.0.113.9\r\nX-Forwarded-For: 10.0.0.1\r\n",
            "203.0.113.9",
        ),
        (
            "X-Forwarded-For: 192.0.2.7, 10.0.0.3, 203.0.113.9, 10.0.0.1\r\n",
            "203.0.113.9",
        ),
        ("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"),
        (
            "X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.1\r\n",
            "10.0.0.1",
        ),
        (
            "Forwarded: for=192.0.2.7, for=203.0.113.9;proto=https, for=10.0.0.1\r\n",
            "203.0.113.9",
        ),
        (
            "Forwarded: for=192.0.2.7, for=\"[2001:db8::9]:4711\"\r\nForwarded: For=\"10.0.0.1:80\"\r\n",
            "2001:db8::9",
        ),
        ("Forwarded: for=203.0.113.9, for=_hidden\r\n", "127.0.0.1"),
        (
            "Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 203.0.113.9\r\n",
            "203.0.113.9",
        ),
    ];
    for trusted in [true, false] {
        let (mut options, path) = logging_to(&directory);
        if trusted {
            let network = |first: u8| Network {
                address: [first, 0, 0, 0].into(),
                prefix: 8,
            };
            options.listeners[0].trusted = [127, 10].map(network).to_vec();
        }
        let harness = Harness::new(options, &web(&[backend.address], json!({})));
        for (fields, _) in table {
            harness.once(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        }
        harness.drain();
        let logged = lines(&path);
        for ((fields, client), line) in table.iter().zip(&logged) {
            let client = if trusted { client } else { "127.0.0.1" };
            assert_eq!(line["client"], client, "{fields}");
        }
        assert_eq!(logged.len(), table.len());
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_combined_line_has_the_referer_and_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Scripted::named("hello");
    let (options, path) = logging_in(Format::Combined, &directory);
    let harness = Harness::new(options, &web(&[backend.address], json!({})));
    harness.once("GET /a HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\nReferer: https://x/\r\n\r\n");
    harness.drain();
    let line = std::fs::read_to_string(path).unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    let end = "] \"GET /a HTTP/1.1\" 200 5 \"https://x/\" \"curl/8\"\n";
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn what_waits_for_the_log_is_bounded_whatever_a_client_writes() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Scripted::named("hello");
    for format in [Format::Json, Format::Combined] {
        let (options, path) = logging_in(format, &directory);
        let harness = Harness::new(options, &web(&[backend.address], json!({})));
        let long = "\u{e9}".repeat(3_000);
        let target = format!("/{}", "t".repeat(8_000));
        harness.once(&format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: {long}\r\nReferer: {long}\r\nX-Request-Id: {long}\r\n\r\n"
        ));
        harness.drain();
        let text = std::fs::read_to_string(&path).unwrap();
        let line = text.lines().last().unwrap();
        assert!(line.contains(&target), "a target has a bound of its own");
        // In the combined format a byte above ASCII is written as four.
        assert!(line.len() < 8_192 + 2 * 1_024 * 4 + 512, "{}", line.len());
    }
}

#[test]
fn what_traces_a_request_goes_on_as_it_came() {
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=1,b=2\r\nbaggage: c=3\r\n";
    let head = forwarded(options(), trace);
    assert!(head.contains(trace), "{head}");
}
