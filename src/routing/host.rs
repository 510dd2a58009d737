//! The host of a request in the form that the table has: lower case, no port, no dot at the end, on the stack.

use std::io::Write;
use std::net::Ipv6Addr;

/// A DNS name is at most 253 bytes; nothing longer is in the table.
const LONGEST: usize = 255;

/// A host, normalised.
#[derive(Debug)]
pub(super) struct Host {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Host {
    /// Of a Host field or an authority. `None` if it is empty or nothing a table could hold: such a request is
    /// matched by routes for any host alone.
    pub(super) fn of(authority: &str) -> Option<Self> {
        if let Some(rest) = authority.strip_prefix('[') {
            return Self::of_ipv6(rest.split_once(']')?.0);
        }
        let host = authority
            .split_once(':')
            .map_or(authority, |(host, _port)| host);
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || host.len() > LONGEST || !host.is_ascii() {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes[..host.len()].copy_from_slice(host.as_bytes());
        bytes[..host.len()].make_ascii_lowercase();
        Some(Self {
            bytes,
            length: host.len(),
        })
    }

    /// IPv6 addresses have many spellings; the config has the canonical one.
    fn of_ipv6(address: &str) -> Option<Self> {
        let address: Ipv6Addr = address.parse().ok()?;
        let mut bytes = [0; LONGEST];
        let mut rest = &mut bytes[..];
        write!(rest, "[{address}]").ok()?;
        let length = LONGEST - rest.len();
        Some(Self { bytes, length })
    }

    pub(super) fn as_str(&self) -> &str {
        // Only ASCII was copied in.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    /// What is behind each dot, the longest first: the suffixes that a wildcard may have.
    pub(super) fn suffixes(&self) -> impl Iterator<Item = &str> {
        let host = self.as_str();
        host.match_indices('.')
            .map(move |(dot, _)| &host[dot + 1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_case_port_and_final_dot() {
        for (written, canonical) in [
            ("Shop.Example", "shop.example"),
            ("shop.example:8080", "shop.example"),
            ("shop.example.:80", "shop.example"),
            ("shop.example.", "shop.example"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:DB8:0::1]:443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(Host::of(written).expect(written).as_str(), canonical);
        }
    }

    #[test]
    fn what_no_table_holds_is_no_host() {
        for none in [
            "",
            ".",
            ":80",
            "[::1",
            "[x]",
            "bücher.example",
            &"a".repeat(256),
        ] {
            assert!(Host::of(none).is_none(), "{none}");
        }
    }

    #[test]
    fn suffixes_come_longest_first() {
        let host = Host::of("a.b.c").expect("a host");
        assert_eq!(host.suffixes().collect::<Vec<_>>(), ["b.c", "c"]);
    }
}
