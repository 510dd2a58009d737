//! What is deployed beside nodes fits what they do.

use std::collections::BTreeSet;
use std::path::Path;

use synod::client::Call;

use crate::harness::Cluster;

/// The names of metrics in `text`, histograms by the name they are declared under.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    text.split(|c| !is_of_name(c))
        .filter(|word| word.starts_with("synod_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect()
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_nodes_have() {
    let cluster = Cluster::start(1);
    let answer = cluster.call(0, Call::get("/metrics")).body;
    let text = answer.as_str().expect("metrics are text");
    let declared = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some(match kind {
            "counter" if !name.ends_with("_total") => format!("{name}_total"),
            _ => name.to_owned(),
        })
    });
    let declared: BTreeSet<String> = declared.collect();
    for file in ["alerts.yaml", "grafana.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("config")
            .join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let asked = metrics(&text);
        assert!(!asked.is_empty(), "{file} asks for nothing");
        let unknown: Vec<_> = asked
            .iter()
            .filter(|name| !declared.contains(**name))
            .collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}
