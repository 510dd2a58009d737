//! What no single key can tell: checked over the whole, after flags have been applied.

use std::collections::BTreeMap;

use super::{Fault, Settings, SettingsError, Source};

impl Settings {
    /// Checks what no single key can tell: run after flags have been applied.
    pub fn check(&self, source: Option<&Source>) -> Result<(), SettingsError> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, detail: String| {
            faults.push(Fault {
                key: key.into(),
                detail,
                place: source.and_then(|source| source.places.get(key).cloned()),
            });
        };
        if !is_name(&self.node) {
            fault(
                "node",
                format!(
                    "`{}` is not a node name; use 1 to 63 of A-Z a-z 0-9 _ . -, beginning with a letter, digit or _",
                    self.node
                ),
            );
        }
        for (key, address) in [("admin.address", self.admin), ("peer.address", self.peer)] {
            if !address.ip().is_loopback() && !self.allow_plaintext {
                fault(
                    key,
                    format!(
                        "{address} is not loopback and would be open in plaintext; use a loopback address, \
                         or say `allow_plaintext = true` (--allow-plaintext) if the network is yours alone"
                    ),
                );
            }
        }
        if self.threads == 0 || self.threads > 1024 {
            fault(
                "threads",
                format!("{} threads; use 1 to 1024", self.threads),
            );
        }
        if self.listeners.is_empty() {
            fault("listeners", "no listener; name at least one address".into());
        }
        if !self.voters.is_empty() {
            self.check_voters(&mut fault);
        }
        if self.consensus.heartbeat.is_zero()
            || self.consensus.election_timeout < 3 * self.consensus.heartbeat
        {
            fault(
                "consensus.election_timeout",
                "must be at least three heartbeats, or a single lost message causes an election"
                    .into(),
            );
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(SettingsError {
                source: source.cloned(),
                faults,
            })
        }
    }

    fn check_voters(&self, fault: &mut impl FnMut(&str, String)) {
        if !matches!(self.voters.len(), 1 | 3 | 5) {
            fault(
                "voters",
                format!(
                    "{} voters; a group is founded with 1, 3 or 5",
                    self.voters.len()
                ),
            );
        }
        let names: Vec<&str> = self.voters.keys().map(String::as_str).collect();
        if !self.voters.contains_key(&self.node) {
            fault(
                "voters",
                format!(
                    "this node is `{}`, which is not among the voters {}; name it with --node NAME",
                    self.node,
                    names.join(", ")
                ),
            );
        }
        for name in names.iter().filter(|name| !is_name(name)) {
            fault("voters", format!("`{name}` is not a node name"));
        }
        let mut seen = BTreeMap::new();
        for (name, address) in &self.voters {
            if address.port() == 0 {
                fault(
                    "voters",
                    format!("{name} has port 0; the others could not find it"),
                );
            }
            if let Some(other) = seen.insert(address, name) {
                fault(
                    "voters",
                    format!("{other} and {name} are both at {address}"),
                );
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| first(byte) || byte == b'.' || byte == b'-';
    (1..=63).contains(&text.len()) && first(text.as_bytes()[0]) && text.bytes().all(rest)
}
