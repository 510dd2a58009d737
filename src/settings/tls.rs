//! The `tls` table, wherever something is served with it, and what pools name to connect with TLS.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::check::{NAME, is_name};
use super::reader::{Reader, Section};

/// How something is served with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first goes to clients that ask for no name, or for one that nobody has.
    pub certificates: Vec<CertificateFiles>,
    /// Lower ones are refused.
    pub min_version: TlsVersion,
    /// Whether clients are asked for certificates.
    pub clients: ClientCertificates,
    /// Protocols offered by ALPN, the preferred one first.
    pub alpn: Vec<String>,
}

/// A certificate chain and its private key, PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What nodes show each other, PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerTls {
    /// The authority that issues the certificates of all nodes, and nobody else's.
    pub ca: PathBuf,
    /// This node's certificate: its name is among the DNS names.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What pools that speak TLS to their backends name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTls {
    /// PEM files of authorities, by name.
    pub authorities: BTreeMap<String, PathBuf>,
    /// Certificates to show to backends, by name.
    pub certificates: BTreeMap<String, CertificateFiles>,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    #[default]
    Tls12,
    /// 1.3.
    Tls13,
}

/// Whether clients are asked for certificates; the file holds the authorities that may have issued them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not.
    #[default]
    None,
    /// A client without one is served, one with a wrong one is not.
    Optional(PathBuf),
    /// A client without one is not served.
    Required(PathBuf),
}

const KEYS: &[&str] = &[
    "alpn",
    "certificates",
    "client_ca",
    "client_certificates",
    "min_version",
];

/// Reads the table `name` of `section`, if there is one. `protocols` are those it may offer, and does by default.
pub(super) fn read(
    reader: &mut Reader,
    section: &mut Section<'_>,
    name: &str,
    protocols: &[&str],
) -> Option<Tls> {
    let mut section = section.section(reader, name)?;
    let mut tls = Tls {
        certificates: Vec::new(),
        min_version: TlsVersion::default(),
        clients: ClientCertificates::None,
        alpn: protocols.iter().map(|name| (*name).to_owned()).collect(),
    };
    section.parsed(
        reader,
        "min_version",
        "\"1.2\" or \"1.3\"",
        &mut tls.min_version,
        |text| match text {
            "1.2" => Some(TlsVersion::Tls12),
            "1.3" => Some(TlsVersion::Tls13),
            _ => None,
        },
    );
    tls.clients = read_clients(reader, &mut section);
    let own = section.key("");
    match section.take(reader, "certificates") {
        Some((place, value)) => {
            tls.certificates = read_certificates(reader, &section, place, value);
        }
        None => {
            let key = own.trim_end_matches('.').to_owned();
            let place = reader.places.get(&key).cloned().unwrap_or_default();
            let detail = format!("no `certificates`; expected {CERTIFICATES}");
            reader.fault(key, place, detail);
        }
    }
    if let Some((place, value)) = section.take(reader, "alpn") {
        read_alpn(reader, &section, place, value, protocols, &mut tls.alpn);
    }
    section.end(reader, KEYS);
    Some(tls)
}

const CERTIFICATES: &str =
    "a list such as [{ cert = \"site.pem\", key = \"site.key\" }], with at least one";

