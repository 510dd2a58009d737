//! A listener that speaks TLS, and a way to it for clients that do not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::harness::{Cluster, synod};

/// What settings say of a listener at `address` that speaks TLS, with a certificate made in `data`.
pub(crate) fn listener(data: &Path, address: SocketAddr) -> String {
    issue(data, "site");
    let file = |file: &str| data.join("site").join(file).display().to_string();
    format!(
        "[[listeners]]\naddress = \"{address}\"\n[listeners.tls]\ncertificates = [{{ cert = {:?}, key = {:?} }}]\n",
        file("site.pem"),
        file("site.key")
    )
}

/// Makes another certificate of the same authority.
pub(crate) fn prepare(data: &Path) {
    issue(data, "next");
}

/// Puts it in the place of the one before.
pub(crate) fn put(data: &Path) {
    let site = data.join("site");
    for end in ["pem", "key"] {
        let next = site.join(format!("next.{end}"));
        std::fs::rename(next, site.join(format!("site.{end}"))).unwrap();
    }
}

fn issue(data: &Path, name: &str) {
    let made = synod()
        .args(["cert", name, "--also=127.0.0.1", "--out"])
        .arg(data.join("site"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// What a client of such a listener goes by.
pub(crate) fn client(data: &Path) -> ClientConfig {
    let ca = CertificateDer::from_pem_file(data.join("site/ca.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// An address at which plaintext is encrypted on its way to a [listener] at `to`, HTTP/2 by its preface. An end comes
/// out as it went in: in order or not.
pub(crate) fn way_to(cluster: &Cluster, to: SocketAddr) -> SocketAddr {
    let plain = client(cluster.data.path());
    let mut http2 = plain.clone();
    http2.alpn_protocols = vec![b"h2".to_vec()];
    let connectors = [plain, http2].map(|config| TlsConnector::from(Arc::new(config)));
    let entrance = cluster.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = entrance.local_addr().unwrap();
    cluster.runtime().spawn(async move {
        while let Ok((mut client, _)) = entrance.accept().await {
            let connectors = connectors.clone();
            tokio::spawn(async move {
                let mut first = [0];
                let _ = client.peek(&mut first).await;
                let connector = &connectors[usize::from(first == *b"P")];
                let socket = TcpStream::connect(to).await?;
                let name = to.ip().into();
                let mut node = connector.connect(name, socket).await?;
                copy_bidirectional(&mut client, &mut node).await
            });
        }
    });
    address
}
