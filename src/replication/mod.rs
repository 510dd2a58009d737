//! Runs the consensus core against the world.
//!
//! One plain thread, the `driver`, owns the replica and applies what is decided; a second one, the log's, makes durable
//! what waits, all of it with one sync. `transport` carries frames between the voters, `founding` decides who they are,
//! `reports` tells everybody what everybody serves. The rest of the process holds a [`Handle`].

pub mod codec;
pub mod storage;

mod apply;
mod calls;
mod connection;
mod driver;
mod founding;
mod frame;
mod group;
mod handle;
mod handshake;
mod inbox;
mod leader;
mod lifecycle;
mod links;
mod log;
mod outbox;
mod proposals;
mod reports;
mod running;
mod serve;
mod shared;
mod status;
mod transport;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

pub use handle::{Handle, ProposeError, Unavailable};
pub use reports::{Activation, NodeReport, NodeRole, Rejected, SILENT};
pub use running::{Running, StartError, start};
pub use shared::Committed;
pub use status::{Counts, LATENCY_BOUNDS, Latency, State, Status};

/// How a node takes part.
#[derive(Debug)]
pub struct Options {
    /// Where the identity and the log are kept; made where it is missing.
    pub data: PathBuf,
    /// This node's name.
    pub name: String,
    /// The first voters and their peer addresses, this node's own among them; empty: a new cluster of one. Once the
    /// directory holds an identity only the addresses are taken from here.
    pub voters: BTreeMap<String, SocketAddr>,
    /// Where peers call, already bound; a lone voter needs none.
    pub listener: Option<TcpListener>,
    /// Where this node's admin API is reached, for others to know.
    pub admin: Option<SocketAddr>,
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
    /// The shortest silence of a leader after which another stands.
    pub election_timeout: Duration,
}

#[cfg(test)]
mod tests;
