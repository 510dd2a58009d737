//! What no single key can tell: checked over the whole, after flags have been applied.

use std::collections::{BTreeMap, BTreeSet};

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
                format!("`{}` is not a node name; use {NAME}", self.node),
            );
        }
        if !self.allow_plaintext {
            self.check_plaintext(&mut fault);
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
        for (index, listener) in self.listeners.iter().enumerate() {
            if listener.proxy_protocol && listener.trusted.is_empty() {
                fault(
                    &format!("listeners[{index}].proxy_protocol"),
                    "nobody would be believed; name the proxies in front in `trusted`".into(),
                );
            }
        }
        self.check_access(&mut fault);
        if !self.voters.is_empty() {
            self.check_voters(&mut fault);
        }
        if !self.join.is_empty() {
            self.check_join(&mut fault);
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
        let thresholds = [
            ("checkpoint_commands", self.consensus.checkpoint_commands),
            ("checkpoint_mib", self.consensus.checkpoint_mib),
        ];
        for (name, threshold) in thresholds {
            if threshold == 0 {
                let why = "must be 1 at least: a checkpoint needs something to sum up".into();
                fault(&format!("consensus.{name}"), why);
            }
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

    fn check_access(&self, fault: &mut impl FnMut(&str, String)) {
        let asks = |tls: &super::Tls| tls.clients != super::ClientCertificates::None;
        if !self.access.clients.is_empty() && !self.admin_tls.as_ref().is_some_and(asks) {
            let detail = "nobody is asked for a certificate; name the authority of theirs with `client_ca` in `[admin.tls]`";
            fault("admin.clients", detail.into());
        }
        let mut names = BTreeSet::new();
        for token in &self.access.tokens {
            if !names.insert(&token.name) {
                let detail = format!(
                    "two are named `{}`, and history could not tell them apart",
                    token.name
                );
                fault("admin.tokens", detail);
            }
        }
    }

    /// What leaves loopback and is not encrypted, or for anybody.
    fn check_plaintext(&self, fault: &mut impl FnMut(&str, String)) {
        const WORD: &str =
            "or say `allow_plaintext = true` (--allow-plaintext) if the network is yours alone";
        let admin = self.admin;
        if !admin.ip().is_loopback() && self.admin_tls.is_none() {
            let detail = format!(
                "{admin} is not loopback and would be open in plaintext; use a loopback address, \
                 give it a certificate with `[admin.tls]`, {WORD}"
            );
            fault("admin.address", detail);
        }
        if !admin.ip().is_loopback() && self.access.is_open() {
            let detail = format!(
                "{admin} is not loopback, and anybody could change everything; name who may with `tokens` \
                 (`synod token` makes one) or `clients`, {WORD}"
            );
            fault("admin.address", detail);
        }
        if self.peer_tls.is_some() {
            return;
        }
        let voters = self.voters.values().map(|address| ("voters", address));
        let join = self.join.iter().map(|address| ("join", address));
        for (key, address) in [("peer.address", &self.peer.into())]
            .into_iter()
            .chain(voters)
            .chain(join)
        {
            if !address.is_local() {
                let detail = format!(
                    "{address} is not loopback, and nodes would speak in plaintext; give them certificates with \
                     `[peer.tls]` (`synod cert` makes some), {WORD}"
                );
                fault(key, detail);
            }
        }
    }

    fn check_join(&self, fault: &mut impl FnMut(&str, String)) {
        if !self.voters.is_empty() {
            let detail = "a node founds a cluster with its voters or joins one, not both; \
                          leave out `join` (--join) or `voters` (--voter)";
            fault("join", detail.into());
        }
        // Among others it may stand: one file for all nodes names them all.
        let own = self.peer.into();
        if self.join.iter().all(|address| *address == own) {
            let detail = format!("{own} is this node's own peer address; name that of a voter");
            fault("join", detail);
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
            if let Some(other) = seen.insert(address, name) {
                fault(
                    "voters",
                    format!("{other} and {name} are both at {address}"),
                );
            }
        }
    }
}

/// What a name is.
pub(crate) const NAME: &str = "1 to 63 of A-Z a-z 0-9 _ . -, beginning with a letter, digit or _";

pub(crate) fn is_name(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| first(byte) || byte == b'.' || byte == b'-';
    (1..=63).contains(&text.len()) && first(text.as_bytes()[0]) && text.bytes().all(rest)
}
