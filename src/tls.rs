//! Where rustls configs are made: for what this node serves, for what it connects to, and for its peers.
//!
//! Key material comes as PEM and is checked whole before it is used. What is made of files is [`Hot`]: a changed file
//! is taken up by the next handshake, connections go on with what they began with, and material that is no good is
//! refused while the old stays in force. Nothing here opens a socket.

mod certificate;
mod choice;
mod client;
mod hot;
mod keyring;
mod material;
mod metrics;
mod peer;
mod server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

pub use certificate::dns_names_of;
pub use client::{ClientOptions, ClientTls, Host, Sessions, Trust};
pub use hot::{Hot, Reloads, watch};
pub use keyring::{Keyring, KeyringOptions, Unusable};
pub use material::{Fault, Problem};
pub use metrics::TlsMetrics;
pub use peer::{PeerOptions, PeerTls, Vouched};
pub use server::{CertificateFiles, ClientCertificates, ServerOptions, ServerTls};

/// The lowest protocol version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl MinVersion {
    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13,
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
