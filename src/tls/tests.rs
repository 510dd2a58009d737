use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, ServerConnection};

use super::testing::{Authority, Issued};
use super::*;

fn options(certificates: Vec<CertificateFiles>) -> ServerOptions {
    ServerOptions {
        certificates,
        min_version: MinVersion::default(),
        clients: ClientCertificates::None,
        alpn: vec![b"http/1.1".to_vec()],
    }
}

struct Met {
    certificate: CertificateDer<'static>,
    version: ProtocolVersion,
    kind: HandshakeKind,
}

/// One handshake over loopback, and a byte from the server: a client that is refused hears it then.
fn meet(tls: &ServerTls, client: &Arc<ClientConfig>, name: &str) -> std::io::Result<Met> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = tls.config();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept()?;
        let mut session = ServerConnection::new(config).map_err(std::io::Error::other)?;
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(b"x")?;
        let _ = stream.read(&mut [0]);
        std::io::Result::Ok(())
    });
    let mut socket = TcpStream::connect(address)?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(client.clone(), name).map_err(std::io::Error::other)?;
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    let read = stream.read_exact(&mut [0]);
    session.send_close_notify();
    let _ = session.complete_io(&mut socket);
    drop(socket);
    let served = server.join().unwrap();
    read?;
    served?;
    Ok(Met {
        certificate: session.peer_certificates().unwrap()[0].clone().into_owned(),
        version: session.protocol_version().unwrap(),
        kind: session.handshake_kind().unwrap(),
    })
}

fn served(ca: &Authority, names: &[&[&str]]) -> (tempfile::TempDir, Vec<Issued>, ServerOptions) {
    let directory = tempfile::tempdir().unwrap();
    let issued: Vec<Issued> = names.iter().map(|names| ca.issue(names)).collect();
    let files = issued
        .iter()
        .enumerate()
        .map(|(i, issued)| issued.write(directory.path(), &i.to_string()))
        .collect();
    (directory, issued, options(files))
}

#[test]
fn the_name_asked_for_chooses_exact_then_wildcard_then_the_first() {
    let ca = Authority::new("ca");
    let (_directory, issued, options) = served(
        &ca,
        &[
            &["first.example"],
            &["*.shop.example"],
            &["pay.shop.example"],
        ],
    );
    let tls = ServerTls::load(options).unwrap();
    let client = Arc::new(ca.client());
    for (name, expected) in [
        ("first.example", 0),
        ("www.shop.example", 1),
        ("pay.shop.example", 2),
        ("PAY.shop.example", 2),
    ] {
        let met = meet(&tls, &client, name).unwrap();
        assert_eq!(met.certificate, issued[expected].der, "{name}");
    }
    // The first one is served, and the client does not take it for these.
    for name in ["other.example", "a.b.shop.example", "shop.example"] {
        assert!(meet(&tls, &client, name).is_err(), "{name}");
    }
}

#[test]
fn a_change_is_taken_up_and_one_that_is_no_good_is_refused() {
    let ca = Authority::new("ca");
    let (directory, issued, options) = served(&ca, &[&["a"]]);
    let tls = ServerTls::load(options).unwrap();
    let client = Arc::new(ca.client());
    assert!(!tls.reload().unwrap(), "nothing has changed");
    let next = ca.issue(&["a"]);
    std::fs::write(directory.path().join("0.pem"), &next.pem).unwrap();
    let fault = tls.reload().unwrap_err();
    assert!(matches!(fault.problem, Problem::OtherKey), "{fault:?}");
    assert_eq!(
        meet(&tls, &client, "a").unwrap().certificate,
        issued[0].der,
        "the old stays"
    );
    std::fs::write(directory.path().join("0.key"), &next.key).unwrap();
    assert!(tls.reload().unwrap());
    // A new client: the old one would take up its session again.
    let client = Arc::new(ca.client());
    assert_eq!(meet(&tls, &client, "a").unwrap().certificate, next.der);
    std::fs::remove_file(directory.path().join("0.key")).unwrap();
    let fault = tls.reload().unwrap_err();
    assert!(matches!(fault.problem, Problem::Unreadable(_)), "{fault:?}");
}

