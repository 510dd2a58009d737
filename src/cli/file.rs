//! Config files as users write them: JSON, YAML or TOML of the same shape.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use serde_saphyr::UserMessageFormatter;

use crate::config::{Faults, Unambiguous};

/// Largest file read; the group's own bound on a config is 32 MiB.
const LIMIT: u64 = 64 << 20;

/// Reads a config file, `-` is standard input (JSON or YAML).
pub(super) fn read(path: &Path) -> anyhow::Result<Value> {
    let name = path.display();
    let text = read_text(path)?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or("yaml") {
        "json" => serde_json::from_str(&text)
            .map(|Unambiguous(value)| value)
            .map_err(|error| anyhow!("{name} is not JSON: {error}")),
        // Every JSON text is YAML too, which is what standard input is read as.
        "yaml" | "yml" => parse_yaml(&text).map_err(|why| anyhow!("{name} is not YAML: {why}")),
        "toml" => toml::from_str(&text).map_err(|error| anyhow!("{name} is not TOML:\n{error}")),
        other => bail!("{name}: `.{other}` is not known; a config file is .json, .yaml or .toml"),
    }
}

/// Reads YAML; why it is none, in words for who wrote it.
pub(super) fn parse_yaml(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text)
        .map_err(|error: serde_saphyr::Error| error.render_with_formatter(&UserMessageFormatter))
}

/// Every fault of the config in a file, below a line that names it.
pub(super) fn invalid(path: &Path, config: &Value, faults: &Faults) -> anyhow::Error {
    let lines = faults.0.iter().map(|fault| {
        let value = config.pointer(&fault.pointer);
        let unquoted = matches!(value, Some(Value::Bool(_) | Value::Number(_)));
        let texts = ["must be a name", "must be a string"];
        let texts = texts.iter().any(|text| fault.detail.starts_with(text));
        match unquoted && texts && is_yaml(path) {
            true => format!("\n  {fault}, as YAML has it; put it in quotes"),
            false => format!("\n  {fault}"),
        }
    });
    let lines: String = lines.collect();
    anyhow!("{} is not a valid config:{lines}", path.display())
}

fn is_yaml(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, None | Some("yaml" | "yml"))
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::spec;
    use crate::settings::Settings;

    fn directory() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
    }

    fn settings() -> impl Iterator<Item = PathBuf> {
        let files = std::fs::read_dir(directory()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|is| is == "toml"))
    }

    /// The text beneath `heading`, of all lines that are indented as its first one is.
    fn block(text: &str, heading: &str) -> String {
        let (_, below) = text.split_once(heading).unwrap();
        let lines = below.lines().skip(1);
        let indent = |line: &str| line.len() - line.trim_start().len();
        let first = lines.clone().next().map_or(0, indent);
        let inside = lines.take_while(|line| line.is_empty() || indent(line) >= first);
        inside
            .map(|line| format!("{}\n", line.get(first..).unwrap_or_default()))
            .collect()
    }

    /// With what is commented out in it: a line whose comment begins with a key, or with what TOML is made of.
    fn whole(text: &str) -> String {
        let mut whole = String::new();
        for line in text.lines() {
            let indent = line.len() - line.trim_start().len();
            let (indent, rest) = line.split_at(indent);
            let code = |code: &&str| {
                let code = code.trim_start();
                let key = code.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
                let keyed =
                    key.len() < code.len() && (key.starts_with(" =") || key.starts_with(':'));
                keyed || code.starts_with(['[', ']', '{', '}'])
            };
            let line = match rest.strip_prefix("# ").filter(code) {
                // It is refused beside the rest.
                Some(code) if code.trim_start().starts_with("insecure:") => String::new(),
                Some(code) => format!("{indent}{code}"),
                None => line.to_owned(),
            };
            whole.push_str(&line);
            whole.push('\n');
        }
        whole
    }

    #[test]
    fn every_sample_is_valid_with_and_without_what_is_commented_out() {
        for path in settings() {
            let text = read_text(&path).unwrap();
            let name = path.display().to_string();
            let (settings, source) = Settings::parse(&name, &text).unwrap();
            settings.check(Some(&source)).unwrap();
            Settings::parse(&name, &whole(&text)).unwrap();
        }
        let text = read_text(&directory().join("routes.yaml")).unwrap();
        for text in [whole(&text), text] {
            let config: Value = serde_saphyr::from_str(&text).unwrap();
            spec::parse_config(&config).unwrap();
        }
    }

    #[test]
    fn the_settings_within_the_kubernetes_sample_are_valid_for_each_voter() {
        let sample = read_text(&directory().join("kubernetes/synod.yaml")).unwrap();
        let text = block(&sample, "synod.toml: |");
        for node in ["synod-0", "synod-1", "synod-2"] {
            let (mut settings, source) = Settings::parse("synod.toml", &text).unwrap();
            settings.node = node.to_owned();
            settings.check(Some(&source)).unwrap();
        }
    }
}
