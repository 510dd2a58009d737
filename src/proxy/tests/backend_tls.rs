//! TLS to backends: who is trusted, what is asked and shown, and what becomes of a handshake that fails.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::harness::*;
use crate::telemetry::metrics::BackendError;
use crate::tls::testing::Authority;
use crate::tls::{
    ClientCertificates, Hot as _, Keyring, KeyringOptions, MinVersion, ServerOptions, ServerTls,
};

/// A backend that speaks TLS as `api.internal`, and tells in each answer's body what it saw.
struct Secure {
    address: SocketAddr,
    ca: Authority,
}

impl Secure {
    fn new() -> Self {
        Self::asking(None)
    }

    /// Asks for certificates of `clients`.
    fn asking(clients: Option<&Authority>) -> Self {
        let ca = Authority::new("backends");
        let config = server(&ca, clients);
        Self {
            address: serve(config),
            ca,
        }
    }

    /// The pool's `tls` that fits it, with `more`.
    fn tls(&self, more: Value) -> Value {
        let mut tls = json!({"ca": self.ca.pem, "server_name": "api.internal"});
        for (key, value) in more.as_object().into_iter().flatten() {
            tls[key] = value.clone();
        }
        json!({ "tls": tls })
    }
}

pub(super) fn server(ca: &Authority, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let directory = tempfile::tempdir().unwrap();
    let authorities = directory.path().join("clients.pem");
    let clients = clients.map_or(ClientCertificates::None, |clients| {
        std::fs::write(&authorities, &clients.pem).unwrap();
        ClientCertificates::Required(authorities)
    });
    let tls = ServerTls::load(ServerOptions {
        certificates: vec![ca.issue(&["api.internal"]).write(directory.path(), "api")],
        min_version: MinVersion::default(),
        clients,
        alpn: vec![b"http/1.1".to_vec()],
    });
    tls.unwrap().config()
}

fn serve(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(session, socket.unwrap());
            std::thread::spawn(move || while answer(&mut stream) {});
        }
    });
    address
}

/// As [`serve`], by HTTP/2.
fn serve_http2(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            while let Ok((socket, _)) = listener.accept().await {
                // A client that does not agree is gone.
                let Ok(stream) = acceptor.accept(socket).await else {
                    continue;
                };
                let mut connection = h2::server::handshake(stream).await.unwrap();
                tokio::spawn(async move {
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let seen = request.uri().to_string();
                        let answer = http::Response::builder().header("content-length", seen.len());
                        let answer = answer.body(()).unwrap();
                        let mut body = respond.send_response(answer, false).unwrap();
                        body.send_data(seen.into(), true).unwrap();
                    }
                });
            }
        });
    });
    address
}

/// Answers one request; false when the connection has ended.
fn answer(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    let session = &stream.conn;
    let body = json!({
        "asked": session.server_name(),
        "resumed": session.handshake_kind() == Some(HandshakeKind::Resumed),
        "alpn": session.alpn_protocol().map(String::from_utf8_lossy),
        "shown": session.peer_certificates().is_some(),
    });
    stream.write_all(ok(&body.to_string()).as_bytes()).is_ok()
}

fn saw(proxy: &Harness) -> Value {
    let (head, body) = proxy.get("/");
    assert_eq!(status(&head), 200, "{head}");
    serde_json::from_str(&body).unwrap()
}

/// A keyring with `authority` as `internal`, and a certificate of `clients` as `mesh`.
fn keyring(directory: &Path, authority: &Authority, clients: &Authority) -> Arc<Keyring> {
    let ca = directory.join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let own = clients.issue(&["proxy.internal"]).write(directory, "mesh");
    let keyring = Keyring::load(KeyringOptions {
        authorities: BTreeMap::from([("internal".into(), ca)]),
        certificates: BTreeMap::from([("mesh".into(), own)]),
    });
    Arc::new(keyring.unwrap())
}