fn read_certificates(
    reader: &mut Reader,
    section: &Section<'_>,
    place: Range<usize>,
    value: DeValue<'_>,
) -> Vec<CertificateFiles> {
    let key = section.key("certificates");
    let items = match value {
        DeValue::Array(items) if !items.is_empty() => items,
        _ => {
            reader.fault(key, place, format!("expected {CERTIFICATES}"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("{key}[{index}]");
        let place = item.span();
        let DeValue::Table(table) = item.into_inner() else {
            reader.fault(path, place, "expected a table with `cert` and `key`".into());
            continue;
        };
        let files = read_pair(reader, &path, place, table);
        found.push(files);
    }
    found
}

/// A table with `cert` and `key`.
fn read_pair(
    reader: &mut Reader,
    path: &str,
    place: Range<usize>,
    table: DeTable<'_>,
) -> CertificateFiles {
    let section = Section::new(path, table);
    let [cert, key] = read_files(reader, section, path, place, ["cert", "key"]);
    CertificateFiles { cert, key }
}

/// A table that names a PEM file by each of these keys, and nothing else.
fn read_files<const N: usize>(
    reader: &mut Reader,
    mut section: Section<'_>,
    path: &str,
    place: Range<usize>,
    keys: [&str; N],
) -> [PathBuf; N] {
    let files = keys.map(|key| {
        let mut file = PathBuf::new();
        section.parsed(reader, key, "a PEM file", &mut file, |text| {
            Some(text.into())
        });
        if file.as_os_str().is_empty() && !reader.places.contains_key(&format!("{path}.{key}")) {
            let detail = format!("this certificate has no `{key}`; expected a PEM file");
            reader.fault(path.to_owned(), place.clone(), detail);
        }
        file
    });
    section.end(reader, &keys);
    files
}

/// Reads `tls` of the section `peer`, if it is there.
pub(super) fn read_peer(reader: &mut Reader, section: &mut Section<'_>) -> Option<PeerTls> {
    let peer = section.section(reader, "tls")?;
    let path = section.key("tls");
    let place = reader.places.get(&path).cloned().unwrap_or_default();
    let [ca, cert, key] = read_files(reader, peer, &path, place, ["ca", "cert", "key"]);
    Some(PeerTls { ca, cert, key })
}

/// Reads `backend_tls`, if it is there.
pub(super) fn read_backends(reader: &mut Reader, root: &mut Section<'_>, to: &mut BackendTls) {
    let Some(mut section) = root.section(reader, "backend_tls") else {
        return;
    };
    if let Some(authorities) = section.section(reader, "authorities") {
        for (path, name, place, value) in named(reader, authorities) {
            match value.as_str() {
                _ if name == "system" => {
                    let detail = "`system` is what the machine trusts; choose another name";
                    reader.fault(path, place, detail.into());
                }
                Some(file) => drop(to.authorities.insert(name, file.into())),
                None => reader.fault(path, place, "expected a PEM file".into()),
            }
        }
    }
    if let Some(certificates) = section.section(reader, "certificates") {
        for (path, name, place, value) in named(reader, certificates) {
            let DeValue::Table(table) = value else {
                let detail = "expected a table such as { cert = \"node.pem\", key = \"node.key\" }";
                reader.fault(path, place, detail.into());
                continue;
            };
            let files = read_pair(reader, &path, place, table);
            to.certificates.insert(name, files);
        }
    }
    section.end(reader, &["authorities", "certificates"]);
}

/// Every entry of a table whose keys are names: its path, name, place and value.
fn named<'i>(
    reader: &mut Reader,
    mut section: Section<'i>,
) -> Vec<(String, String, Range<usize>, DeValue<'i>)> {
    let mut entries = Vec::new();
    for name in section.keys() {
        let path = section.key(&name);
        let Some((place, value)) = section.take(reader, &name) else {
            continue;
        };
        if is_name(&name) {
            entries.push((path, name, place, value));
        } else {
            let detail = format!("`{name}` is not a name; use {NAME}");
            reader.fault(path, place, detail);
        }
    }
    entries
}

fn read_clients(reader: &mut Reader, section: &mut Section<'_>) -> ClientCertificates {
    let mut authorities: Option<PathBuf> = None;
    section.parsed(
        reader,
        "client_ca",
        "a PEM file",
        &mut authorities,
        |text| Some(Some(text.into())),
    );
    let mut required = true;
    section.parsed(
        reader,
        "client_certificates",
        "\"required\" or \"optional\"",
        &mut required,
        |text| match text {
            "required" => Some(true),
            "optional" => Some(false),
            _ => None,
        },
    );
    let said = section.key("client_certificates");
    match (authorities, required) {
        (Some(file), true) => ClientCertificates::Required(file),
        (Some(file), false) => ClientCertificates::Optional(file),
        (None, _) => {
            let refused = reader.places.contains_key(&section.key("client_ca"));
            if let Some(place) = reader.places.get(&said).cloned()
                && !refused
            {
                let detail = "needs `client_ca`, the authorities that may have issued them";
                reader.fault(said, place, detail.into());
            }
            ClientCertificates::None
        }
    }
}

fn read_alpn(
    reader: &mut Reader,
    section: &Section<'_>,
    place: Range<usize>,
    value: DeValue<'_>,
    protocols: &[&str],
    to: &mut Vec<String>,
) {
    let names: Option<Vec<String>> = value.as_array().and_then(|items| {
        let name = |item: &toml::Spanned<DeValue<'_>>| {
            let name = item.get_ref().as_str()?;
            protocols.contains(&name).then(|| name.to_owned())
        };
        items.iter().map(name).collect()
    });
    match names {
        Some(names) => *to = names,
        None => {
            let known = protocols
                .iter()
                .map(|name| format!("{name:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            let detail = format!("expected a list of {known}");
            reader.fault(section.key("alpn"), place, detail);
        }
    }
}
