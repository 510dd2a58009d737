//! Cross-origin resource sharing (the Fetch standard, 3.2): which scripts of other origins may read a route's answers.

use std::time::Duration;

use serde::Serialize;

use crate::config::friendly;

/// Which scripts of other origins may use a route, and how. The proxy answers their preflights, and what backends say
/// of the matter is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// Where the scripts come from.
    pub origins: Vec<Origin>,
    /// Methods they may use. GET, HEAD and POST unless said.
    pub methods: Vec<String>,
    /// Header fields they may send besides the harmless ones.
    pub headers: Vec<String>,
    /// Header fields of answers they may read besides the harmless ones.
    pub expose: Vec<String>,
    /// Whether they may send cookies and other credentials. Not unless said.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight. 5 s unless said, as browsers have it.
    #[serde(serialize_with = "friendly::serialize")]
    pub max_age: Duration,
}

impl Cors {
    /// Whether scripts of `origin`, as in the Origin field, may use the route.
    pub fn admits(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known.holds(origin))
    }

    /// Whether a request of `method` is a preflight, which the proxy answers, if it comes from a script.
    pub fn is_preflight(method: &str, names_method: bool) -> bool {
        method == "OPTIONS" && names_method
    }

    /// Whether all may, and no answer differs by origin.
    pub fn is_for_all(&self) -> bool {
        self.origins.contains(&Origin::Any) && !self.credentials
    }
}

/// An origin, or a pattern of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`: every one.
    Any,
    /// `https://shop.example`, `https://shop.example:8443`; scheme and host in lower case.
    One(String),
    /// `https://*.example`: scheme with `://`, and what the host and port end in, with the dot before it.
    Below(String, String),
}

impl Origin {
    fn holds(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one.eq_ignore_ascii_case(origin),
            Self::Below(scheme, suffix) => {
                let origin = origin.to_ascii_lowercase();
                let host = origin.strip_prefix(scheme.as_str());
                let label = host.and_then(|host| host.strip_suffix(suffix.as_str()));
                label.is_some_and(|label| !label.is_empty() && !label.contains(['/', ':', '@']))
            }
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(one) => f.write_str(one),
            Self::Below(scheme, suffix) => write!(f, "{scheme}*{suffix}"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_holds_itself_or_what_is_below_it() {
        let one = Origin::One("https://shop.example".into());
        let below = Origin::Below("https://".into(), ".example:8443".into());
        for (known, origin, holds) in [
            (&Origin::Any, "null", true),
            (&one, "https://Shop.example", true),
            (&one, "http://shop.example", false),
            (&one, "https://shop.example:443", false),
            (&one, "https://shop.example.evil", false),
            (&below, "https://a.b.Example:8443", true),
            (&below, "https://example:8443", false),
            (&below, "https://.example:8443", false),
            (&below, "https://a.example", false),
            (&below, "https://evil/.example:8443", false),
            (&below, "https://evil:1@a.example:8443", false),
        ] {
            assert_eq!(known.holds(origin), holds, "{known} {origin}");
        }
    }
}
