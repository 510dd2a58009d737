//! Who may use a route, by address.

use std::net::IpAddr;

use serde::Serialize;

use crate::config::Network;

/// Who may use a route. The client is who connected or, where that one is trusted, whom it names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clients {
    /// These may, and nobody else; everybody if it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Network>,
    /// These may not, though they are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Network>,
}

impl Clients {
    /// Whether `client` may use the route.
    pub fn admit(&self, client: IpAddr) -> bool {
        let holds = |networks: &[Network]| networks.iter().any(|network| network.contains(client));
        (self.allow.is_empty() || holds(&self.allow)) && !holds(&self.deny)
    }
}
