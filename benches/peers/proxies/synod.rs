//! Synod: one voter, one data-plane thread, all of it on the proxy's core.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{ADMIN, Certificate, LISTEN, PLAIN, Protocol, Setup, write};

pub(super) fn command(setup: &Setup, folder: &Path) -> Command {
    let data = folder.join("synod");
    let _ = std::fs::remove_dir_all(&data);
    let mut settings = format!("data = {data:?}\nthreads = 1\n");
    if setup.access_log {
        settings += &format!("access_log = {:?}\n", folder.join("access.log"));
    }
    settings += &format!("admin.address = {ADMIN:?}\npeer.address = \"127.0.0.1:18092\"\n");
    settings += &format!("[[listeners]]\naddress = {LISTEN:?}\n");
    if setup.tls {
        let files = Certificate::in_folder(folder);
        settings += &format!(
            "[listeners.tls]\ncertificates = [{{ cert = {:?}, key = {:?} }}]\n",
            files.certificate, files.key
        );
    }
    if setup.plain_too {
        settings += &format!("[[listeners]]\naddress = {PLAIN:?}\n");
    }
    let settings = write(folder, "synod.toml", &settings, &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    command.arg("serve").arg("--config").arg(settings);
    command
}

/// Votes the config in.
pub(super) fn apply(setup: &Setup, folder: &Path) {
    let backends: Vec<_> = (0..setup.backends)
        .map(|index| json!({"id": format!("b{index}"), "address": setup.backend()}))
        .collect();
    let prefixes = (0..setup.routes).map(|index| {
        json!({
            "name": format!("r{index}"),
            "match": {"path": {"prefix": format!("/r{index}/")}},
            "to": [{"pool": "web"}],
        })
    });
    let routes: Vec<_> = prefixes
        .chain([json!({"name": "all", "to": [{"pool": "web"}]})])
        .collect();
    let protocol = match setup.protocol {
        Protocol::Http1 | Protocol::Http2 => "http1",
        Protocol::Grpc => "http2",
    };
    let pool = json!({
        "name": "web",
        "balance": setup.balance,
        "protocol": protocol,
        "backends": backends,
    });
    let config = json!({"pools": [pool], "routes": routes});
    let file = write(folder, "synod.json", &config.to_string(), &[]);
    let applied = Command::new(env!("CARGO_BIN_EXE_synod"))
        .args(["apply", "--until=applied", "--admin", ADMIN, "-f"])
        .arg(file)
        .output()
        .expect("synod runs");
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
}
