//! What the composition root tells the data plane.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::telemetry::access_log::AccessLog;

/// Everything the data plane is told at its start.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Where traffic is accepted; at least one.
    pub listeners: Vec<Listener>,
    /// Data-plane threads; at least one.
    pub threads: usize,
    /// Timers of the client side.
    pub timeouts: Timeouts,
    /// One line a request, if any.
    pub access_log: Option<AccessLog>,
}

/// One address on which traffic is accepted.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Networks whose forwarding headers are believed.
    pub trusted: Vec<Network>,
    /// Whether answers carry `Synod-Revision`.
    pub revision_header: bool,
}

impl Listener {
    /// A listener that trusts nobody and adds no revision.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            trusted: Vec::new(),
            revision_header: false,
        }
    }
}

/// An address block in CIDR notation (RFC 4632).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the block.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

impl Network {
    /// Whether `address` is in the block. An IPv4 address mapped into IPv6 counts as the IPv4 address it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                let differing = u32::from(block) ^ u32::from(address);
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                let differing = u128::from(block) ^ u128::from(address);
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Timers of the client side. Those of the backend side are the pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request head to arrive, from its first byte (from the connection, for the first one).
    pub client_headers: Duration,
    /// An idle client connection is kept this long.
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client_headers: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_shares_its_prefix() {
        let table: &[(&str, u8, &str, bool)] = &[
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("10.0.0.7", 32, "10.0.0.7", true),
            ("10.0.0.7", 32, "10.0.0.6", false),
            ("0.0.0.0", 0, "192.0.2.1", true),
            ("0.0.0.0", 0, "::1", false),
            ("10.0.0.0", 8, "::ffff:10.1.2.3", true),
            ("2001:db8::", 32, "2001:db8:1::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::", 0, "2001:db8::1", true),
        ];
        for (block, prefix, address, expected) in table {
            let network = Network {
                address: block.parse().unwrap(),
                prefix: *prefix,
            };
            assert_eq!(
                network.contains(address.parse().unwrap()),
                *expected,
                "{block}/{prefix} and {address}"
            );
        }
    }
}
