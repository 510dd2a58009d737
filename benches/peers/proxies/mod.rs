//! The proxies and their equal settings: one worker, keep-alive on both sides, no access log unless asked.
//!
//! The settings files of the peers stand beside this one; what a setup varies is filled in by name.

mod caddy;
mod envoy;
mod haproxy;
pub(crate) mod nginx;
mod synod;
mod traefik;

use std::path::Path;
use std::process::Command;

use crate::load::Load;
use crate::process::{PROXY_CORE, Pinned, wait_for_port};
use crate::{backend, grpc};

/// Where each of them listens while it is measured.
pub(crate) const LISTEN: &str = "127.0.0.1:18080";

/// Where they listen beside it for HTTP/1.1 without TLS, if they are to.
pub(crate) const PLAIN: &str = "127.0.0.1:18081";

/// Synod's admin API.
pub(crate) const ADMIN: &str = "127.0.0.1:18091";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    Synod,
    Nginx,
    Haproxy,
    Envoy,
    Caddy,
    Traefik,
    /// No proxy but the limit of all: see [`crate::relay`].
    Relay,
}

/// What is spoken with clients and with the backend.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 on both sides.
    Http1,
    /// HTTP/2 with clients, HTTP/1.1 with the backend.
    Http2,
    /// gRPC: HTTP/2 on both sides.
    Grpc,
}

/// What a proxy is to be configured with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) protocol: Protocol,
    /// Prefix routes `/r0/`, `/r1/` and so on beside the one for all.
    pub(crate) routes: usize,
    /// Members of the pool, all of them the same process.
    pub(crate) backends: usize,
    /// Synod's balancing policy.
    pub(crate) balance: &'static str,
    pub(crate) tls: bool,
    /// Whether it listens at [`PLAIN`] too.
    pub(crate) plain_too: bool,
    pub(crate) access_log: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            routes: 0,
            backends: 1,
            balance: "round_robin",
            tls: false,
            plain_too: false,
            access_log: false,
        }
    }
}

impl Setup {
    fn is_plain(&self) -> bool {
        self.protocol == Protocol::Http1
            && self.routes == 0
            && self.backends == 1
            && !self.tls
            && !self.plain_too
            && !self.access_log
    }

    /// Where the backend listens that speaks what is asked for.
    fn backend(&self) -> &'static str {
        match self.protocol {
            Protocol::Http1 | Protocol::Http2 => backend::ADDRESS,
            Protocol::Grpc => grpc::ADDRESS,
        }
    }
}

impl Proxy {
    const ALL: [Self; 7] = [
        Self::Synod,
        Self::Nginx,
        Self::Haproxy,
        Self::Envoy,
        Self::Caddy,
        Self::Traefik,
        Self::Relay,
    ];

    /// Synod, and the named ones or all that are installed.
    pub(crate) fn chosen(names: &[String]) -> Result<Vec<Self>, String> {
        let known = |name: &String| Self::ALL.iter().any(|proxy| proxy.name() == name);
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let all = Self::ALL.map(Self::name).join(", ");
            return Err(format!("no proxy {unknown}; there are {all}"));
        }
        let named = |proxy: Self| names.iter().any(|name| name == proxy.name());
        if let Some(missing) = Self::ALL
            .into_iter()
            .find(|proxy| named(*proxy) && !proxy.installed())
        {
            return Err(format!("{} is not on the PATH", missing.name()));
        }
        let wanted = |proxy: &Self| {
            *proxy == Self::Synod || named(*proxy) || (names.is_empty() && proxy.installed())
        };
        Ok(Self::ALL.into_iter().filter(wanted).collect())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Synod => "synod",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Relay => "relay",
        }
    }

    fn installed(self) -> bool {
        let built_in = matches!(self, Self::Synod | Self::Relay);
        built_in
            || Command::new("which")
                .arg(self.name())
                .output()
                .is_ok_and(|found| found.status.success())
    }

    /// Whether it can be measured with this setup, under this load, and changed meanwhile if `changes`.
    pub(crate) fn supports(self, setup: &Setup, load: &Load, changes: bool) -> bool {
        match self {
            Self::Synod | Self::Nginx | Self::Haproxy => true,
            Self::Envoy | Self::Caddy | Self::Traefik => setup.is_plain() && !changes,
            // It keeps connections whatever is said in them, and two for each that idles.
            Self::Relay => {
                let kept = match load {
                    Load::Closed(closed) => !closed.close,
                    Load::Multiplexed { .. } | Load::OpenLoop { .. } => true,
                    Load::Idle { .. } | Load::Abuse(_) => false,
                };
                kept && setup.is_plain() && !changes
            }
        }
    }

    /// How its config changes while it runs.
    pub(crate) fn change(self) -> Option<&'static str> {
        match self {
            Self::Synod => Some("50 changes/s"),
            Self::Haproxy => Some("50 weights/s by socket"),
            Self::Nginx => Some("5 reloads/s"),
            Self::Envoy | Self::Caddy | Self::Traefik | Self::Relay => None,
        }
    }

    /// Starts it on its core.
    pub(crate) fn start(self, setup: &Setup, folder: &Path) -> Pinned {
        let command = match self {
            Self::Synod => synod::command(setup, folder),
            Self::Nginx => nginx::command(setup, folder),
            Self::Haproxy => haproxy::command(setup, folder),
            Self::Envoy => envoy::command(folder),
            Self::Caddy => caddy::command(folder),
            Self::Traefik => traefik::command(folder),
            Self::Relay => crate::own("relay"),
        };
        let running = Pinned::spawn(PROXY_CORE, command);
        if self == Self::Synod {
            wait_for_port(ADMIN);
            synod::apply(setup, folder);
        }
        wait_for_port(LISTEN);
        if setup.plain_too {
            wait_for_port(PLAIN);
        }
        running
    }
}

/// Writes a settings file with its words filled in, and says where.
fn write(folder: &Path, name: &str, template: &str, words: &[(&str, &str)]) -> std::path::PathBuf {
    let text = words
        .iter()
        .fold(template.to_owned(), |text, (word, value)| {
            text.replace(word, value)
        });
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the folder is writable");
    path
}

/// Files of a self-signed certificate for every proxy: the certificate, the key, and both in one.
pub(crate) struct Certificate {
    pub(crate) certificate: String,
    key: String,
    both: String,
}

impl Certificate {
    /// The one in this folder, made when first asked for.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let files = Self {
            certificate: path("site.pem"),
            key: path("site.key"),
            both: path("site.both"),
        };
        if !Path::new(&files.both).exists() {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
                .expect("a certificate of one name");
            let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            for (file, text) in [
                (&files.certificate, certificate.clone()),
                (&files.key, key.clone()),
                (&files.both, certificate + &key),
            ] {
                std::fs::write(file, text).expect("the folder is writable");
            }
        }
        files
    }
}
