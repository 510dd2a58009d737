//! What this node has for its connections to backends: authorities and certificates, by the names that pools use.
//!
//! Every [`ClientTls`] is made here, one for all who ask for the same, and made anew when files have changed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use super::client::{ClientOptions, ClientTls, Trust, server_name};
use super::hot::{Hot, Reloads};
use super::material::{self, Fault, Problem};
use super::server::CertificateFiles;
use super::verify::{Anything, Expected, Names};
use super::{certificate, provider};

/// The files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyringOptions {
    /// PEM files of authorities.
    pub authorities: BTreeMap<String, PathBuf>,
    /// Certificates to show, with their keys.
    pub certificates: BTreeMap<String, CertificateFiles>,
}

/// Why there is no connecting that way.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The settings name no such authorities.
    #[error(
        "needs the authorities `{0}`, which the settings of this node do not have in `backend_tls.authorities`"
    )]
    NoAuthority(String),
    /// The settings name no such certificate.
    #[error(
        "needs the certificate `{0}`, which the settings of this node do not have in `backend_tls.certificates`"
    )]
    NoCertificate(String),
    /// The PEM text is no good.
    #[error("`ca` {0}")]
    BadAuthority(#[source] Problem),
    /// Neither a name nor an address.
    #[error("`{0}` is no name that a certificate could be for")]
    BadName(String),
    /// The machine has no authorities.
    #[error(
        "needs authorities, and this machine has none that it trusts; give some with `ca`, or install its certificates"
    )]
    NoSystem,
    /// Certificate and version do not go together.
    #[error("cannot be used: {0}")]
    Contradiction(#[source] rustls::Error),
}

/// Authorities, certificates, and all that was made of them.
#[derive(Debug)]
pub struct Keyring {
    options: KeyringOptions,
    reloads: Reloads,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// What was read last, whether or not it was good.
    contents: BTreeMap<PathBuf, Vec<u8>>,
    material: Material,
    made: HashMap<ClientOptions, Weak<ClientTls>>,
}

/// What is in force.
#[derive(Clone, Debug, Default)]
struct Material {
    authorities: BTreeMap<String, Arc<RootCertStore>>,
    certificates: BTreeMap<String, Arc<CertifiedKey>>,
    /// Read when the first pool wants them.
    system: Option<Arc<RootCertStore>>,
}

impl Keyring {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(options: KeyringOptions) -> Result<Self, Fault> {
        let contents = options.read()?;
        let material = options.material(&contents)?;
        Ok(Self::new(options, contents, material))
    }

    /// A keyring with nothing on it but what the machine trusts.
    pub fn empty() -> Self {
        Self::new(
            KeyringOptions::default(),
            BTreeMap::new(),
            Material::default(),
        )
    }

    fn new(
        options: KeyringOptions,
        contents: BTreeMap<PathBuf, Vec<u8>>,
        material: Material,
    ) -> Self {
        Self {
            options,
            reloads: Reloads::default(),
            known: Mutex::new(Known {
                contents,
                material,
                made: HashMap::new(),
            }),
        }
    }

