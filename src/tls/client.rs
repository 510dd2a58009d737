//! How backends are connected to with TLS: whom to trust, what to ask for, what to show.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::MinVersion;

/// What is asked of a connection. Equal options are one identity: whatever is connected by one serves the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientOptions {
    /// Who may vouch for the certificate shown.
    pub trust: Trust,
    /// What the backend is asked to be, by SNI where it is no IP address; none: the host of its address.
    pub server_name: Option<String>,
    /// What the certificate must be valid for, one of these; empty: for what was asked.
    pub names: Vec<String>,
    /// The certificate to show if asked for one, by its name in the settings.
    pub certificate: Option<String>,
    /// Lower ones are refused.
    pub min_version: MinVersion,
    /// Protocols offered by ALPN, the preferred one first; empty: none.
    pub alpn: Vec<Vec<u8>>,
}

/// Who may vouch for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The authorities that this machine trusts.
    System,
    /// Those of the settings, by their name there.
    Named(String),
    /// Those in this PEM text.
    Pem(String),
    /// Nobody need vouch: any certificate does.
    Anything,
}

/// The host of an address, as TLS sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name.
    Name(&'a str),
}

/// Never used again, so that a connection is known by what made it.
static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1);

/// One way to connect with TLS. Hot: changed files are taken up by the next handshake.
#[derive(Debug)]
pub struct ClientTls {
    identity: u64,
    server_name: Option<ServerName<'static>>,
    current: ArcSwap<ClientConfig>,
}

/// Sessions of one backend to take up again; made when the first handshake wants them.
#[derive(Debug)]
pub struct Sessions(Arc<ClientSessionMemoryCache>);

impl Default for Sessions {
    fn default() -> Self {
        /// Names that one backend is asked to be: its pool's, and the one before a change.
        const NAMES: usize = 2;
        Self(Arc::new(ClientSessionMemoryCache::new(NAMES)))
    }
}

impl ClientTls {
    pub(super) fn new(server_name: Option<ServerName<'static>>, config: ClientConfig) -> Self {
        Self {
            identity: NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed),
            server_name,
            current: ArcSwap::from_pointee(config),
        }
    }

    pub(super) fn store(&self, config: ClientConfig) {
        self.current.store(Arc::new(config));
    }

    /// As it is now, for those who shake hands themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.current.load_full()
    }

    /// Unique in this process, and above 0. A connection made by it serves no request that asks for another.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Shakes hands over `socket` with the backend at `host`. A session out of `sessions` is taken up if it was made
    /// under the same trust and certificate.
    ///
    /// # Errors
    /// Those of the socket; those of TLS hold a [`rustls::Error`].
    pub async fn connect(
        &self,
        socket: TcpStream,
        host: Host<'_>,
        sessions: &Sessions,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match (&self.server_name, host) {
            (Some(name), _) => name.clone(),
            (None, Host::Ip(address)) => ServerName::IpAddress(address.into()),
            (None, Host::Name(name)) => server_name(name).map_err(io::Error::other)?,
        };
        let mut config = ClientConfig::clone(&self.current.load());
        config.resumption = Resumption::store(sessions.0.clone());
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
    }
}

/// A name or an IP address; a dot at the end, which says that a name is whole, is not part of it in TLS.
pub(super) fn server_name(
    text: &str,
) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    ServerName::try_from(text.strip_suffix('.').unwrap_or(text).to_owned())
}
