//! The system's way to resolve: its name servers, search domains and hosts file.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

use super::Lookup;

/// Asks as the system is configured to. Without a configuration that can be read, every lookup fails and says so.
#[derive(Clone)]
pub struct System(Result<Arc<TokioResolver>, String>);

impl System {
    /// Reads the configuration, once.
    pub fn read() -> Self {
        Self(build().map(Arc::new).map_err(|error| error.to_string()))
    }
}

fn build() -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Asked for again when it has expired, so there is nothing to keep.
    options.cache_size = 0;
    builder.build()
}

impl Lookup for System {
    async fn lookup(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let resolver = self.0.as_ref().map_err(Clone::clone)?;
        let answer = resolver.lookup_ip(host).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let holds = answer
            .valid_until()
            .saturating_duration_since(Instant::now());
        Ok((answer.iter().collect(), holds))
    }
}
