//! Which certificate a client gets: one for the name it asks for, else the first.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::dns_names;

/// The certificates of one listener. By exact name, then by wildcard, then the first; among several for one name the
/// first whose key the client can check.
#[derive(Debug)]
pub(super) struct Choice {
    certificates: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind the `*.`.
    wildcard: HashMap<String, Vec<usize>>,
}

impl Choice {
    /// Of at least one certificate.
    pub(super) fn new(certificates: Vec<Arc<CertifiedKey>>) -> Self {
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            let names = certificate.cert.first().map(dns_names).unwrap_or_default();
            for name in names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent.to_owned()),
                    None => (&mut exact, name),
                };
                map.entry(name).or_default().push(index);
            }
        }
        Self {
            certificates,
            exact,
            wildcard,
        }
    }

    fn of_name(&self, name: &str) -> &[usize] {
        let wildcard = || {
            // A wildcard stands for one label (RFC 9525, 6.3).
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        };
        self.exact
            .get(name)
            .or_else(wildcard)
            .map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .map_or(&[][..], |name| self.of_name(&name.to_ascii_lowercase()));
        let all = || self.certificates.iter();
        let suits = |certificate: &&Arc<CertifiedKey>| {
            certificate
                .key
                .choose_scheme(hello.signature_schemes())
                .is_some()
        };
        let named = || named.iter().map(|index| &self.certificates[*index]);
        named()
            .find(suits)
            .or_else(|| named().next())
            .or_else(|| all().find(suits))
            .or_else(|| all().next())
            .cloned()
    }
}
