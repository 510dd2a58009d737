//! This node's own file: addresses, data directory, timers. Never replicated.
//!
//! Reading is strict: an unknown key, a wrong type or an address that would be unsafe is a fault, and all faults are
//! told at once, each with the line it stands on. Flags override the file (see [`crate::cli`]); every key has a
//! default, so an empty file is a working one-voter node.

mod check;
mod fault;
mod reader;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use fault::{Fault, SettingsError, Source};

/// Everything one node is told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node's name within the group.
    pub node: String,
    /// Directory of the log and the identity; one process at a time.
    pub data: PathBuf,
    /// Data-plane threads.
    pub threads: usize,
    /// Where access log lines go; none: no access log.
    pub access_log: Option<AccessLog>,
    /// Addresses on which traffic is accepted.
    pub listeners: Vec<Listener>,
    /// The admin API.
    pub admin: SocketAddr,
    /// Where other nodes reach this one's Paxos group.
    pub peer: SocketAddr,
    /// The peer address told to others, where it differs from the bound one. The first voters need none: they find
    /// each other by the list.
    pub advertise: Option<SocketAddr>,
    /// The explicit word that admin and peer may leave loopback in plaintext.
    pub allow_plaintext: bool,
    /// The first voters and their peer addresses; empty: a new one-voter cluster.
    pub voters: BTreeMap<String, SocketAddr>,
    /// Timers of the Paxos group.
    pub consensus: Consensus,
    /// Timers of the client side of the data plane.
    pub timeouts: Timeouts,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// One address on which traffic is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Networks whose forwarding headers (`X-Forwarded-*`, `Forwarded`) are believed.
    pub trusted: Vec<Network>,
    /// Whether answers carry `Synod-Revision`.
    pub revision_header: bool,
}

/// An address block in CIDR notation (RFC 4632).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the block.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

/// Timers of the Paxos group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consensus {
    /// Time between a leader's heartbeats.
    pub heartbeat: Duration,
    /// Shortest silence of a leader after which another stands.
    pub election_timeout: Duration,
}

/// Timers of the client side of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request head to arrive.
    pub client_headers: Duration,
    /// An idle client connection is kept this long.
    pub keep_alive: Duration,
    /// For requests in flight at a stop.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            node: "synod".into(),
            data: "synod-data".into(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            access_log: None,
            listeners: vec![Listener::at(loopback(8080))],
            admin: loopback(9900),
            peer: loopback(9901),
            advertise: None,
            allow_plaintext: false,
            voters: BTreeMap::new(),
            consensus: Consensus {
                heartbeat: Duration::from_millis(100),
                election_timeout: Duration::from_secs(1),
            },
            timeouts: Timeouts {
                client_headers: Duration::from_secs(10),
                keep_alive: Duration::from_secs(75),
                drain: Duration::from_secs(30),
            },
        }
    }
}

impl Listener {
    /// A listener with nothing but an address.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            trusted: Vec::new(),
            revision_header: false,
        }
    }
}

impl AccessLog {
    /// `-` is standard output, everything else a file.
    pub fn parse(text: &str) -> Self {
        match text {
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a network; write an address block such as 10.0.0.0/8 or ::1")
        };
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            "" if !text.contains('/') => widest,
            bits => bits.parse().map_err(|_| wrong())?,
        };
        if prefix > widest {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl Settings {
    /// Reads a settings file's text; `name` is what errors call the file.
    pub fn parse(name: &str, text: &str) -> Result<(Self, Source), SettingsError> {
        let (settings, source, faults) = reader::read(name, text);
        if faults.is_empty() {
            Ok((settings, source))
        } else {
            Err(SettingsError {
                source: Some(source),
                faults,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        let error = match Settings::parse("synod.toml", text) {
            Err(error) => error,
            Ok((settings, source)) => match settings.check(Some(&source)) {
                Err(error) => error,
                Ok(()) => return Vec::new(),
            },
        };
        error.faults.into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn an_empty_file_is_a_working_one_voter_node() {
        let (settings, source) = Settings::parse("synod.toml", "").unwrap();
        assert_eq!(settings, Settings::default());
        settings.check(Some(&source)).unwrap();
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = "nodes = 1\nthreads = \"two\"\n[admin]\naddress = \"here\"\n[consensus]\nheartbeat = 3\n";
        assert_eq!(
            keys(text),
            ["nodes", "threads", "admin.address", "consensus.heartbeat"]
        );
    }

    #[test]
    fn a_fault_shows_its_line() {
        let error = Settings::parse("synod.toml", "node = \"a\"\nlistner = 1\n").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("synod.toml:2:1"), "{text}");
        assert!(text.contains("listner = 1"), "{text}");
        assert!(text.contains("`listeners`"), "{text}");
    }

    #[test]
    fn leaving_loopback_needs_the_explicit_word() {
        let open = "[admin]\naddress = \"0.0.0.0:9900\"\n[peer]\naddress = \"10.0.0.1:9901\"\n";
        assert_eq!(keys(open), ["admin.address", "peer.address"]);
        assert_eq!(keys(&format!("allow_plaintext = true\n{open}")), [""; 0]);
    }

    #[test]
    fn voters_must_name_this_node_once_and_be_odd() {
        let text = "node = \"x\"\n[voters]\na = \"127.0.0.1:1\"\nb = \"127.0.0.1:1\"\n";
        assert_eq!(keys(text), ["voters"; 3]);
    }

    #[test]
    fn broken_toml_shows_where() {
        let error = Settings::parse("synod.toml", "node = \n").unwrap_err();
        assert!(error.to_string().contains("synod.toml:1"), "{error}");
    }

    #[test]
    fn networks_are_cidr_blocks() {
        for (text, right) in [
            ("10.0.0.0/8", true),
            ("::1", true),
            ("10.0.0.0/33", false),
            ("10.0.0.0/", false),
            ("lan", false),
        ] {
            assert_eq!(text.parse::<Network>().is_ok(), right, "{text}");
        }
    }
}
