//! What backends are told of the certificate that a client showed (RFC 9440).

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::harness::*;
use super::tls::{Encrypted, Site};
use crate::config::Network;
use crate::tls::testing::{Authority, Issued};

/// A client's own claims, of which none may come through.
const CLAIMS: &str = "Client-Cert: :AAAA:\r\nclient-cert-chain: :BBBB:\r\nClient_Cert: :CCCC:\r\n";

/// A listener that asks for certificates and tells them, a certificate, and what the backend is told.
struct Shown {
    site: Site,
    own: Issued,
    proxy: Harness,
    heads: Receiver<String>,
    _backend: Scripted,
}

impl Shown {
    fn new(trusted: &[&str], told: bool) -> Self {
        let clients = Authority::new("clients");
        let own = clients.issue(&["ann.example"]);
        let (backend, heads) = recording();
        let site = Site::new(Some(&clients));
        let mut options = site.options();
        let listener = &mut options.listeners[0];
        listener.client_cert_header = told;
        listener.trusted = trusted
            .iter()
            .map(|it| it.parse::<Network>().unwrap())
            .collect();
        Self {
            proxy: Harness::new(options, &web(&[backend.address], json!({}))),
            site,
            own,
            heads,
            _backend: backend,
        }
    }

    /// What the field says of it.
    fn field(&self) -> String {
        format!(":{}:", STANDARD.encode(&self.own.der))
    }
}

/// The values of all fields that are read as one of the two.
fn told(head: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let alike = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    lines
        .filter(|(name, _)| alike(name).starts_with("client-cert"))
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[test]
fn a_backend_is_told_what_the_client_showed_and_not_what_it_claims() {
    let shown = Shown::new(&[], true);
    let config = Arc::new(shown.site.ca.client_with(&shown.own));
    // The second one resumes the session of the first.
    for _ in 0..2 {
        let mut client = Encrypted::connect(&shown.proxy, config.clone()).unwrap();
        for claims in ["", CLAIMS] {
            client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{claims}\r\n"));
            assert_eq!(status(&client.response().0), 200);
            assert_eq!(told(&heard(&shown.heads)), [shown.field()]);
        }
    }
}

#[test]
fn requests_of_http2_are_told_alike() {
    let shown = Shown::new(&[], true);
    let mut config = shown.site.ca.client_with(&shown.own);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("shop.example").unwrap();
    shown.proxy.runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(shown.proxy.address()).await;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, socket.unwrap()).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            let request =
                http::Request::get("https://shop.example/").header("client-cert", ":AAAA:");
            let (answer, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
            assert_eq!(told(&heard(&shown.heads)), [shown.field()]);
        }
    });
}

#[test]
fn a_trusted_proxy_in_front_tells_of_its_clients_and_is_not_told_for_one() {
    let shown = Shown::new(&["127.0.0.0/8"], true);
    let config = Arc::new(shown.site.ca.client_with(&shown.own));
    let mut client = Encrypted::connect(&shown.proxy, config).unwrap();
    for (claims, expected) in [(CLAIMS, &[":AAAA:", ":BBBB:"][..]), ("", &[])] {
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{claims}\r\n"));
        client.response();
        assert_eq!(told(&heard(&shown.heads)), expected);
    }
}

#[test]
fn a_claim_of_who_is_not_trusted_is_dropped_where_nothing_is_told() {
    let shown = Shown::new(&[], false);
    let config = Arc::new(shown.site.ca.client_with(&shown.own));
    let mut client = Encrypted::connect(&shown.proxy, config).unwrap();
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{CLAIMS}\r\n"));
    client.response();
    assert_eq!(told(&heard(&shown.heads)), [""; 0]);
    let (backend, heads) = recording();
    let plain = Harness::to(&[backend.address]);
    plain.once(&format!("GET / HTTP/1.1\r\nHost: x\r\n{CLAIMS}\r\n"));
    assert_eq!(told(&heard(&heads)), [""; 0]);
}

#[test]
fn a_service_that_is_asked_about_requests_is_told_too() {
    let shown = Shown::new(&[], true);
    let (service, questions) = recording();
    let mut config = web(&[service.address], json!({}));
    config["routes"][0]["forward_auth"] = json!({"pool": "web"});
    shown.proxy.publish(&config);
    let own = Arc::new(shown.site.ca.client_with(&shown.own));
    let mut client = Encrypted::connect(&shown.proxy, own).unwrap();
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{CLAIMS}\r\n"));
    assert_eq!(status(&client.response().0), 200);
    // The question, then the request itself.
    for _ in 0..2 {
        assert_eq!(told(&heard(&questions)), [shown.field()]);
    }
}
