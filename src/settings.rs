//! This node's own file: addresses, data directory, timers. Never replicated.
//!
//! Reading is strict: an unknown key, a wrong type or an address that would be unsafe is a fault, and all faults are
//! told at once, each with the line it stands on. Flags override the file (see [`crate::cli`]); every key has a
//! default, so an empty file is a working one-voter node.

mod access;
mod check;
mod fault;
mod reader;
mod tls;
mod tracing;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Address, Network};
use crate::telemetry::access_log::Format;
pub use access::{Access, Certified, Role, Token};
pub(crate) use check::{NAME, is_name};
pub use fault::{Fault, SettingsError, Source};
pub(crate) use reader::{PEER_ADDRESS, peer_address};
pub use tls::{BackendTls, CertificateFiles, ClientCertificates, PeerTls, Tls, TlsVersion};
pub use tracing::Tracing;

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
    /// What they look like.
    pub access_log_format: Format,
    /// Addresses on which traffic is accepted.
    pub listeners: Vec<Listener>,
    /// The admin API.
    pub admin: SocketAddr,
    /// How the admin API is served with TLS; none: in plaintext.
    pub admin_tls: Option<Tls>,
    /// Who may use it.
    pub access: Access,
    /// Where other nodes reach this one's Paxos group.
    pub peer: SocketAddr,
    /// The certificates that nodes show each other; none: plaintext.
    pub peer_tls: Option<PeerTls>,
    /// The peer address told to others, where it differs from the bound one. The first voters need none: they find
    /// each other by the list.
    pub advertise: Option<Address>,
    /// The explicit word that admin and peer may leave loopback in plaintext.
    pub allow_plaintext: bool,
    /// The first voters and their peer addresses, names resolved anew whenever one is called; empty: a new one-voter
    /// cluster.
    pub voters: BTreeMap<String, Address>,
    /// Peer addresses of voters of an existing cluster, which this node follows without a vote; empty: it founds one.
    pub join: Vec<Address>,
    /// Timers of the Paxos group.
    pub consensus: Consensus,
    /// Timers of the client side of the data plane.
    pub timeouts: Timeouts,
    /// What the data plane takes as a whole.
    pub limits: Limits,
    /// What pools that speak TLS to their backends name.
    pub backend_tls: BackendTls,
    /// Whether and how requests are traced.
    pub tracing: Option<Tracing>,
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
    /// Networks whose word for their clients is taken: `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, `Client-Cert`, and
    /// `Synod-Min-Revision`.
    pub trusted: Vec<Network>,
    /// Whether answers carry `Synod-Revision`.
    pub revision_header: bool,
    /// Whether requests go on with `Forwarded` (RFC 7239) too.
    pub forwarded_header: bool,
    /// Whether requests go on with `X-Real-IP` too: whom this proxy takes for the client.
    pub real_ip_header: bool,
    /// Whether requests go on with `Client-Cert` (RFC 9440): what a client that is not trusted showed in the handshake.
    pub client_cert_header: bool,
    /// Whether connections from the trusted networks begin with a PROXY header, version 1 or 2.
    pub proxy_protocol: bool,
    /// What is spoken beneath HTTP; none: nothing.
    pub tls: Option<Tls>,
}

/// Timers of the Paxos group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consensus {
    /// Time between a leader's heartbeats.
    pub heartbeat: Duration,
    /// Shortest silence of a leader after which another stands.
    pub election_timeout: Duration,
    /// A checkpoint is taken when so many commands were applied since the last,
    pub checkpoint_commands: usize,
    /// or so many MiB of them.
    pub checkpoint_mib: usize,
}

/// Timers of the client side of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request head to arrive.
    pub client_headers: Duration,
    /// An idle client connection is kept this long.
    pub keep_alive: Duration,
    /// At a stop, how long readiness fails before the listeners close, so that who polls it sends traffic elsewhere.
    pub grace: Duration,
    /// For requests in flight, behind that.
    pub drain: Duration,
}

