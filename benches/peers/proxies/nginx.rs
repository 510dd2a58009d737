//! nginx: one worker, keep-alive to the backend.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Certificate, PLAIN, Protocol, Setup, write};

pub(super) fn command(setup: &Setup, folder: &Path) -> Command {
    let config = write_config(setup, 1, folder);
    let mut command = Command::new("nginx");
    command.arg("-c").arg(config);
    command
}

/// Writes the config, with this weight for the first backend.
pub(crate) fn write_config(setup: &Setup, weight: u32, folder: &Path) -> PathBuf {
    let mut servers = String::new();
    for index in 0..setup.backends {
        let weight = if index == 0 { weight } else { 1 };
        let _ = writeln!(servers, "server {} weight={weight};", setup.backend());
    }
    let mut locations = String::new();
    for index in 0..setup.routes {
        let _ = writeln!(
            locations,
            "location /r{index}/ {{ proxy_pass http://web; }}"
        );
    }
    let (version, pass) = match setup.protocol {
        Protocol::Http1 => ("", "proxy_pass http"),
        Protocol::Http2 => (" http2", "proxy_pass http"),
        Protocol::Grpc => (" http2", "grpc_pass grpc"),
    };
    let plain = match setup.plain_too {
        true => format!("listen {PLAIN} backlog=4096;"),
        false => String::new(),
    };
    let (secure, tls) = if setup.tls {
        let files = Certificate::in_folder(folder);
        let lines = format!(
            "ssl_certificate {};\nssl_certificate_key {};",
            files.certificate, files.key
        );
        (" ssl", lines)
    } else {
        ("", String::new())
    };
    write(
        folder,
        "nginx.conf",
        include_str!("nginx.conf"),
        &[
            ("FOLDER", &folder.display().to_string()),
            ("SERVERS", &servers),
            ("KEPT", &(setup.backends * 2).max(128).to_string()),
            ("LOCATIONS", &locations),
            ("LISTEN_WORDS", &format!("{secure}{version}")),
            ("PASS", pass),
            ("PLAIN_LISTEN", &plain),
            ("TLS_LINES", &tls),
        ],
    )
}
