//! Envoy: one worker, plain HTTP only.

use std::path::Path;
use std::process::Command;

use super::write;

pub(super) fn command(folder: &Path) -> Command {
    let config = write(folder, "envoy.yaml", include_str!("envoy.yaml"), &[]);
    let mut command = Command::new("envoy");
    command
        .args(["--concurrency", "1", "--log-level", "off", "-c"])
        .arg(config);
    command
}