/// What the data plane of this node takes as a whole; without limit unless said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight, a tunnel (WebSocket) for as long as it lasts, but no copies for a mirror. More are answered
    /// 503; from nine tenths on, `/readyz` fails.
    pub requests: Option<u32>,
    /// Connections of clients. More wait until they are accepted.
    pub connections: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            node: "synod".into(),
            data: "synod-data".into(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            access_log: None,
            access_log_format: Format::default(),
            listeners: vec![Listener::at(loopback(8080))],
            admin: loopback(9900),
            admin_tls: None,
            access: Access::default(),
            peer: loopback(9901),
            peer_tls: None,
            advertise: None,
            allow_plaintext: false,
            voters: BTreeMap::new(),
            join: Vec::new(),
            consensus: Consensus {
                heartbeat: Duration::from_millis(100),
                election_timeout: Duration::from_secs(1),
                checkpoint_commands: 10_000,
                checkpoint_mib: 64,
            },
            timeouts: Timeouts {
                client_headers: Duration::from_secs(10),
                keep_alive: Duration::from_secs(75),
                grace: Duration::from_millis(200),
                drain: Duration::from_secs(30),
            },
            limits: Limits::default(),
            backend_tls: BackendTls::default(),
            tracing: None,
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
            forwarded_header: false,
            real_ip_header: false,
            client_cert_header: false,
            proxy_protocol: false,
            tls: None,
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
    fn what_is_not_said_is_as_documented() {
        let Settings {
            timeouts, limits, ..
        } = Settings::default();
        let expected = Timeouts {
            client_headers: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            grace: Duration::from_millis(200),
            drain: Duration::from_secs(30),
        };
        assert_eq!(timeouts, expected);
        assert_eq!((limits.requests, limits.connections), (None, None));
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
        assert_eq!(
            keys(open),
            ["admin.address", "admin.address", "peer.address"]
        );
        assert_eq!(keys(&format!("allow_plaintext = true\n{open}")), [""; 0]);
    }

    #[test]
    fn the_admin_api_leaves_loopback_encrypted_and_for_those_who_are_named() {
        let open = "[admin]\naddress = \"10.0.0.1:9900\"\n";
        let tls = "[admin.tls]\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }]\n";
        let hash = "0123456789abcdef".repeat(4);
        let token = |name: &str| {
            format!("{{ name = \"{name}\", role = \"operator\", sha256 = \"{hash}\" }}")
        };
        let tokens = format!("tokens = [{}]\n", token("deploy"));
        assert_eq!(keys(open), ["admin.address"; 2]);
        assert_eq!(keys(&format!("{open}{tls}")), ["admin.address"]);
        assert_eq!(keys(&format!("{open}{tokens}")), ["admin.address"]);
        assert_eq!(keys(&format!("{open}{tokens}{tls}")), [""; 0]);
        assert_eq!(keys(&format!("allow_plaintext = true\n{open}")), [""; 0]);
        let (settings, _) = Settings::parse("", &format!("{open}{tokens}")).unwrap();
        let [ref deploy] = settings.access.tokens[..] else {
            panic!("one token was named");
        };
        assert_eq!(
            (deploy.name.as_str(), deploy.role),
            ("deploy", Role::Operator)
        );
        assert_eq!(deploy.sha256[..4], [0x01, 0x23, 0x45, 0x67]);
        let twice = format!("[admin]\ntokens = [{}, {}]\n", token("a"), token("a"));
        assert_eq!(keys(&twice), ["admin.tokens"]);
        let clients = "clients = [{ name = \"ci.example\", role = \"viewer\" }]\n";
        assert_eq!(keys(&format!("[admin]\n{clients}")), ["admin.clients"]);
        let asking = format!("[admin]\n{clients}{tls}client_ca = \"ca.pem\"\n");
        assert_eq!(keys(&asking), [""; 0]);
    }

    #[test]
    fn who_may_use_the_admin_api_is_read_strictly() {
        for (line, key) in [
            ("tokens = \"a\"", "tokens"),
            ("tokens = [\"a\"]", "tokens[0]"),
            ("tokens = [{ name = \"a\", role = \"admin\" }]", "tokens[0]"),
            (
                "tokens = [{ name = \"a\", role = \"root\", sha256 = \"HASH\" }]",
                "tokens[0].role",
            ),
            (
                "tokens = [{ name = \"a b\", role = \"admin\", sha256 = \"HASH\" }]",
                "tokens[0].name",
            ),
            (
                "tokens = [{ name = \"a\", role = \"admin\", sha256 = \"+1\" }]",
                "tokens[0].sha256",
            ),
            (
                "tokens = [{ name = \"a\", role = \"admin\", sha256 = \"HASH\", token = \"\" }]",
                "tokens[0].token",
            ),
            ("clients = [{ name = \"a\" }]", "clients[0]"),
        ] {
            let line = line.replace("HASH", &"0f".repeat(32));
            let text = format!("[admin]\n{line}\n");
            assert_eq!(keys(&text), [format!("admin.{key}")], "{line}");
        }
    }

    #[test]
    fn peers_leave_loopback_with_certificates_or_the_explicit_word() {
        let tls = "[peer.tls]\nca = \"ca.pem\"\ncert = \"a.pem\"\nkey = \"a.key\"\n";
        let open = "[peer]\naddress = \"10.0.0.1:9901\"\n";
        assert_eq!(keys(&format!("{open}{tls}")), [""; 0]);
        let join = "join = [\"10.0.0.2:9901\"]\n";
        assert_eq!(keys(join), ["join"]);
        assert_eq!(keys(&format!("{join}{tls}")), [""; 0]);
        assert_eq!(keys(&format!("allow_plaintext = true\n{join}")), [""; 0]);
        let named = "join = [\"a.internal:9901\", \"localhost:9911\"]\n";
        assert_eq!(keys(named), ["join"]);
        assert_eq!(keys(&format!("{named}{tls}")), [""; 0]);
        let voters = "[voters]\nsynod = \"10.0.0.1:9901\"\n";
        assert_eq!(keys(voters), ["voters"]);
        assert_eq!(keys(&format!("{voters}{tls}")), [""; 0]);
        for (line, key) in [
            ("cert = 1", "peer.tls.cert"),
            ("ciphers = \"\"", "peer.tls.ciphers"),
        ] {
            let tls = tls.replace("cert = \"a.pem\"", line);
            let missing = line.starts_with("ciphers").then_some("peer.tls");
            let expected: Vec<&str> = missing.into_iter().chain([key]).collect();
            assert_eq!(keys(&tls), expected, "{line}");
        }
    }

    #[test]
    fn voters_must_name_this_node_once_and_be_odd() {
        let text = "node = \"x\"\n[voters]\na = \"127.0.0.1:1\"\nb = \"127.0.0.1:1\"\n";
        assert_eq!(keys(text), ["voters"; 3]);
    }

    #[test]
    fn a_node_founds_or_joins_and_not_itself() {
        let join = "join = [\"127.0.0.1:9911\"]\n";
        assert_eq!(keys(join), [""; 0]);
        let both = format!("node = \"a\"\n{join}[voters]\na = \"127.0.0.1:9901\"\n");
        assert_eq!(keys(&both), ["join"]);
        assert_eq!(keys("join = [\"127.0.0.1:9901\"]"), ["join"]);
        let all = "join = [\"127.0.0.1:9901\", \"127.0.0.1:9911\"]";
        assert_eq!(keys(all), [""; 0], "one file for all nodes");
        for nowhere in ["here", "127.0.0.1:0", "unix:/run/a.sock"] {
            assert_eq!(
                keys(&format!("join = [{nowhere:?}]")),
                ["join"],
                "{nowhere}"
            );
        }
        assert_eq!(keys("join = \"127.0.0.1:9911\""), ["join"]);
    }

    #[test]
    fn a_proxy_header_is_taken_from_trusted_networks_only() {
        let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";
        assert_eq!(keys(listener), ["listeners[0].proxy_protocol"]);
        assert_eq!(
            keys(&format!("{listener}trusted = [\"10.0.0.0/8\"]\n")),
            [""; 0]
        );
    }

    #[test]
    fn broken_toml_shows_where() {
        let error = Settings::parse("synod.toml", "node = \n").unwrap_err();
        assert!(error.to_string().contains("synod.toml:1"), "{error}");
    }

    #[test]
    fn tls_needs_certificates_and_is_read_strictly() {
        let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.tls]\n";
        let faults = |tls: &str| keys(&format!("{listener}{tls}"));
        let at = |key: &str| format!("listeners[0].tls{key}");
        let pair = "certificates = [{ cert = \"a.pem\", key = \"a.key\" }]\n";
        assert_eq!(faults(pair), [""; 0]);
        assert_eq!(faults(""), [at("")]);
        assert_eq!(faults("certificates = []"), [at(".certificates")]);
        assert_eq!(faults("certificates = \"a.pem\""), [at(".certificates")]);
        assert_eq!(
            faults("certificates = [{ cert = \"a.pem\" }]"),
            [at(".certificates[0]")]
        );
        for (line, key) in [
            ("min_version = 1.2", ".min_version"),
            ("min_version = \"1.1\"", ".min_version"),
            ("client_certificates = \"required\"", ".client_certificates"),
            ("client_ca = 1", ".client_ca"),
            ("alpn = [\"spdy\"]", ".alpn"),
            ("ciphers = \"\"", ".ciphers"),
        ] {
            assert_eq!(faults(&format!("{pair}{line}")), [at(key)], "{line}");
        }
    }

    /// A client that offers none of them is refused, and some offer what they have spoken for ever.
    #[test]
    fn whatever_version_of_http_is_served_is_offered() {
        let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.tls]\n\
                    certificates = [{ cert = \"a.pem\", key = \"a.key\" }]\n";
        let (settings, _) = Settings::parse("synod.toml", text).unwrap();
        let tls = settings.listeners[0].tls.as_ref().unwrap();
        assert_eq!(tls.alpn, ["h2", "http/1.1", "http/1.0"]);
    }

    #[test]
    fn a_client_authority_demands_certificates_unless_they_are_optional() {
        for (line, expected) in [
            ("", ClientCertificates::Required("ca.pem".into())),
            (
                "client_certificates = \"optional\"",
                ClientCertificates::Optional("ca.pem".into()),
            ),
        ] {
            let text = format!(
                "[[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.tls]\nclient_ca = \"ca.pem\"\n{line}\n\
                 certificates = [{{ cert = \"a.pem\", key = \"a.key\" }}]\n"
            );
            let (settings, _) = Settings::parse("synod.toml", &text).unwrap();
            let tls = settings.listeners[0].tls.as_ref().unwrap();
            assert_eq!(tls.clients, expected);
        }
    }

    #[test]
    fn certificates_of_clients_are_told_only_where_they_are_asked_for() {
        let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"\nclient_cert_header = true\n";
        let pair = "[listeners.tls]\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }]\n";
        for (rest, told) in [
            (String::new(), false),
            (pair.to_owned(), false),
            (format!("{pair}client_ca = \"ca.pem\""), true),
        ] {
            match Settings::parse("synod.toml", &format!("{listener}{rest}")) {
                Ok((settings, _)) => assert!(told && settings.listeners[0].client_cert_header),
                Err(error) => assert!(!told && error.to_string().contains("client_ca"), "{error}"),
            }
        }
    }

    #[test]
    fn what_pools_name_for_tls_is_read_strictly() {
        let good = "[backend_tls.authorities]\ninternal = \"ca.pem\"\n\
                    [backend_tls.certificates]\nmesh = { cert = \"a.pem\", key = \"a.key\" }\n";
        let (settings, _) = Settings::parse("synod.toml", good).unwrap();
        let tls = settings.backend_tls;
        assert_eq!(tls.authorities["internal"], PathBuf::from("ca.pem"));
        assert_eq!(tls.certificates["mesh"].key, PathBuf::from("a.key"));
        for (text, key) in [
            ("[backend_tls]\nca = \"ca.pem\"", "backend_tls.ca"),
            (
                "[backend_tls.authorities]\nsystem = \"ca.pem\"",
                "backend_tls.authorities.system",
            ),
            (
                "[backend_tls.authorities]\n\"-x\" = \"ca.pem\"",
                "backend_tls.authorities.-x",
            ),
            (
                "[backend_tls.authorities]\na = 1",
                "backend_tls.authorities.a",
            ),
            (
                "[backend_tls.certificates]\nmesh = \"a.pem\"",
                "backend_tls.certificates.mesh",
            ),
            (
                "[backend_tls.certificates]\nmesh = { cert = \"a.pem\" }",
                "backend_tls.certificates.mesh",
            ),
        ] {
            assert_eq!(keys(text), [key], "{text}");
        }
    }
}