    /// The way to connect as `options` say, the same one for all who ask for the same.
    ///
    /// # Errors
    /// When this node lacks what they name, or what they hold is no good.
    pub fn client(&self, options: &ClientOptions) -> Result<Arc<ClientTls>, Unusable> {
        let mut known = self.lock();
        if let Some(client) = known.made.get(options).and_then(Weak::upgrade) {
            return Ok(client);
        }
        let name = options.server_name.as_deref().map(named).transpose()?;
        let config = known.material.config(options)?;
        let client = Arc::new(ClientTls::new(name, config));
        known.made.retain(|_, made| made.strong_count() > 0);
        known.made.insert(options.clone(), Arc::downgrade(&client));
        Ok(client)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hot for Keyring {
    /// One of the files is no good: all the old stay in force.
    fn reload(&self) -> Result<bool, Fault> {
        let contents = self.options.read()?;
        let mut known = self.lock();
        if contents == known.contents {
            return Ok(false);
        }
        // Told once: the next look compares with this one.
        known.contents = contents;
        let mut material = self.options.material(&known.contents)?;
        material.system.clone_from(&known.material.system);
        known.material = material;
        let Known { material, made, .. } = &mut *known;
        for (options, client) in made.iter() {
            let Some(client) = client.upgrade() else {
                continue;
            };
            match material.config(options) {
                Ok(config) => client.store(config),
                Err(error) => {
                    tracing::error!(%error, "a pool goes on with the certificates it had");
                }
            }
        }
        Ok(true)
    }

    fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    fn ends(&self) -> Vec<(String, i64)> {
        let known = self.lock();
        let end = |(name, files): (&String, &CertificateFiles)| {
            let chain = &known.material.certificates.get(name)?.cert;
            let end = certificate::not_after(chain.first()?)?;
            Some((files.cert.display().to_string(), end))
        };
        self.options.certificates.iter().filter_map(end).collect()
    }
}

impl KeyringOptions {
    fn read(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>, Fault> {
        let identities = self.certificates.values();
        identities
            .flat_map(|files| [&files.cert, &files.key])
            .chain(self.authorities.values())
            .map(|path| Ok((path.clone(), material::read(path)?)))
            .collect()
    }

    fn material(&self, contents: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Material, Fault> {
        let of = |path: &PathBuf| contents.get(path).map_or(&[][..], Vec::as_slice);
        let mut found = Material::default();
        for (name, path) in &self.authorities {
            let roots = material::authorities(of(path)).map_err(|problem| problem.of(path))?;
            found.authorities.insert(name.clone(), Arc::new(roots));
        }
        for (name, CertificateFiles { cert, key }) in &self.certificates {
            let identity = material::identity((cert, of(cert)), (key, of(key)))?;
            found.certificates.insert(name.clone(), identity);
        }
        Ok(found)
    }
}

impl Material {
    fn config(&mut self, options: &ClientOptions) -> Result<ClientConfig, Unusable> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(options.min_version.supported())
            .map_err(Unusable::Contradiction)?
            .dangerous();
        let builder = match self.roots(&options.trust)? {
            Some(roots) => {
                let names = options.names.iter().map(String::as_str).map(named);
                let names = names.collect::<Result<Vec<_>, _>>()?;
                let names = match names.is_empty() {
                    true => Names::Asked,
                    false => Names::OneOf(names),
                };
                builder.with_custom_certificate_verifier(Arc::new(Expected::new(roots, names)))
            }
            None => builder.with_custom_certificate_verifier(Arc::new(Anything)),
        };
        let mut config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = self.certificates.get(name).cloned();
                let key = key.ok_or_else(|| Unusable::NoCertificate(name.clone()))?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        };
        config.alpn_protocols.clone_from(&options.alpn);
        Ok(config)
    }

    /// None: whoever is there is trusted.
    fn roots(&mut self, trust: &Trust) -> Result<Option<Arc<RootCertStore>>, Unusable> {
        let roots = match trust {
            Trust::Anything => return Ok(None),
            Trust::Pem(pem) => material::authorities(pem.as_bytes())
                .map(Arc::new)
                .map_err(Unusable::BadAuthority)?,
            Trust::Named(name) => {
                let named = self.authorities.get(name).cloned();
                named.ok_or_else(|| Unusable::NoAuthority(name.clone()))?
            }
            Trust::System => match &self.system {
                Some(roots) => roots.clone(),
                None => self.system.insert(system()?).clone(),
            },
        };
        Ok(Some(roots))
    }
}

/// What the machine trusts; certificates among it that cannot be read are none.
fn system() -> Result<Arc<RootCertStore>, Unusable> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if !found.errors.is_empty() || ignored > 0 {
        let errors = found.errors.len();
        tracing::warn!(
            errors,
            ignored,
            "some authorities of this machine cannot be read"
        );
    }
    if roots.is_empty() {
        return Err(Unusable::NoSystem);
    }
    Ok(Arc::new(roots))
}

fn named(text: &str) -> Result<rustls::pki_types::ServerName<'static>, Unusable> {
    server_name(text).map_err(|_| Unusable::BadName(text.to_owned()))
}
