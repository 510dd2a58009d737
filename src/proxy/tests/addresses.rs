//! Backends that are host names or Unix sockets.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use serde_json::{Value, json};

use super::harness::*;

fn pool_at(addresses: &[String], more: Value) -> Value {
    let mut config = web(&[], more);
    let backends = (1..).zip(addresses);
    let backends = backends.map(|(n, at)| json!({"id": format!("b{n}"), "address": at}));
    config["pools"][0]["backends"] = backends.collect();
    config
}

fn addresses(list: &[&str]) -> Arc<[IpAddr]> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_unix_socket_is_a_backend_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (sender, heads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let (mut stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 64 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    sender.send((n, head)).unwrap();
                    stream.write_all(ok("unix").as_bytes()).unwrap();
                }
            });
        }
    });
    let at = format!("unix:{}", path.display());
    let harness = Harness::new(options(), &pool_at(&[at], json!({})));
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(harness.once(request).1, "unix");
    }
    let (one, other) = (heads.recv().unwrap(), heads.recv().unwrap());
    assert_eq!(field(&one.1, "host"), Some("x"));
    assert_eq!(field(&other.1, "host"), Some("localhost"));
    assert_eq!((one.0, other.0), (0, 0), "the connection is kept");
}

#[test]
fn a_unix_socket_where_nobody_listens_is_502() {
    let at = "unix:/nonexistent/app.sock".to_owned();
    let harness = Harness::new(options(), &pool_at(&[at], json!({})));
    assert_eq!(status(&harness.get("/").0), 502);
}

#[test]
fn a_request_waits_for_the_first_answer_of_a_name() {
    let backend = Scripted::named("x");
    let at = format!("app.example:{}", backend.address.port());
    let harness = Harness::new(options(), &pool_at(std::slice::from_ref(&at), json!({})));
    let mut client = harness.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    harness.wait_for_in_flight("b1");
    harness.backend(0).set_addresses(&addresses(&["127.0.0.1"]));
    assert_eq!(client.response().1, "x");
}

#[test]
fn a_name_without_address_is_502_and_another_backend_is_tried() {
    let short = json!({"timeouts": {"connect": "200ms"}});
    let at = "app.example:80".to_owned();
    let harness = Harness::new(
        options(),
        &pool_at(std::slice::from_ref(&at), short.clone()),
    );
    let refused = || {
        let (head, _) = harness.get("/");
        assert_eq!(status(&head), 502);
        assert_eq!(field(&head, "proxy-status"), Some("synod; error=dns_error"));
    };
    // Nobody has told anything until the time to connect is over; a failed lookup is told at once.
    refused();
    harness.backend(0).set_addresses(&addresses(&[]));
    let long = json!({"timeouts": {"connect": "1h"}});
    harness.publish(&pool_at(std::slice::from_ref(&at), long));
    refused();
    let good = Scripted::named("good");
    harness.publish(&pool_at(&[at, good.address.to_string()], short));
    for _ in 0..2 {
        assert_eq!(harness.get("/").1, "good");
    }
}

#[test]
fn the_addresses_of_a_name_take_turns_and_a_dead_one_is_passed_over() {
    let once =
        |name| format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{name}");
    let one = Scripted::always(once("one"));
    let port = one.address.port();
    let _two = Scripted::at(([127, 0, 0, 2], port), once("two"));
    let at = format!("app.example:{port}");
    let harness = Harness::new(options(), &pool_at(&[at], json!({})));
    let backend = harness.backend(0);
    backend.set_addresses(&addresses(&["127.0.0.1", "127.0.0.2"]));
    let mut closing: Vec<String> = (0..4).map(|_| harness.get("/").1).collect();
    closing.sort();
    assert_eq!(closing, ["one", "one", "two", "two"]);
    // Nobody listens at the third.
    backend.set_addresses(&addresses(&["127.0.0.1", "127.0.0.3"]));
    for _ in 0..4 {
        assert_eq!(harness.get("/").1, "one");
    }
}

#[test]
fn a_connection_to_an_address_that_is_gone_is_not_used_again() {
    let one = Scripted::named("one");
    let port = one.address.port();
    let other = Scripted::at(([127, 0, 0, 2], port), ok("other"));
    let at = format!("app.example:{port}");
    let harness = Harness::new(options(), &pool_at(&[at], json!({})));
    let backend = harness.backend(0);
    backend.set_addresses(&addresses(&["127.0.0.1"]));
    for _ in 0..3 {
        assert_eq!(harness.get("/").1, "one");
    }
    assert_eq!(one.connections(), 1);
    backend.set_addresses(&addresses(&["127.0.0.2"]));
    for _ in 0..3 {
        assert_eq!(harness.get("/").1, "other");
    }
    assert_eq!((one.connections(), other.connections()), (1, 1));
}
