//! The proxies and their equal settings: one worker, keep-alive on both sides, no access log.

use std::path::Path;
use std::process::Command;

use crate::backend;
use crate::process::{Pinned, wait_for_port};

/// Where each of them listens while it is measured.
pub(crate) const LISTEN: &str = "127.0.0.1:18080";
const ADMIN: &str = "127.0.0.1:18091";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    Synod,
    Nginx,
    Haproxy,
}

impl Proxy {
    /// Synod and those peers that are installed.
    pub(crate) fn available() -> Vec<Self> {
        let installed = |name: &str| {
            Command::new("which")
                .arg(name)
                .output()
                .is_ok_and(|found| found.status.success())
        };
        let peers = [(Self::Nginx, "nginx"), (Self::Haproxy, "haproxy")];
        let peers = peers
            .into_iter()
            .filter(|(_, name)| installed(name))
            .map(|(proxy, _)| proxy);
        [Self::Synod].into_iter().chain(peers).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Synod => "synod",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Starts it on the first core.
    pub(crate) fn start(self, folder: &Path) -> Pinned {
        let running = match self {
            Self::Synod => start_synod(folder),
            Self::Nginx => start_nginx(folder),
            Self::Haproxy => start_haproxy(folder),
        };
        wait_for_port(LISTEN);
        running
    }
}

fn start_synod(folder: &Path) -> Pinned {
    let data = folder.join("synod");
    let _ = std::fs::remove_dir_all(&data);
    let running = Pinned::spawn(
        0,
        Command::new(env!("CARGO_BIN_EXE_synod"))
            .args(["serve", "--threads=1", "--peer=127.0.0.1:18092"])
            .args([
                format!("--data={}", data.display()),
                format!("--listen={LISTEN}"),
                format!("--admin={ADMIN}"),
            ]),
    );
    wait_for_port(ADMIN);
    let config = folder.join("synod.json");
    let text = format!(
        r#"{{"pools": [{{"name": "web", "backends": [{{"id": "b1", "address": "{}"}}]}}],
            "routes": [{{"name": "all", "to": [{{"pool": "web"}}]}}]}}"#,
        backend::ADDRESS
    );
    std::fs::write(&config, text).expect("the folder is writable");
    let applied = Command::new(env!("CARGO_BIN_EXE_synod"))
        .args(["apply", "--until=applied", "--admin", ADMIN, "-f"])
        .arg(&config)
        .output()
        .expect("synod runs");
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
    running
}

fn start_nginx(folder: &Path) -> Pinned {
    let config = folder.join("nginx.conf");
    let text = include_str!("nginx.conf").replace("FOLDER", &folder.display().to_string());
    std::fs::write(&config, text).expect("the folder is writable");
    Pinned::spawn(0, Command::new("nginx").arg("-c").arg(&config))
}

fn start_haproxy(folder: &Path) -> Pinned {
    let config = folder.join("haproxy.cfg");
    std::fs::write(&config, include_str!("haproxy.cfg")).expect("the folder is writable");
    Pinned::spawn(0, Command::new("haproxy").arg("-f").arg(&config))
}
