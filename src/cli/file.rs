//! Config files as users write them: JSON, YAML or TOML of the same shape.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

/// Largest file read; the group's own bound on a config is 32 MiB.
const LIMIT: u64 = 64 << 20;

/// Reads a config file, `-` is standard input (JSON or YAML).
pub(super) fn read(path: &Path) -> anyhow::Result<Value> {
    let name = path.display();
    let text = read_text(path)?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or("yaml") {
        "json" => {
            serde_json::from_str(&text).map_err(|error| anyhow!("{name} is not JSON: {error}"))
        }
        // Every JSON text is YAML too, which is what standard input is read as.
        "yaml" | "yml" => {
            serde_saphyr::from_str(&text).map_err(|error| anyhow!("{name} is not YAML: {error}"))
        }
        "toml" => toml::from_str(&text).map_err(|error| anyhow!("{name} is not TOML:\n{error}")),
        other => bail!("{name}: `.{other}` is not known; a config file is .json, .yaml or .toml"),
    }
}

/// Reads a file's text within the limit.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(LIMIT).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
        file.take(LIMIT).read_to_string(&mut text)
    };
    read.with_context(|| format!("cannot read {name}"))?;
    Ok(text)
}
