//! Config files as users write them: JSON, YAML or TOML of the same shape.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use serde_saphyr::UserMessageFormatter;

use super::places::{self, Placed};
use crate::config::{Fault, Faults, Unambiguous};

/// Largest file read; the group's own bound on a config is 32 MiB.
const LIMIT: u64 = 64 << 20;

/// A config file as read, with its text: faults are told with their lines.
pub(super) struct Source {
    name: String,
    format: Format,
    text: String,
    /// What it says.
    pub(super) config: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
    Toml,
}

impl Source {
    /// Reads a config file, `-` is standard input (JSON or YAML).
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = read_text(path)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let (format, config) = match extension.unwrap_or("yaml") {
            "json" => (
                Format::Json,
                serde_json::from_str(&text)
                    .map(|Unambiguous(value)| value)
                    .map_err(|error| anyhow!("{name} is not JSON: {error}")),
            ),
            // Every JSON text is YAML too, which is what standard input is read as.
            "yaml" | "yml" => (
                Format::Yaml,
                parse_yaml(&text).map_err(|why| anyhow!("{name} is not YAML: {why}")),
            ),
            "toml" => (
                Format::Toml,
                toml::from_str(&text).map_err(|error| anyhow!("{name} is not TOML:\n{error}")),
            ),
            other => {
                bail!("{name}: `.{other}` is not known; a config file is .json, .yaml or .toml")
            }
        };
        let config = config?;
        Ok(Self {
            name,
            format,
            text,
            config,
        })
    }

    /// Every fault of it, below a line that names the file.
    pub(super) fn invalid(&self, faults: &Faults) -> anyhow::Error {
        let places = self.places();
        let lines = faults.0.iter().map(|fault| {
            let place = places.of(&fault.pointer);
            format!("\n  {fault}{}{place}", places.reading(fault))
        });
        let lines: String = lines.collect();
        anyhow!("{} is not a valid config:{lines}", self.name)
    }

    /// Where everything stands in it.
    pub(super) fn places(&self) -> Places<'_> {
        let placed = match self.format {
            Format::Json | Format::Yaml => places::of_yaml(&self.text),
            Format::Toml => places::of_toml(&self.text),
        };
        Places {
            source: self,
            placed,
        }
    }
}

/// Where everything stands in a file, read once for all faults.
pub(super) struct Places<'a> {
    source: &'a Source,
    /// `None` where the second reader does not take what the first one did.
    placed: Option<Placed>,
}

impl Places<'_> {
    /// A line for people, to stand below a fault: file, line and column of what `pointer` points to, and by which names
    /// the file calls what it is in.
    pub(super) fn of(&self, pointer: &str) -> String {
        let Source {
            name, text, config, ..
        } = self.source;
        let at = self.found(pointer).map_or_else(String::new, |at| {
            let before = &text[..at.start];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default();
            format!(":{line}:{}", column.chars().count() + 1)
        });
        let within = names(config, pointer).map_or_else(String::new, |it| format!(", in {it}"));
        match at.is_empty() && within.is_empty() {
            true => String::new(),
            false => format!("\n    at {name}{at}{within}"),
        }
    }

    /// How YAML reads what stands there, where that may surprise who wrote it.
    fn reading(&self, fault: &Fault) -> String {
        let value = self.source.config.pointer(&fault.pointer);
        let Some(value @ (Value::Bool(_) | Value::Number(_))) = value else {
            return String::new();
        };
        if self.source.format != Format::Yaml {
            return String::new();
        }
        let found = self.found(&fault.pointer);
        let written = found.and_then(|at| self.source.text.get(at)).map(str::trim);
        let read = value.to_string();
        let written = written.filter(|written| *written != read);
        let quotes = TEXTS.iter().any(|text| fault.detail.starts_with(text));
        match (written, quotes) {
            (Some(written), true) => format!(", as YAML has `{written}`; put it in quotes"),
            (Some(written), false) => format!(", as YAML has `{written}`"),
            (None, true) => ", as YAML has it; put it in quotes".to_owned(),
            (None, false) => String::new(),
        }
    }

    fn found(&self, pointer: &str) -> Option<Range<usize>> {
        let at = self.placed.as_ref()?.find(pointer)?;
        // Both readers count the bytes of this text; what they say of it is held to be within.
        self.source.text.get(at.clone()).map(|_| at)
    }
}

/// How faults begin that ask for a text.
const TEXTS: [&str; 5] = [
    "must be a name",
    "must be a string",
    "must be a host",
    "must be a method",
    "must be the name",
];

/// `pools/web/backends/b1` for a pointer into that one: the way by names to the innermost thing that has one.
fn names(config: &Value, pointer: &str) -> Option<String> {
    let (mut here, mut way, mut named) = (config, Vec::new(), 0);
    for token in pointer.split('/').skip(1) {
        let (name, below) = match here {
            Value::Array(items) => {
                let item = items.get(token.parse::<usize>().ok()?)?;
                let name = ["name", "id"].iter().find_map(|name| item[*name].as_str());
                (name.map(ToOwned::to_owned), item)
            }
            other => {
                let token = token.replace("~1", "/").replace("~0", "~");
                let Some(field) = other.get(&token) else {
                    break;
                };
                (Some(token), field)
            }
        };
        let Some(name) = name else { break };
        way.push(name);
        if here.is_array() {
            named = way.len();
        }
        here = below;
    }
    (named > 0).then(|| way[..named].join("/"))
}

/// Reads YAML; why it is none, in words for who wrote it.
pub(super) fn parse_yaml(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text)
        .map_err(|error: serde_saphyr::Error| error.render_with_formatter(&UserMessageFormatter))
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
