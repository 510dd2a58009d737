//! Host patterns of a route: an exact name, or `*.` and a name. Lower case, checked as DNS names or IP addresses.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::limits;

/// Which hosts a route answers for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host alone, lower case, without port; an IPv6 address in brackets.
    Exact(Arc<str>),
    /// Every host that ends in a dot and this, so one label more at least: `*.example.com` holds `example.com`.
    Wildcard(Arc<str>),
}

impl HostPattern {
    /// Reads `shop.example`, `*.example`, `192.0.2.1` or `[2001:db8::1]`; the error says what would be right.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let lower = text.to_ascii_lowercase();
        if let Some(suffix) = lower.strip_prefix("*.") {
            dns_name(suffix)?;
            if suffix.parse::<Ipv4Addr>().is_ok() {
                return Err("must be a DNS name behind `*.`, not an IP address");
            }
            return Ok(Self::Wildcard(suffix.into()));
        }
        let bare = lower
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(&lower);
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            return Ok(Self::Exact(format!("[{address}]").into()));
        }
        dns_name(&lower)?;
        Ok(Self::Exact(lower.into()))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A DNS name (underscores allowed, as service names have them) or an IPv4 address, lower case.
fn dns_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text == "*" {
        return Err(
            "must be a host such as `shop.example` or `*.example`; leave `hosts` out for any host",
        );
    }
    if !text.is_ascii() {
        return Err("must be ASCII: write an international name in its `xn--` form");
    }
    if text.contains('*') {
        return Err("may have `*` only as the whole first label, as in `*.example`");
    }
    if text.contains([':', '/']) {
        return Err("must be a host alone, without scheme, port or path");
    }
    if text.ends_with('.') {
        return Err("must be written without the dot at the end");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > limits::HOST_BYTES || !text.split('.').all(label) {
        return Err(
            "must be a DNS name: labels of 1 to 63 letters, digits, `-` or `_`, 253 bytes in all",
        );
    }
    let numeric = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric && text.parse::<Ipv4Addr>().is_err() {
        return Err("must be a DNS name or a whole IP address: its last label is a number");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_normalised() {
        for (written, canonical) in [
            ("Shop.Example", "shop.example"),
            ("localhost", "localhost"),
            ("my_service", "my_service"),
            ("*.EXAMPLE.com", "*.example.com"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0::1", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
        ] {
            let pattern = HostPattern::parse(written).expect(written);
            assert_eq!(pattern.to_string(), canonical);
            assert_eq!(HostPattern::parse(canonical), Ok(pattern));
        }
    }

    #[test]
    fn what_no_host_can_be_is_refused() {
        let long = "a".repeat(64);
        for bad in [
            "",
            "*",
            "*.",
            "*.*.a",
            "a.*",
            "*a.b",
            "a..b",
            ".a",
            "a.",
            "-a.b",
            "a-.b",
            "a b",
            "a:80",
            "[::1]:80",
            "http://a",
            "a/b",
            "ä.example",
            "1.2.3",
            "1.2.3.400",
            "*.1.2.3.4",
            "*.1.2",
            long.as_str(),
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
