//! How a pool speaks TLS to its backends.

use serde::{Serialize, Serializer};

use super::Name;

/// How a pool speaks TLS to its backends. Certificates are verified unless the word against it is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct BackendTls {
    /// Who may vouch for a backend's certificate.
    #[serde(flatten)]
    pub trust: Trust,
    /// What a backend is asked to be (SNI); the host of its address unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// What its certificate must be valid for, one of these; what it is asked to be unless said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The certificate to show, by its name in each node's settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Name>,
    /// Lower versions are refused.
    pub min_version: TlsVersion,
}

/// Who may vouch for a backend's certificate. Written `"ca": ...` or `"insecure": true`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Authorities.
    Ca(Authority),
    /// Nobody need vouch: the explicit word.
    Insecure(Yes),
}

/// Always true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Yes;

impl Serialize for Yes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

/// Where authorities are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// Each machine trusts them.
    System,
    /// In each node's settings, under this name.
    Named(Name),
    /// Here, as PEM text.
    Pem(String),
}

impl Authority {
    /// The word for those of the machine.
    pub const SYSTEM: &str = "system";
}

impl Serialize for Authority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::System => serializer.serialize_str(Self::SYSTEM),
            Self::Named(name) => name.serialize(serializer),
            Self::Pem(text) => serializer.serialize_str(text),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum TlsVersion {
    /// 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}
