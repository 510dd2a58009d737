use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::json;

use super::harness::*;
use crate::proxy::ProxyOptions;
use crate::tls::testing::{Authority, Issued};
use crate::tls::{ClientCertificates, Hot as _, MinVersion, ServerOptions, ServerTls};

/// How clients are asked for certificates of the authorities in a file.
type Asking = fn(PathBuf) -> ClientCertificates;

/// A listener that speaks TLS, as `shop.example` unless said.
pub(super) struct Site {
    pub(super) ca: Authority,
    directory: tempfile::TempDir,
    tls: Arc<ServerTls>,
}

impl Site {
    pub(super) fn new(clients: Option<&Authority>) -> Self {
        Self::of(&["shop.example"], MinVersion::default(), clients)
    }

    /// With a certificate for each of these names; clients must show one of that authority.
    pub(super) fn of(names: &[&str], min_version: MinVersion, clients: Option<&Authority>) -> Self {
        let clients = clients.map(|clients| (clients, ClientCertificates::Required as Asking));
        Self::asking(names, min_version, clients)
    }

    fn asking(
        names: &[&str],
        min_version: MinVersion,
        clients: Option<(&Authority, Asking)>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = Authority::new("ca");
        let issue = |name: &&str| ca.issue(&[name]).write(directory.path(), name);
        let certificates = names.iter().map(issue).collect();
        let authorities = directory.path().join("clients.pem");
        let clients = clients.map_or(ClientCertificates::None, |(clients, asking)| {
            std::fs::write(&authorities, &clients.pem).unwrap();
            asking(authorities)
        });
        let tls = ServerTls::load(ServerOptions {
            certificates,
            min_version,
            clients,
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        });
        Self {
            ca,
            directory,
            tls: tls.unwrap(),
        }
    }

    pub(super) fn options(&self) -> ProxyOptions {
        let mut options = options();
        options.listeners[0].tls = Some(self.tls.clone());
        options
    }

    pub(super) fn proxy(&self, to: &Scripted) -> Harness {
        Harness::new(self.options(), &web(&[to.address], json!({})))
    }

    pub(super) fn client(&self, proxy: &Harness) -> Encrypted {
        Encrypted::connect(proxy, Arc::new(self.ca.client())).unwrap()
    }

    /// A client that has agreed on HTTP/2.
    pub(super) fn http2(&self, proxy: &Harness) -> Encrypted {
        let mut config = self.ca.client();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Encrypted::connect(proxy, Arc::new(config)).unwrap()
    }
}

pub(super) struct Encrypted(pub(super) StreamOwned<ClientConnection, TcpStream>);

impl Encrypted {
    /// Behind the handshake, as far as the client can tell.
    pub(super) fn connect(proxy: &Harness, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        Self::behind(b"", proxy, config, "shop.example")
    }

    /// As [`connect`](Self::connect), to a server of that name; `first` is sent in one write with the first message.
    pub(super) fn behind(
        first: &[u8],
        proxy: &Harness,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let mut socket = TcpStream::connect(proxy.address())?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
        let mut first = first.to_vec();
        session.write_tls(&mut first)?;
        socket.write_all(&first)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(session, socket)))
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
        self.0.flush().unwrap();
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    pub(super) fn response(&mut self) -> (String, Vec<u8>) {
        let head = self.head();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }

    pub(super) fn get(&mut self) -> (String, Vec<u8>) {
        self.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        self.response()
    }
}