#[test]
fn a_backend_is_served_from_only_if_it_is_who_it_should_be() {
    let backend = Secure::new();
    let stranger = Authority::new("stranger").pem;
    let refused = "tls_certificate_error";
    for (tls, expected) in [
        (json!({}), ""),
        (json!({"ca": format!("{stranger}{}", backend.ca.pem)}), ""),
        (json!({"min_version": "1.3"}), ""),
        (json!({"server_name": "API.internal."}), ""),
        (
            json!({"server_name": "shop.internal", "names": ["x.internal", "api.internal"]}),
            "",
        ),
        (json!({"ca": stranger}), refused),
        (json!({"server_name": "shop.internal"}), refused),
        (json!({"names": ["x.internal", "10.0.0.1"]}), refused),
        // Its address then, for which the certificate is not.
        (json!({"server_name": null}), refused),
    ] {
        let mut pool = backend.tls(tls.clone());
        let fields = pool["tls"].as_object_mut().unwrap();
        fields.retain(|_, value| !value.is_null());
        let proxy = Harness::with_pool(&[backend.address], pool);
        let (head, _) = proxy.get("/");
        if expected.is_empty() {
            assert_eq!(status(&head), 200, "{tls} {head}");
        } else {
            let why = field(&head, "proxy-status").unwrap();
            assert!(
                status(&head) == 502 && why.contains(expected),
                "{tls} {head}"
            );
            let metrics = proxy.metrics.backend("web", "b1");
            assert_eq!(metrics.errors(BackendError::Tls), 1);
        }
    }
}

#[test]
fn http2_is_spoken_to_backends_that_agree_on_it_and_to_no_others() {
    let ca = Authority::new("backends");
    for (alpn, expected) in [("h2", 200), ("http/1.1", 502)] {
        let mut config = (*server(&ca, None)).clone();
        config.alpn_protocols = vec![alpn.into()];
        let address = serve_http2(Arc::new(config));
        let tls = json!({"ca": ca.pem, "server_name": "api.internal"});
        let proxy = Harness::with_pool(&[address], json!({"protocol": "http2", "tls": tls}));
        for _ in 0..3 {
            let (head, body) = proxy.get("/a?b");
            assert_eq!(status(&head), expected, "{alpn}: {head}");
            assert_eq!(body == "https://x/a?b", expected == 200, "{alpn}: {body}");
        }
        let metrics = proxy.metrics.backend("web", "b1");
        assert_eq!(metrics.errors(BackendError::Tls) > 0, expected == 502);
    }
}

#[test]
fn the_word_against_verification_takes_any_certificate() {
    let backend = Secure::new();
    let insecure = json!({"tls": {"insecure": true}});
    let proxy = Harness::with_pool(&[backend.address], insecure);
    saw(&proxy);
}

#[test]
fn a_backend_is_asked_by_name_and_for_http1() {
    let backend = Secure::new();
    let proxy = Harness::with_pool(&[backend.address], backend.tls(json!({})));
    let seen = saw(&proxy);
    assert_eq!(seen["asked"], "api.internal");
    assert_eq!(seen["alpn"], "http/1.1");
    assert_eq!(seen["shown"], false);
}

#[test]
fn a_handshake_says_why_it_failed() {
    // Speaks no TLS; speaks it and refuses; takes the connection and ends it.
    let plain = Scripted::new(|peer, _| {
        peer.try_send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        peer.rest();
    });
    let clients = Authority::new("clients");
    let demanding = Secure::asking(Some(&clients));
    let closing = Scripted::new(|_, _| {});
    let trusted = demanding.tls(json!({}));
    let any = json!({"tls": {"insecure": true}});
    for (address, pool, expected) in [
        (demanding.address, trusted, "tls_alert_received"),
        (plain.address, any.clone(), "tls_protocol_error"),
        (closing.address, any, "tls_protocol_error"),
    ] {
        let proxy = Harness::with_pool(&[address], pool);
        let (head, _) = proxy.get("/");
        let why = field(&head, "proxy-status").unwrap();
        assert!(
            status(&head) == 502 && why.contains(expected),
            "{expected} {head}"
        );
    }
}

#[test]
fn what_was_not_sent_for_want_of_tls_is_given_to_another_whatever_its_method() {
    let plain = Scripted::new(|_, _| {});
    let good = Secure::new();
    let proxy = Harness::with_pool(&[plain.address, good.address], good.tls(json!({})));
    for _ in 0..2 {
        let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(status(&proxy.once(post).0), 200);
    }
    assert!(plain.connections() > 0);
}

#[test]
fn a_certificate_is_shown_where_the_pool_names_one() {
    let clients = Authority::new("clients");
    let backend = Secure::asking(Some(&clients));
    let directory = tempfile::tempdir().unwrap();
    let keyring = keyring(directory.path(), &backend.ca, &clients);
    let pool =
        json!({"tls": {"ca": "internal", "server_name": "api.internal", "certificate": "mesh"}});
    let proxy = Harness::with_keyring(options(), &web(&[backend.address], pool), keyring);
    assert_eq!(saw(&proxy)["shown"], true);
}

