//! A TLS identity that is served, and taken up anew when its files change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{HandshakeKind, ServerConfig};

use super::certificate::not_after;
use super::choice::Choice;
use super::hot::{Hot, Reloads};
use super::material::{self, Fault, Problem};
use super::metrics::{Counters, Handshake};
use super::{MinVersion, provider};

/// Sessions of TLS 1.2 clients that take no tickets, remembered by one identity.
const SESSIONS: usize = 4_096;

/// What is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// At least one; the first goes to clients that ask for no name, or for one that nobody has.
    pub certificates: Vec<CertificateFiles>,
    /// Lower ones are refused.
    pub min_version: MinVersion,
    /// Whether clients are asked for certificates.
    pub clients: ClientCertificates,
    /// Protocols offered by ALPN, the preferred one first; empty: none.
    pub alpn: Vec<Vec<u8>>,
}

/// A certificate chain and its private key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Whether clients are asked for certificates; the file holds the authorities that may have issued them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not.
    #[default]
    None,
    /// A client without one is served, one with a wrong one is not.
    Optional(PathBuf),
    /// A client without one is not served.
    Required(PathBuf),
}

/// A served identity; shared by every thread that accepts for it.
#[derive(Debug)]
pub struct ServerTls {
    options: ServerOptions,
    current: ArcSwap<ServerConfig>,
    counters: Counters,
    reloads: Reloads,
    files: Mutex<Files>,
}

/// What was read last, whether or not it was good.
#[derive(Debug)]
struct Files {
    contents: BTreeMap<PathBuf, Vec<u8>>,
    /// By certificate file in force.
    ends: Vec<(String, i64)>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(options: ServerOptions) -> Result<Arc<Self>, Fault> {
        let contents = options.read()?;
        let ticketer = ticketer(&options)?;
        let config = options.config(&contents, &ticketer)?;
        let files = Files {
            ends: options.ends(&contents),
            contents,
            ticketer,
        };
        Ok(Arc::new(Self {
            options,
            current: ArcSwap::from_pointee(config),
            counters: Counters::default(),
            reloads: Reloads::default(),
            files: Mutex::new(files),
        }))
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Counts a handshake that has ended, by the session it came to.
    pub fn succeeded(&self, session: &rustls::CommonState) {
        self.counters.count(match session.handshake_kind() {
            Some(HandshakeKind::Resumed) => Handshake::Resumed,
            _ => Handshake::Full,
        });
    }

    /// Counts a handshake that came to nothing.
    pub fn failed(&self) {
        self.counters.count(Handshake::Failed);
    }

    /// Counts a client that spoke plaintext.
    pub fn spoken_to_in_plaintext(&self) {
        self.counters.count(Handshake::Plaintext);
    }

    /// What is counted of its handshakes.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Hot for ServerTls {
    fn reload(&self) -> Result<bool, Fault> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = self.options.read()?;
        if contents == files.contents {
            return Ok(false);
        }
        let clients_changed = self
            .options
            .clients
            .authorities()
            .is_some_and(|path| contents.get(path) != files.contents.get(path));
        // Told once: the next look compares with this one.
        files.contents = contents;
        let mut next = files.ticketer.clone();
        if clients_changed {
            // A ticket would bring back a client that the new authorities do not know.
            next = ticketer(&self.options)?;
        }
        let config = self.options.config(&files.contents, &next)?;
        files.ticketer = next;
        files.ends = self.options.ends(&files.contents);
        self.current.store(Arc::new(config));
        Ok(true)
    }

    fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    fn ends(&self) -> Vec<(String, i64)> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.ends.clone()
    }
}

fn ticketer(options: &ServerOptions) -> Result<Arc<dyn ProducesTickets>, Fault> {
    let path = options.certificates.first().map(|files| &*files.cert);
    rustls::crypto::aws_lc_rs::Ticketer::new()
        .map_err(|error| Problem::Unusable(error).of(path.unwrap_or(Path::new(""))))
}

impl ClientCertificates {
    fn authorities(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::Optional(path) | Self::Required(path) => Some(path),
        }
    }
}

impl ServerOptions {
    fn read(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>, Fault> {
        self.certificates
            .iter()
            .flat_map(|files| [&*files.cert, &*files.key])
            .chain(self.clients.authorities())
            .map(|path| Ok((path.into(), material::read(path)?)))
            .collect()
    }

    fn ends(&self, contents: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<(String, i64)> {
        let end = |files: &CertificateFiles| {
            let chain = material::certificates(contents.get(&files.cert)?).ok()?;
            Some((files.cert.display().to_string(), not_after(chain.first()?)?))
        };
        self.certificates.iter().filter_map(end).collect()
    }

    fn config(
        &self,
        contents: &BTreeMap<PathBuf, Vec<u8>>,
        ticketer: &Arc<dyn ProducesTickets>,
    ) -> Result<ServerConfig, Fault> {
        let of = |path: &Path| contents.get(path).map_or(&[][..], Vec::as_slice);
        let mut identities = Vec::with_capacity(self.certificates.len());
        for CertificateFiles { cert, key } in &self.certificates {
            identities.push(material::identity((cert, of(cert)), (key, of(key)))?);
        }
        let first = self.certificates.first().map(|files| &*files.cert);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(self.min_version.supported())
            .map_err(|error| Problem::Unusable(error).of(first.unwrap_or(Path::new(""))))?;
        let builder = match self.clients.authorities() {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = material::authorities(of(path)).map_err(|problem| problem.of(path))?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = match self.clients {
                    ClientCertificates::Optional(_) => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                let verifier = verifier.build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| Problem::BadAuthority(error).of(path))?,
                )
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Choice::new(identities)));
        config.alpn_protocols.clone_from(&self.alpn);
        config.ticketer = ticketer.clone();
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
        Ok(config)
    }
}
