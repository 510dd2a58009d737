//! Traefik: one processor, plain HTTP only.

use std::path::Path;
use std::process::Command;

use super::write;

pub(super) fn command(folder: &Path) -> Command {
    let routes = write(
        folder,
        "traefik-routes.yaml",
        include_str!("traefik-routes.yaml"),
        &[],
    );
    let words = [("ROUTES", &*routes.display().to_string())];
    let config = write(folder, "traefik.yaml", include_str!("traefik.yaml"), &words);
    let mut command = Command::new("traefik");
    command.arg("--configfile").arg(config);
    command
}
