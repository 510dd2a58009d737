//! The direction rules of the source tree, from one table that the crate docs show too.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and the other top-level modules its code may use. `telemetry` and `shutdown` are open to all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("settings", &["config"]),
    ("telemetry", &[]),
    ("shutdown", &[]),
    ("tls", &[]),
    ("config", &[]),
    ("bugs", &[]),
    ("paxos", &["bugs"]),
    ("state", &["config", "bugs"]),
    ("replication", &["paxos", "state", "config", "tls", "bugs"]),
    ("wire", &[]),
    ("backend", &["config", "wire", "tls"]),
    ("routing", &["config", "backend", "tls"]),
    ("dns", &["config", "routing", "backend"]),
    ("health", &["config", "routing", "backend", "wire", "tls"]),
    ("proxy", &["config", "routing", "backend", "wire", "tls"]),
    (
        "admin",
        &[
            "config",
            "state",
            "replication",
            "routing",
            "backend",
            "tls",
        ],
    ),
    ("client", &["config", "tls"]),
    ("cli", &["client", "config", "settings", "node"]),
];

/// Open to every module.
const OPEN: &[&str] = &["telemetry", "shutdown"];

/// Parts that must be deterministic, and what they may therefore not mention.
const PURE: &[&str] = &["config", "paxos", "state", "wire/http1"];
const IMPURE: &[&str] = &[
    "tokio::",
    "hyper::",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "rand::rng",
    "thread_rng",
    "HashMap",
    "HashSet",
];

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut faults = Vec::new();
    for (module, allowed) in MAY_USE {
        for (path, code) in sources(module) {
            for used in mentioned(&code) {
                let known = used == "node" || MAY_USE.iter().any(|(name, _)| *name == used);
                let fine = used == *module
                    || OPEN.contains(&used.as_str())
                    || allowed.contains(&used.as_str());
                if known && !fine {
                    faults.push(format!(
                        "{} uses crate::{used}; {module} may use {allowed:?}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_stands_in_the_table() {
    let lib = fs::read_to_string(source_root().join("lib.rs")).unwrap();
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .filter(|name| *name != "node")
        .collect();
    assert_eq!(declared, MAY_USE.iter().map(|(name, _)| *name).collect());
}

#[test]
fn the_crate_docs_show_the_table() {
    let lib = fs::read_to_string(source_root().join("lib.rs")).unwrap();
    for (module, allowed) in MAY_USE {
        let uses = if allowed.is_empty() {
            "-".into()
        } else {
            allowed.join(", ")
        };
        let row = format!("//! | `{module}` | {uses} |");
        assert!(lib.contains(&row), "the crate docs lack the row\n{row}");
    }
}

#[test]
fn deterministic_parts_know_no_clock_no_chance_and_no_io() {
    let mut faults = Vec::new();
    for module in PURE {
        for (path, code) in sources(module) {
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                faults.push(format!("{} mentions {word}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_edge_knows_status_codes() {
    for module in [
        "config",
        "paxos",
        "state",
        "replication",
        "backend",
        "routing",
        "health",
    ] {
        for (path, code) in sources(module) {
            assert!(
                !code.contains("StatusCode"),
                "{} knows status codes",
                path.display()
            );
        }
    }
}

/// What `rustfmt` holds code to it leaves to us in comments.
#[test]
fn no_comment_is_wider_than_its_bound() {
    const MOST: usize = 120;
    let mut faults = Vec::new();
    for folder in ["src", "tests", "benches"] {
        let mut found = Vec::new();
        every_source(&source_root().with_file_name(folder), &mut found);
        for path in found {
            let text = fs::read_to_string(&path).unwrap();
            let comments = (1..).zip(text.lines());
            let comments = comments.filter(|(_, line)| line.trim_start().starts_with("//"));
            let wide = comments.filter(|(_, line)| line.chars().count() > MOST);
            faults.extend(wide.map(|(at, _)| format!("{}:{at}", path.display())));
        }
    }
    assert!(faults.is_empty(), "more than {MOST}: {}", faults.join("\n"));
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Code of a module without its tests and comments.
fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let file = source_root().join(format!("{module}.rs"));
    if file.exists() {
        found.push(file);
    }
    gather(&source_root().join(module), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let code = code_of(&fs::read_to_string(&path).unwrap());
            (path, code)
        })
        .collect()
}

/// All sources but tests.
fn gather(folder: &Path, found: &mut Vec<PathBuf>) {
    every_source(folder, found);
    found.retain(|path| {
        let inside = path.strip_prefix(folder).unwrap_or(path);
        let tests = inside.components().any(|part| part.as_os_str() == "tests");
        !tests && !path.to_str().unwrap().ends_with("tests.rs")
    });
}

fn every_source(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("fuzz/target") => {}
            true => every_source(&path, found),
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
}

fn code_of(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn mentioned(code: &str) -> BTreeSet<String> {
    code.match_indices("crate::")
        .filter(|(at, _)| *at == 0 || !code.as_bytes()[at - 1].is_ascii_alphanumeric())
        .map(|(at, found)| {
            let rest = &code[at + found.len()..];
            rest.chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect()
        })
        .collect()
}