#[test]
fn requests_over_tls_are_served_and_told_to_be_https() {
    let (backend, heads) = recording();
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut config = site.ca.client();
    config.alpn_protocols = vec![b"spdy/3".to_vec(), b"http/1.1".to_vec()];
    let mut client = Encrypted::connect(&proxy, Arc::new(config)).unwrap();
    for _ in 0..3 {
        let (head, _) = client.get();
        assert_eq!(status(&head), 200);
        let seen = heads.recv().unwrap();
        assert_eq!(field(&seen, "x-forwarded-proto"), Some("https"), "{seen}");
    }
    assert_eq!(client.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn http2_is_spoken_where_alpn_agreed_on_it() {
    let (backend, heads) = recording();
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut config = site.ca.client();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    proxy.runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(proxy.address()).await;
        let name = ServerName::try_from("shop.example").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, socket.unwrap()).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("https://shop.example/")
            .body(())
            .unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    let seen = heads.recv().unwrap();
    assert_eq!(field(&seen, "x-forwarded-proto"), Some("https"), "{seen}");
    // The preface alone agrees on nothing.
    let mut client = site.client(&proxy);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(status(&client.head()), 505);
}

#[test]
fn a_flood_over_tls_ends_the_connection_and_disturbs_nobody() {
    let backend = Scripted::named("hello");
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut other = site.client(&proxy);
    let mut client = site.http2(&proxy);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
    client.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat());
    client.send(ping.repeat(1_100));
    let goodbye = loop {
        let mut head = [0; 9];
        client.0.read_exact(&mut head).unwrap();
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        client.0.read_exact(&mut payload).unwrap();
        if kind == 7 {
            break payload;
        }
    };
    assert_eq!(goodbye[4..8], [0, 0, 0, 11], "ENHANCE_YOUR_CALM");
    assert_eq!(other.get().1, b"hello");
    let listener = proxy.metrics.listener();
    assert_eq!(listener.refusals("http2_frame_flood"), 1);
}

/// Over TLS a write that is pending is repeated with the same bytes: nothing else may be written in between.
#[test]
fn a_stream_is_reset_behind_what_waits_for_a_client_that_does_not_read() {
    let (stalled, stall) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let patience = Some(Duration::from_millis(300));
        peer.stream.set_write_timeout(patience).unwrap();
        while peer.try_send([0; 64 * 1024]) {}
        stalled.send(()).unwrap();
        peer.is_closed();
    });
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut client = site.http2(&proxy);
    let wide = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7F, 0xFF, 0xFF, 0xFF];
    let wider = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7F, 0xFE, 0, 0];
    let head = [
        &[0, 0, 17, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 12][..],
        b"shop.example",
    ]
    .concat();
    client.send(
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &wide[..],
            &wider,
            &head,
        ]
        .concat(),
    );
    stall.recv().unwrap();
    // DATA behind its END_STREAM.
    client.send([0, 0, 1, 0, 0, 0, 0, 0, 1, b'x']);
    proxy.settle();
    let code = loop {
        let mut head = [0; 9];
        client.0.read_exact(&mut head).expect("a whole frame");
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        client.0.read_exact(&mut payload).expect("a whole frame");
        if kind == 3 {
            break payload;
        }
    };
    assert_eq!(code, [0, 0, 0, 5], "STREAM_CLOSED");
}

#[test]
fn pipelined_requests_in_one_record_are_all_answered() {
    let backend = Scripted::named("a");
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut client = site.client(&proxy);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(40));
    for _ in 0..40 {
        assert_eq!(client.response().1, b"a");
    }
}

#[test]
fn large_bodies_pass_both_ways_over_tls() {
    const SIZE: usize = 20 << 20;
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
            let body = peer.exactly(length);
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ));
            peer.send(body);
        }
    });
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut client = site.client(&proxy);
    let body: Vec<u8> = (0..SIZE).map(|i| (i / 3) as u8).collect();
    for _ in 0..2 {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n"
        ));
        client.send(&body);
        let (head, answer) = client.response();
        assert_eq!(status(&head), 200);
        assert!(answer == body);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn the_end_of_an_answer_without_length_is_announced_and_a_cut_is_not() {
    for (length, whole) in [("", true), ("Content-Length: 9\r\n", false)] {
        let backend = Scripted::new(move |peer, _| {
            peer.head();
            peer.send(format!("HTTP/1.1 200 OK\r\n{length}\r\nhalf"));
        });
        let site = Site::new(None);
        let proxy = site.proxy(&backend);
        let mut client = site.client(&proxy);
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.head();
        let mut body = Vec::new();
        let end = client.0.read_to_end(&mut body);
        // With a length the client sees the cut by itself, so its end may be announced.
        assert_eq!(body, b"half");
        assert!(!whole || end.is_ok(), "{end:?}");
    }
}

#[test]
fn plaintext_where_tls_is_spoken_is_told_so() {
    let backend = Scripted::named("a");
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https"), "{answer}");
    assert_eq!(backend.connections(), 0);
    // What is neither gets an alert and the end.
    let mut client = proxy.client();
    client.send([0; 64]);
    client.rest();
    assert_eq!(site.client(&proxy).get().1, b"a");
}

