//! `synod check FILE`: validates a settings or config file without a node.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::output::say;
use super::{Failure, file};
use crate::config::spec;
use crate::node;
use crate::settings::Settings;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Settings (TOML), or a config of pools, routes and policies (JSON, YAML or TOML)
    file: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let name = args.file.display();
    if is_settings(&args.file)? {
        let (settings, source) = Settings::parse(&name.to_string(), &file::read_text(&args.file)?)?;
        settings.check(Some(&source))?;
        let wrong = node::unusable_files(&settings);
        if !wrong.is_empty() {
            let lines: String = wrong.iter().map(|why| format!("\n  {why:#}")).collect();
            return Err(anyhow!("{name} names files that cannot be used:{lines}").into());
        }
        say(format!("{name}: settings of node {}, valid", settings.node))?;
        return Ok(());
    }
    let value = file::read(&args.file)?;
    match spec::parse_config(&value) {
        Ok(config) => {
            say(format!(
                "{name}: config with {} pools, {} routes and {} policies, valid",
                config.pools.len(),
                config.routes.len(),
                config.policies.len()
            ))?;
            Ok(())
        }
        Err(faults) => Err(file::invalid(&args.file, &value, &faults).into()),
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
