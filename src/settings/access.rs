//! Who may use the admin API: `tokens` and `clients` of the section `admin`.

use std::ops::Range;

use toml::de::DeValue;

use super::check::{NAME, is_name};
use super::reader::{Reader, Section};

/// What somebody may do; each may what the ones before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Change the config.
    Operator,
    /// Change the membership.
    Admin,
}

/// A token that the admin API accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its bearer, for the history.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
}

/// A certificate that the admin API accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// A DNS name in it.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
}

/// All who may use the admin API; nobody: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Bearers of tokens.
    pub tokens: Vec<Token>,
    /// Bearers of certificates.
    pub clients: Vec<Certified>,
}

impl Access {
    /// Whether nobody is named.
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.clients.is_empty()
    }
}

const ROLES: &str = "\"viewer\", \"operator\" or \"admin\"";

pub(super) fn read(reader: &mut Reader, section: &mut Section<'_>) -> Access {
    let mut access = Access::default();
    let (key, list) = (section.key("tokens"), section.take(reader, "tokens"));
    let expected = "a list such as [{ name = \"deploy\", role = \"operator\", sha256 = \"...\" }]; `synod token` makes one";
    for (path, place, mut entry) in tables(reader, &key, list, expected) {
        let mut sha256 = None;
        let hash = "64 hex digits, the SHA-256 of the token";
        entry.parsed(reader, "sha256", hash, &mut sha256, |text| {
            unhex(text).map(Some)
        });
        let (name, role) = read_holder(reader, &mut entry, &path, &place, is_name, NAME);
        let misses = sha256.is_none() && !reader.places.contains_key(&format!("{path}.sha256"));
        if misses {
            reader.fault(path, place, format!("has no `sha256`; expected {hash}"));
        }
        entry.end(reader, &["name", "role", "sha256"]);
        if let (Some(role), Some(sha256)) = (role, sha256) {
            access.tokens.push(Token { name, role, sha256 });
        }
    }
    let (key, list) = (section.key("clients"), section.take(reader, "clients"));
    let expected = "a list such as [{ name = \"ci.example\", role = \"viewer\" }]";
    for (path, place, mut entry) in tables(reader, &key, list, expected) {
        let named = |name: &str| !name.is_empty();
        let dns = "a DNS name in the certificate";
        let (name, role) = read_holder(reader, &mut entry, &path, &place, named, dns);
        entry.end(reader, &["name", "role"]);
        if let Some(role) = role {
            access.clients.push(Certified { name, role });
        }
    }
    access
}

/// Every table of a list, with its path and place.
fn tables<'i>(
    reader: &mut Reader,
    key: &str,
    list: Option<(Range<usize>, DeValue<'i>)>,
    expected: &str,
) -> Vec<(String, Range<usize>, Section<'i>)> {
    let items = match list {
        None => return Vec::new(),
        Some((_, DeValue::Array(items))) => items,
        Some((place, _)) => {
            reader.fault(key.to_owned(), place, format!("expected {expected}"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let (path, place) = (format!("{key}[{index}]"), item.span());
        match item.into_inner() {
            DeValue::Table(table) => found.push((path.clone(), place, Section::new(&path, table))),
            _ => reader.fault(path, place, "expected a table".into()),
        }
    }
    found
}

/// Name and role of one entry.
fn read_holder(
    reader: &mut Reader,
    entry: &mut Section<'_>,
    path: &str,
    place: &Range<usize>,
    fits: fn(&str) -> bool,
    expected: &str,
) -> (String, Option<Role>) {
    let (mut name, mut role) = (None, None);
    entry.parsed(reader, "name", expected, &mut name, |text| {
        fits(text).then(|| Some(text.to_owned()))
    });
    entry.parsed(reader, "role", ROLES, &mut role, |text| {
        Some(Some(match text {
            "viewer" => Role::Viewer,
            "operator" => Role::Operator,
            "admin" => Role::Admin,
            _ => return None,
        }))
    });
    for (key, missing, expected) in [
        ("name", name.is_none(), expected),
        ("role", role.is_none(), ROLES),
    ] {
        if missing && !reader.places.contains_key(&format!("{path}.{key}")) {
            let detail = format!("has no `{key}`; expected {expected}");
            reader.fault(path.to_owned(), place.clone(), detail);
        }
    }
    (name.unwrap_or_default(), role)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}
