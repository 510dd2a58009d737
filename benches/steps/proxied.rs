//! A whole small request through the proxy: client, one data-plane thread and backend in this process, over sockets.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::json;
use synod::proxy::{self, Listener, NodeLimits, Proxy, ProxyOptions, Timeouts};
use synod::telemetry::metrics::MetricsRegistry;

use crate::subjects::{REQUEST, RESPONSE, publish};

/// A client whose connection, and that to the backend, are kept.
pub(crate) struct Proxied {
    client: TcpStream,
    /// For as long as it is to run.
    _proxy: Proxy,
}

impl Proxied {
    pub(crate) fn start() -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = backend.local_addr().expect("it is bound");
        std::thread::spawn(move || answer(&backend));
        let publisher = publish(json!({
            "pools": [{"name": "web", "backends": [{"id": "b", "address": address.to_string()}]}],
            "routes": [{"name": "all", "to": [{"pool": "web"}]}],
        }));
        let options = ProxyOptions {
            listeners: vec![Listener::at(([127, 0, 0, 1], 0).into())],
            threads: 1,
            timeouts: Timeouts::default(),
            access_log: None,
            tracer: None,
            limits: NodeLimits::default(),
        };
        let cell = Arc::clone(&publisher.cell);
        let proxy = proxy::start(options, |_| Vec::new(), cell, &MetricsRegistry::new(1))
            .expect("it starts");
        let client = TcpStream::connect(proxy.bound()[0]).expect("it accepts");
        client.set_nodelay(true).expect("a socket");
        Self {
            client,
            _proxy: proxy,
        }
    }

    /// One request and its whole answer.
    pub(crate) fn request(&mut self) {
        self.client.write_all(REQUEST).expect("the proxy reads");
        read_to(&mut self.client, b"Hello, world\n");
    }
}

/// The backend: one connection after the other.
fn answer(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        while read_to(&mut stream, b"\r\n\r\n") {
            stream.write_all(RESPONSE).expect("the proxy reads");
        }
    }
}

/// Reads until what comes ends like that; false if it ends otherwise.
fn read_to(stream: &mut TcpStream, end: &[u8]) -> bool {
    let (mut buffer, mut filled) = ([0; 4 << 10], 0);
    while !buffer[..filled].ends_with(end) {
        match stream.read(&mut buffer[filled..]) {
            Ok(read @ 1..) => filled += read,
            _ => return false,
        }
    }
    true
}
