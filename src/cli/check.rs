//! `synod check FILE`: validates a settings or config file without a node.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::remote::Remote;
use super::{Failure, file};
use crate::config::spec;
use crate::node;
use crate::settings::Settings;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Settings (TOML), or a config of pools, routes and policies (JSON, YAML or TOML)
    file: PathBuf,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let name = args.file.display();
    if is_settings(&args.file)? {
        let (settings, source) = Settings::parse(&name.to_string(), &file::read_text(&args.file)?)?;
        settings.check(Some(&source))?;
        let wrong = node::unusable_files(&settings);
        if !wrong.is_empty() {
            let lines: String = wrong.iter().map(|why| format!("\n  {why:#}")).collect();
            return Err(anyhow!("{name} names files that cannot be used:{lines}").into());
        }
        let (file, node) = (name.to_string(), &settings.node);
        let found = json!({"file": file, "kind": "settings", "node": node});
        let text = |_: &Value| format!("{name}: settings of node {node}, valid");
        return remote.output.print(&found, text);
    }
    let source = file::Source::read(&args.file)?;
    match spec::parse_config(&source.config) {
        Ok(config) => {
            let [pools, routes, policies] = [
                config.pools.len(),
                config.routes.len(),
                config.policies.len(),
            ];
            let found = json!({
                "file": name.to_string(),
                "kind": "config",
                "pools": pools,
                "routes": routes,
                "policies": policies,
            });
            remote.output.print(&found, |_| {
                format!(
                    "{name}: config with {pools} pools, {routes} routes and {policies} policies, valid"
                )
            })
        }
        Err(faults) => Err(source.invalid(&faults).into()),
    }
}

/// Only TOML can be either; a config has these lists at its top, settings never do.
fn is_settings(path: &Path) -> Result<bool, Failure> {
    if path.extension().is_none_or(|extension| extension != "toml") {
        return Ok(false);
    }
    let text = file::read_text(path)?;
    let (table, _) = toml::de::DeTable::parse_recoverable(&text);
    Ok(!["pools", "routes", "policies"]
        .iter()
        .any(|key| table.get_ref().contains_key(*key)))
}