#[test]
fn sessions_are_taken_up_again_also_behind_a_reload() {
    let ca = Authority::new("ca");
    for min in [MinVersion::Tls12, MinVersion::Tls13] {
        let (directory, _, mut options) = served(&ca, &[&["a"]]);
        options.min_version = min;
        let tls = ServerTls::load(options).unwrap();
        let client = Arc::new(ca.client());
        assert_eq!(meet(&tls, &client, "a").unwrap().kind, HandshakeKind::Full);
        let next = ca.issue(&["a"]);
        next.write(directory.path(), "0");
        assert!(tls.reload().unwrap());
        assert_eq!(
            meet(&tls, &client, "a").unwrap().kind,
            HandshakeKind::Resumed
        );
    }
}

#[test]
fn versions_below_the_least_are_refused() {
    let ca = Authority::new("ca");
    let old = |ca: &Authority| {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(ca.roots())
            .with_no_client_auth()
    };
    for (min, old_version) in [
        (MinVersion::Tls12, Some(ProtocolVersion::TLSv1_2)),
        (MinVersion::Tls13, None),
    ] {
        let (_directory, _, mut options) = served(&ca, &[&["a"]]);
        options.min_version = min;
        let tls = ServerTls::load(options).unwrap();
        let met = meet(&tls, &Arc::new(old(&ca)), "a").ok();
        assert_eq!(met.map(|met| met.version), old_version);
        let met = meet(&tls, &Arc::new(ca.client()), "a").unwrap();
        assert_eq!(met.version, ProtocolVersion::TLSv1_3);
    }
}

#[test]
fn clients_show_certificates_of_the_named_authority() {
    let (ca, clients, strangers) = (
        Authority::new("ca"),
        Authority::new("clients"),
        Authority::new("strangers"),
    );
    let (directory, _, mut options) = served(&ca, &[&["a"]]);
    let file = directory.path().join("clients.pem");
    std::fs::write(&file, &clients.pem).unwrap();
    let none = ca.client();
    let known = ca.client_with(&clients.issue(&["known"]));
    let unknown = ca.client_with(&strangers.issue(&["unknown"]));
    let ended = ca.client_with(&clients.issue_until(&["ended"], 2020));
    for (demanded, expected) in [
        (
            ClientCertificates::Required(file.clone()),
            [false, true, false, false],
        ),
        (
            ClientCertificates::Optional(file),
            [true, true, false, false],
        ),
    ] {
        options.clients = demanded.clone();
        let tls = ServerTls::load(options.clone()).unwrap();
        let met = [&none, &known, &unknown, &ended]
            .map(|client| meet(&tls, &Arc::new(client.clone()), "a").is_ok());
        assert_eq!(met, expected, "{demanded:?}");
    }
}

#[test]
fn key_material_that_is_no_good_is_told_with_its_file() {
    let ca = Authority::new("ca");
    let (directory, _, options) = served(&ca, &[&["a"], &["b"]]);
    let good = &options.certificates[0];
    let other = &options.certificates[1];
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let empty = file("empty", "");
    let broken = file(
        "broken",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    for (cert, key, at, expected) in [
        (&good.cert, &other.key, &other.key, "not the key"),
        (&empty, &good.key, &empty, "no certificate"),
        (&good.cert, &empty, &empty, "no private key"),
        (&broken, &good.key, &broken, "not valid X.509"),
        (&good.key, &good.key, &good.key, "no certificate"),
    ] {
        let files = CertificateFiles {
            cert: cert.clone(),
            key: key.clone(),
        };
        let fault = ServerTls::load(super::tests::options(vec![files])).unwrap_err();
        let problem = fault.problem.to_string();
        assert_eq!(&fault.path, at, "{problem}");
        assert!(problem.contains(expected), "{problem}");
    }
}