#[test]
fn a_second_connection_takes_up_the_session_of_the_first() {
    let backend = Secure::new();
    let pool = |more: Value| {
        let mut pool = backend.tls(more);
        pool["timeouts"] = json!({"idle": "1ms"});
        web(&[backend.address], pool)
    };
    let proxy = Harness::new(options(), &pool(json!({})));
    let resumed = || {
        std::thread::sleep(std::time::Duration::from_millis(5));
        saw(&proxy)["resumed"] == true
    };
    assert!(!resumed());
    assert!(resumed() && resumed());
    // Other names are another trust, under which nothing was verified yet.
    proxy.publish(&pool(json!({"names": ["api.internal"]})));
    let resumed = || {
        std::thread::sleep(std::time::Duration::from_millis(5));
        saw(&proxy)["resumed"] == true
    };
    assert!(!resumed());
    assert!(resumed());
}

#[test]
fn an_idle_connection_serves_no_pool_that_asks_for_more() {
    let backend = Secure::new();
    let insecure = json!({"tls": {"insecure": true}});
    let proxy = Harness::with_pool(&[backend.address], insecure);
    saw(&proxy);
    let verified = backend.tls(json!({"ca": Authority::new("stranger").pem}));
    proxy.publish(&web(&[backend.address], verified));
    assert_eq!(status(&proxy.get("/").0), 502);
    let good = backend.tls(json!({}));
    proxy.publish(&web(&[backend.address], good.clone()));
    saw(&proxy);
    let opened = proxy.metrics.backend("web", "b1").connections();
    // What else changes is no reason to connect again.
    let mut weighted = web(&[backend.address], good);
    weighted["pools"][0]["backends"][0]["weight"] = json!(7);
    proxy.publish(&weighted);
    saw(&proxy);
    assert_eq!(proxy.metrics.backend("web", "b1").connections(), opened);
}

#[test]
fn changed_files_are_in_force_at_the_next_handshake() {
    let (backend, other) = (Secure::new(), Authority::new("other"));
    let directory = tempfile::tempdir().unwrap();
    let keyring = keyring(directory.path(), &other, &other);
    let pool = json!({
        "tls": {"ca": "internal", "server_name": "api.internal", "certificate": "mesh"},
        "timeouts": {"idle": "1ms"},
    });
    let config = web(&[backend.address], pool);
    let proxy = Harness::with_keyring(options(), &config, keyring.clone());
    let served = || {
        std::thread::sleep(std::time::Duration::from_millis(5));
        status(&proxy.get("/").0)
    };
    assert_eq!(served(), 502);
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &backend.ca.pem).unwrap();
    assert!(keyring.reload().unwrap());
    assert!(!keyring.reload().unwrap());
    assert_eq!(served(), 200);
    std::fs::write(&ca, "no PEM").unwrap();
    keyring.reload().unwrap_err();
    assert_eq!(served(), 200);
    // A session made under the old authorities is not taken up under the new.
    std::fs::write(&ca, &other.pem).unwrap();
    assert!(keyring.reload().unwrap());
    assert_eq!(served(), 502);
}

#[test]
fn what_this_node_lacks_is_told_when_the_config_is_compiled() {
    use crate::backend::Registry;
    use crate::config::spec::parse_config;
    use crate::routing::check;
    let address: SocketAddr = "10.0.0.7:443".parse().unwrap();
    let told = |tls: Value| {
        let config = parse_config(&web(&[address], json!({ "tls": tls }))).unwrap();
        check(&config, &Arc::new(Registry::scratch()), None)
            .unwrap_err()
            .to_string()
    };
    assert!(told(json!({"ca": "internal"})).contains("needs the authorities `internal`"));
    let mesh = json!({"insecure": true, "certificate": "mesh"});
    assert!(told(mesh).contains("needs the certificate `mesh`"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(told(json!({ "ca": broken })).starts_with("pool web `ca` holds a certificate"));
    let unix = json!({"name": "web", "tls": {"insecure": true},
        "backends": [{"id": "b1", "address": "unix:/run/app.sock"}]});
    let config = parse_config(&json!({"pools": [unix], "routes": []})).unwrap();
    let told = check(&config, &Arc::new(Registry::scratch()), None).unwrap_err();
    assert!(told.to_string().contains("Unix socket"), "{told}");
}
