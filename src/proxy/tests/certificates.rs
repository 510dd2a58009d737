//! What a listener of TLS shows to whom: the certificate of the name asked for, and no version that is too low.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};

use super::harness::*;
use super::tls::{Encrypted, Site};
use crate::tls::MinVersion;

const NAMES: [&str; 3] = ["shop.example", "b.example", "*.c.example"];

#[test]
fn each_name_is_answered_with_its_own_certificate_and_all_others_with_the_first() {
    let backend = Scripted::named("hello");
    let site = Site::of(&NAMES, MinVersion::default(), None);
    let proxy = site.proxy(&backend);
    let connect = |name: &str| Encrypted::behind(b"", &proxy, Arc::new(site.ca.client()), name);
    for name in ["shop.example", "b.example", "B.Example", "x.c.example"] {
        let mut client = connect(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(client.get().1, b"hello");
    }
    // One below too many, a stranger, and one that asks for no name.
    for name in ["x.y.c.example", "d.example", "127.0.0.1"] {
        let refused = connect(name).err().expect(name).to_string();
        assert!(refused.contains("shop.example"), "{name}: {refused}");
    }
}

#[test]
fn a_version_that_is_too_low_is_refused_by_an_alert() {
    let backend = Scripted::named("hello");
    for (least, spoken, served) in [
        (MinVersion::Tls13, &TLS13, true),
        (MinVersion::Tls13, &TLS12, false),
        (MinVersion::Tls12, &TLS13, true),
        (MinVersion::Tls12, &TLS12, true),
    ] {
        let site = Site::of(&NAMES, least, None);
        let proxy = site.proxy(&backend);
        let client = Encrypted::connect(&proxy, Arc::new(site.ca.client_of(spoken)));
        match client {
            Ok(mut client) => {
                assert!(served, "{least:?} {spoken:?}");
                assert_eq!(client.get().1, b"hello");
            }
            Err(error) => {
                assert!(!served, "{least:?} {spoken:?} {error}");
                assert!(error.to_string().contains("ProtocolVersion"), "{error}");
            }
        }
        assert_eq!(hello_of_tls_1_1(&proxy), ALERT, "{least:?}");
    }
}

/// The type of a record that holds an alert, and its level: fatal.
const ALERT: [u8; 2] = [21, 2];

/// The type of the first record that comes back, and the first byte in it.
fn hello_of_tls_1_1(proxy: &Harness) -> [u8; 2] {
    let suites = [0, 2, 0, 0x2F];
    let hello = [&[3, 2][..], &[7; 32], &[0], &suites, &[1, 0]].concat();
    let message = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
    let record = [&[22, 3, 1, 0, message.len() as u8][..], &message].concat();
    let mut client = proxy.client();
    client.stream.write_all(&record).unwrap();
    let mut alert = [0; 7];
    client.stream.read_exact(&mut alert).unwrap();
    assert!(client.is_closed());
    [alert[0], alert[5]]
}
