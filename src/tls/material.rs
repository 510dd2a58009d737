//! Certificates and keys out of PEM, with errors that say which file, and what is wrong with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::provider;

/// Why key material cannot be used. The fault is the operator's.
#[derive(Debug, thiserror::Error)]
#[error("{}", .path.display())]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with PEM text.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// Broken PEM.
    #[error("is not PEM text")]
    NotPem(#[source] rustls::pki_types::pem::Error),
    /// No `CERTIFICATE` section.
    #[error("holds no certificate; expected a section `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// No private key.
    #[error(
        "holds no private key; expected a section `-----BEGIN PRIVATE KEY-----` without a pass phrase"
    )]
    NoKey,
    /// A certificate that cannot be parsed.
    #[error("holds a certificate that is not valid X.509")]
    BadCertificate(#[source] rustls::Error),
    /// A key of a kind that is not supported, or broken.
    #[error("holds a private key that cannot be used")]
    BadKey(#[source] rustls::Error),
    /// Key and certificate do not belong together.
    #[error("is not the key of the certificate beside it")]
    OtherKey,
    /// A node's certificate is for another one.
    #[error("cannot be used by this node: {0}")]
    OtherNode(String),
    /// The options contradict each other.
    #[error("cannot be used")]
    Unusable(#[source] rustls::Error),
    /// A verifier cannot be made of these authorities.
    #[error("holds no authority that clients can be checked by")]
    BadAuthority(#[source] rustls::server::VerifierBuilderError),
}

impl Problem {
    pub(super) fn of(self, path: &Path) -> Fault {
        Fault {
            path: path.into(),
            problem: self,
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(|error| Problem::Unreadable(error).of(path))
}

/// All certificates of `pem`, at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(Problem::NotPem)?;
    if found.is_empty() {
        return Err(Problem::NoCertificate);
    }
    Ok(found)
}

/// The first private key of `pem`.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => Problem::NoKey,
        other => Problem::NotPem(other),
    })
}

/// The authorities of `pem`.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(Problem::BadCertificate)?;
    }
    Ok(roots)
}

/// A chain and its key, found to belong together.
pub(super) fn identity(
    (certificate, chain): (&Path, &[u8]),
    (key, key_pem): (&Path, &[u8]),
) -> Result<Arc<CertifiedKey>, Fault> {
    let chain = certificates(chain).map_err(|problem| problem.of(certificate))?;
    let private = private_key(key_pem).map_err(|problem| problem.of(key))?;
    CertifiedKey::from_der(chain, private, &provider())
        .map(Arc::new)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Problem::OtherKey.of(key),
            rustls::Error::InvalidCertificate(_) => Problem::BadCertificate(error).of(certificate),
            _ => Problem::BadKey(error).of(key),
        })
}
