//! From the settings' words for TLS to what the parts are given.

use std::sync::Arc;

use anyhow::Context as _;

use crate::settings::{self, Settings};
use crate::telemetry::metrics::MetricsRegistry;
use crate::tls::{
    self, ClientOptions, Hot, Keyring, KeyringOptions, MinVersion, PeerOptions, ServerOptions,
    ServerTls, TlsMetrics, Trust,
};

/// All of this node that speaks TLS, by the words that tell it apart.
#[derive(Default)]
pub(super) struct Spoken {
    served: Vec<(String, Arc<ServerTls>)>,
    hot: Vec<(String, Arc<dyn Hot>)>,
}

impl Spoken {
    /// Loads the identity of `what`, if it has one.
    pub(super) fn load(
        &mut self,
        what: String,
        tls: Option<&settings::Tls>,
    ) -> anyhow::Result<Option<Arc<ServerTls>>> {
        let Some(tls) = tls else {
            return Ok(None);
        };
        let loaded = ServerTls::load(options(tls))
            .with_context(|| format!("the TLS identity of {what} cannot be used"))?;
        self.hot.push((what.clone(), loaded.clone()));
        self.served.push((what, loaded.clone()));
        Ok(Some(loaded))
    }

    /// Loads what pools name.
    pub(super) fn keyring(&mut self, tls: &settings::BackendTls) -> anyhow::Result<Arc<Keyring>> {
        let options = KeyringOptions {
            authorities: tls.authorities.clone(),
            certificates: tls
                .certificates
                .iter()
                .map(|(name, files)| (name.clone(), pair(files)))
                .collect(),
        };
        let keyring = Keyring::load(options).context("what `backend_tls` names cannot be used")?;
        let keyring = Arc::new(keyring);
        self.hot.push(("backends".into(), keyring.clone()));
        Ok(keyring)
    }

    /// Loads what this node shows to others.
    pub(super) fn peers(
        &mut self,
        settings: &Settings,
    ) -> anyhow::Result<Option<Arc<tls::PeerTls>>> {
        let Some(files) = &settings.peer_tls else {
            return Ok(None);
        };
        let options = PeerOptions {
            ca: files.ca.clone(),
            cert: files.cert.clone(),
            key: files.key.clone(),
        };
        let loaded = tls::PeerTls::load(options, &settings.node)
            .context("what `peer.tls` names cannot be used")?;
        self.hot.push(("peers".into(), loaded.clone()));
        Ok(Some(loaded))
    }

    /// Has changed files taken up, and tells `metrics`. The task ends when it is aborted.
    pub(super) fn watch(self, metrics: &MetricsRegistry) -> tokio::task::JoinHandle<()> {
        metrics.register(Arc::new(TlsMetrics {
            served: self.served,
            hot: self.hot.clone(),
        }));
        tokio::spawn(tls::watch(self.hot))
    }
}

/// How a collector of traces is spoken to: it is whom the machine's authorities vouch for.
pub(super) fn of_collector(keyring: &Keyring) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let options = ClientOptions {
        trust: Trust::System,
        server_name: None,
        names: Vec::new(),
        certificate: None,
        min_version: MinVersion::Tls12,
        alpn: Vec::new(),
    };
    let client = keyring.client(&options);
    let client = client.context("TLS with the collector that `tracing.otlp` names")?;
    Ok(client.config())
}

/// What of the files that the settings name for TLS cannot be used, each with why.
pub(super) fn unusable(settings: &Settings) -> Vec<anyhow::Error> {
    let mut spoken = Spoken::default();
    let mut wrong = Vec::new();
    wrong.extend(
        spoken
            .load("admin".into(), settings.admin_tls.as_ref())
            .err(),
    );
    for listener in &settings.listeners {
        wrong.extend(of_listener(listener, &mut spoken).err());
    }
    wrong.extend(spoken.keyring(&settings.backend_tls).err());
    wrong.extend(spoken.peers(settings).err());
    wrong
}

/// One identity a listener, in their order.
pub(super) fn of_listeners(
    settings: &Settings,
    spoken: &mut Spoken,
) -> anyhow::Result<Vec<Option<Arc<ServerTls>>>> {
    let of = |listener| of_listener(listener, spoken);
    settings.listeners.iter().map(of).collect()
}

fn of_listener(
    listener: &settings::Listener,
    spoken: &mut Spoken,
) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let what = format!("listener {}", listener.address);
    spoken.load(what, listener.tls.as_ref())
}

fn options(tls: &settings::Tls) -> ServerOptions {
    ServerOptions {
        certificates: tls.certificates.iter().map(pair).collect(),
        min_version: match tls.min_version {
            settings::TlsVersion::Tls12 => MinVersion::Tls12,
            settings::TlsVersion::Tls13 => MinVersion::Tls13,
        },
        clients: match &tls.clients {
            settings::ClientCertificates::None => tls::ClientCertificates::None,
            settings::ClientCertificates::Optional(file) => {
                tls::ClientCertificates::Optional(file.clone())
            }
            settings::ClientCertificates::Required(file) => {
                tls::ClientCertificates::Required(file.clone())
            }
        },
        alpn: tls
            .alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect(),
    }
}

fn pair(files: &settings::CertificateFiles) -> tls::CertificateFiles {
    tls::CertificateFiles {
        cert: files.cert.clone(),
        key: files.key.clone(),
    }
}
