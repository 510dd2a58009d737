//! Caddy: one processor, plain HTTP only.

use std::path::Path;
use std::process::Command;

use super::write;

pub(super) fn command(folder: &Path) -> Command {
    let config = write(folder, "Caddyfile", include_str!("Caddyfile"), &[]);
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(config);
    command
}
