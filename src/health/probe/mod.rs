//! One check of one backend: a file a kind, each on a connection of its own.

mod grpc;

mod http;

mod tcp;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::config::{Probe, Protocol, ProxyProtocol};
use crate::routing::PoolEntry;
use crate::tls::ClientTls;

/// How the backends of a pool are connected to.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// What connections begin with.
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// What they go on with, if they are encrypted.
    pub(super) tls: Option<Arc<ClientTls>>,
    /// What is spoken on them.
    pub(super) protocol: Protocol,
}

impl Way {
    pub(super) fn of(pool: &PoolEntry) -> Self {
        Self {
            proxy_protocol: pool.proxy_protocol,
            tls: pool.check_tls.clone(),
            protocol: pool.spec().check_protocol(),
        }
    }

    /// Whether the pool's backends are connected to in this way.
    pub(super) fn is_of(&self, pool: &PoolEntry) -> bool {
        let identity = |tls: &Option<Arc<ClientTls>>| tls.as_ref().map(|tls| tls.identity());
        self.proxy_protocol == pool.proxy_protocol
            && self.protocol == pool.spec().check_protocol()
            && identity(&self.tls) == identity(&pool.check_tls)
    }
}

/// Asks once, and says what was wrong with the answer. `timeout` is for all of it.
pub(super) async fn ask(
    probe: &Probe,
    backend: &Backend,
    way: &Way,
    timeout: Duration,
) -> Result<(), String> {
    let asked = async {
        let connection = tcp::ask(backend, way).await?;
        match probe {
            Probe::Http(probe) => http::ask(probe, backend, way, connection).await,
            Probe::Grpc(probe) => grpc::ask(probe, backend, way.tls.is_some(), connection).await,
            Probe::Tcp {} => Ok(()),
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

#[cfg(test)]
mod tests;
