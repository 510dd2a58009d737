//! TLS between the nodes of a cluster: both ends show a certificate of the cluster's own authority.
//!
//! Which names a certificate bears is told to the caller, who knows what the other end calls itself. It is always TLS
//! 1.3, and no session is taken up again: connections last, and a changed authority counts from the next one on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::certificate::{dns_names_of, not_after};
use super::hot::{Hot, Reloads};
use super::material::{self, Fault, Problem};
use super::verify::{Expected, Names};
use super::{MinVersion, provider};

/// PEM files of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerOptions {
    /// The authority that issues the certificates of all nodes, and nobody else's.
    pub ca: PathBuf,
    /// The chain, this node's own certificate first: its name is among the DNS names.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What one node shows to others and expects of them.
#[derive(Debug)]
pub struct PeerTls {
    options: PeerOptions,
    node: String,
    current: ArcSwap<Current>,
    reloads: Reloads,
    /// What was read last, whether or not it was good.
    read: Mutex<Contents>,
}

#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    end: Option<i64>,
}

#[derive(Debug, PartialEq, Eq)]
struct Contents {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// The names in the certificate that the other end has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched(Vec<String>);

impl Vouched {
    fn by(shown: Option<&[CertificateDer<'_>]>) -> Self {
        Self(dns_names_of(shown))
    }

    /// Whether the certificate is that of the node `name`.
    ///
    /// # Errors
    /// Whose it is instead.
    pub fn is(&self, name: &str) -> Result<(), String> {
        if self.0.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        let names = match &self.0[..] {
            [] => "nobody".to_owned(),
            names => format!("`{}`", names.join("`, `")),
        };
        Err(format!("its certificate is for {names}, not for `{name}`"))
    }
}

impl PeerTls {
    /// Reads the files of the node `node`.
    ///
    /// # Errors
    /// When one of them cannot be used, or the certificate is another node's.
    pub fn load(options: PeerOptions, node: &str) -> Result<Arc<Self>, Fault> {
        let read = options.read()?;
        let current = options.current(&read, node)?;
        Ok(Arc::new(Self {
            options,
            node: node.to_owned(),
            current: ArcSwap::from_pointee(current),
            reloads: Reloads::default(),
            read: Mutex::new(read),
        }))
    }

    /// Shakes hands with a node that has called.
    ///
    /// # Errors
    /// Those of the socket; those of TLS hold a [`rustls::Error`].
    pub async fn accept(&self, socket: TcpStream) -> io::Result<(TlsStream<TcpStream>, Vouched)> {
        let config = self.current.load().server.clone();
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let vouched = Vouched::by(stream.get_ref().1.peer_certificates());
        Ok((stream.into(), vouched))
    }

    /// Shakes hands with a node that was called.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn connect(&self, socket: TcpStream) -> io::Result<(TlsStream<TcpStream>, Vouched)> {
        let config = self.current.load().client.clone();
        // No name is asked for: a follower may know but an address, and the names are judged by what is said then.
        let name = ServerName::IpAddress(socket.peer_addr()?.ip().into());
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        let vouched = Vouched::by(stream.get_ref().1.peer_certificates());
        Ok((stream.into(), vouched))
    }
}

impl Hot for PeerTls {
    fn reload(&self) -> Result<bool, Fault> {
        let read = self.options.read()?;
        let mut before = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read == *before {
            return Ok(false);
        }
        // Told once: the next look compares with this one.
        *before = read;
        let current = self.options.current(&before, &self.node)?;
        self.current.store(Arc::new(current));
        Ok(true)
    }

    fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    fn ends(&self) -> Vec<(String, i64)> {
        let end = self.current.load().end;
        let path = self.options.cert.display().to_string();
        end.map(|end| (path, end)).into_iter().collect()
    }
}

impl PeerOptions {
    fn read(&self) -> Result<Contents, Fault> {
        Ok(Contents {
            ca: material::read(&self.ca)?,
            cert: material::read(&self.cert)?,
            key: material::read(&self.key)?,
        })
    }

    fn current(&self, read: &Contents, node: &str) -> Result<Current, Fault> {
        let of_ca = |problem: Problem| problem.of(&self.ca);
        let roots = Arc::new(material::authorities(&read.ca).map_err(of_ca)?);
        let own = material::identity((&self.cert, &read.cert), (&self.key, &read.key))?;
        Vouched::by(Some(&own.cert))
            .is(node)
            .map_err(|why| Problem::OtherNode(why).of(&self.cert))?;
        let end = own.cert.first().and_then(not_after);
        let own = Arc::new(SingleCertAndKey::from(own));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
            .build()
            .map_err(|error| of_ca(Problem::BadAuthority(error)))?;
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |error| Problem::Unusable(error).of(&path)
        };
        let versions = MinVersion::Tls13.supported();
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(unusable(&self.cert))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(own.clone());
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let expected = Expected::new(roots, Names::ToldLater);
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(unusable(&self.cert))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(expected))
            .with_client_cert_resolver(own);
        client.resumption = Resumption::disabled();
        Ok(Current {
            server: Arc::new(server),
            client: Arc::new(client),
            end,
        })
    }
}
