//! What a client expects of nodes and shows to them: authorities, a certificate, a token.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use super::Error;
use crate::tls::{
    CertificateFiles, ClientOptions, ClientTls, Keyring, KeyringOptions, MinVersion, Trust,
};

/// What a client expects of nodes and shows to them.
#[derive(Clone, Default)]
pub struct Credentials {
    /// PEM file of the authorities that may vouch for `https://` nodes; what this machine trusts unless said.
    pub ca: Option<PathBuf>,
    /// PEM files of a certificate and its key, for nodes that ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// A token of the admin API.
    pub token: Option<String>,
}

impl Credentials {
    pub(super) fn tls(&self) -> Result<Arc<ClientTls>, Error> {
        const OWN: &str = "own";
        let files =
            |(cert, key): (PathBuf, PathBuf)| (OWN.to_owned(), CertificateFiles { cert, key });
        let keyring = Keyring::load(KeyringOptions {
            authorities: self
                .ca
                .clone()
                .map(|ca| (OWN.to_owned(), ca))
                .into_iter()
                .collect(),
            certificates: self
                .certificate
                .clone()
                .map(files)
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        });
        let keyring = keyring.map_err(|fault| {
            let why = std::error::Error::source(&fault).map_or(String::new(), ToString::to_string);
            Error::Credentials(format!("{fault} {why}"))
        })?;
        let made = keyring.client(&ClientOptions {
            trust: self
                .ca
                .as_ref()
                .map_or(Trust::System, |_| Trust::Named(OWN.to_owned())),
            server_name: None,
            names: Vec::new(),
            certificate: self.certificate.as_ref().map(|_| OWN.to_owned()),
            min_version: MinVersion::default(),
            alpn: vec![b"http/1.1".to_vec()],
        });
        made.map_err(|error| Error::Credentials(format!("a node over https {error}")))
    }

    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(token) = &self.token else {
            return Ok(None);
        };
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::Credentials("the token holds what no token does".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