#[test]
fn a_client_without_the_demanded_certificate_gets_nothing() {
    let backend = Scripted::named("a");
    let clients = Authority::new("clients");
    let site = Site::new(Some(&clients));
    let proxy = site.proxy(&backend);
    let own: Issued = clients.issue(&["someone"]);
    let known = Arc::new(site.ca.client_with(&own));
    let mut client = Encrypted::connect(&proxy, known).unwrap();
    assert_eq!(client.get().1, b"a");
    assert_refused(&proxy, site.ca.client());
    assert_eq!(backend.connections(), 1);
}

fn assert_refused(proxy: &Harness, config: ClientConfig) {
    // In TLS 1.3 a client learns of it behind its own handshake.
    let refused = match Encrypted::connect(proxy, Arc::new(config)) {
        Err(error) => error,
        Ok(mut client) => {
            let _ = client.0.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = client.0.flush();
            client.0.read(&mut [0]).unwrap_err()
        }
    };
    assert!(
        matches!(
            refused.kind(),
            ErrorKind::InvalidData | ErrorKind::ConnectionReset
        ),
        "{refused}"
    );
}

#[test]
fn a_certificate_that_is_asked_for_and_not_demanded_may_be_missing_and_not_be_wrong() {
    let backend = Scripted::named("a");
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let asked = (&clients, ClientCertificates::Optional as Asking);
    let site = Site::asking(&["shop.example"], MinVersion::default(), Some(asked));
    let proxy = site.proxy(&backend);
    let known = site.ca.client_with(&clients.issue(&["someone"]));
    for config in [known, site.ca.client()] {
        let mut client = Encrypted::connect(&proxy, Arc::new(config)).unwrap();
        assert_eq!(client.get().1, b"a");
    }
    assert_refused(&proxy, site.ca.client_with(&others.issue(&["someone"])));
}

#[test]
fn the_cookie_of_a_sticky_pool_is_for_tls_alone() {
    let backend = Scripted::named("a");
    let site = Site::new(None);
    let config = web(&[backend.address], json!({"sticky": {}}));
    let encrypted = Harness::new(site.options(), &config);
    let (head, _) = site.client(&encrypted).get();
    let (plain, _) = Harness::new(options(), &config).get("/");
    let is_secure = |head| {
        let cookie = field(head, "set-cookie").unwrap();
        cookie.split("; ").any(|attribute| attribute == "Secure")
    };
    assert_eq!((is_secure(&head), is_secure(&plain)), (true, false));
}

#[test]
fn a_handshake_that_does_not_come_ends_with_the_time_for_the_head() {
    let backend = Scripted::named("a");
    let site = Site::new(None);
    let mut options = site.options();
    options.timeouts.client_headers = Duration::from_millis(200);
    let proxy = Harness::new(options, &web(&[backend.address], json!({})));
    let mut silent = proxy.client();
    let mut half = proxy.client();
    half.send([0x16, 0x03, 0x01]);
    assert!(silent.is_closed());
    assert!(half.is_closed());
}

#[test]
fn certificates_change_under_load_without_a_failed_request() {
    let backend = Scripted::named("a");
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // One connection that outlives all changes, and new ones all the time.
        let kept = scope.spawn(|| {
            let mut client = site.client(&proxy);
            while !done.load(Ordering::Relaxed) {
                assert_eq!(client.get().1, b"a");
            }
        });
        let fresh = scope.spawn(|| {
            let mut served = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(site.client(&proxy).get().1, b"a");
                served += 1;
            }
            served
        });
        for _ in 0..20 {
            let next = site.ca.issue(&["shop.example"]);
            next.write(site.directory.path(), "shop.example");
            assert!(site.tls.reload().unwrap());
            let seen = site.client(&proxy).0.conn.peer_certificates().unwrap()[0].clone();
            assert_eq!(seen, next.der);
        }
        done.store(true, Ordering::Relaxed);
        kept.join().unwrap();
        assert!(fresh.join().unwrap() > 0);
    });
}

#[test]
fn a_drain_announces_the_end_to_idle_clients() {
    let backend = Scripted::named("a");
    let site = Site::new(None);
    let proxy = site.proxy(&backend);
    let mut client = site.client(&proxy);
    client.get();
    proxy.drain();
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
}
