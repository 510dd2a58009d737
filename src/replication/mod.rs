//! Runs the consensus core against the world.
//!
//! One plain thread, the `driver`, owns the replica and applies what is decided; a second one, the log's, makes durable
//! what waits, all of it with one sync. Now and then `checkpoints` writes the state machine aside, from which a start
//! goes on; `offering` and `fetching` carry it to a peer that lacks what is in no log any more. `transport` carries
//! frames between the voters, `founding` decides who they are, `reports` tells everybody what everybody serves. The
//! rest of the process holds a [`Handle`].
//!
//! A node without a vote has the same machine, log and handle, but `follower` in the place of the driver: `following`
//! holds on to one voter, whose `feeding` sends it what is decided, encoded once for all by `feed`.
//!
//! `offline` looks into a data directory without a node, and makes a new group's of the state in one.

pub mod codec;
pub mod offline;
#[cfg(any(test, fuzzing))]
pub mod oracle;
pub mod storage;

mod apply;
mod calls;
mod checkpoints;
mod connection;
mod driver;
mod feed;
mod feeding;
mod fetching;
mod follower;
mod followers;
mod following;
mod founding;
mod frame;
mod group;
mod handle;
mod handshake;
mod inbox;
mod intake;
mod keeper;
mod leader;
mod leases;
mod lifecycle;
mod links;
mod log;
mod membership;
mod offering;
mod orders;
mod outbox;
mod proposals;
mod proposer;
mod reports;
mod running;
mod serve;
mod shared;
mod status;
mod transport;
mod waiting;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Address;
use crate::tls::PeerTls;
pub use checkpoints::Pace;

pub use followers::REMEMBERED;
pub use handle::{Handle, ProposeError, Unavailable};
pub use intake::Intake;
pub use keeper::Life;
pub use leases::{Kept, LEASE_TICK, Leases};
pub use orders::OrderError;
pub use reports::{Activation, NodeReport, NodeRole, Rejected, SILENT};
pub use running::{Running, StartError, start};
pub use shared::Committed;
pub use status::{Counts, Following, LATENCY_BOUNDS, Latency, State, Status};

/// How a node takes part.
#[derive(Debug)]
pub struct Options {
    /// Where the identity and the log are kept; made where it is missing.
    pub data: PathBuf,
    /// This node's name.
    pub name: String,
    /// The first voters and their peer addresses, this node's own among them; empty: a new cluster of one. Once the
    /// directory holds an identity only the addresses are taken from here.
    pub voters: BTreeMap<String, Address>,
    /// Voters of an existing cluster, for a node that follows it without a vote and founds nothing. Once the directory
    /// holds an identity these are only where to call first.
    pub join: Vec<Address>,
    /// The peer address told to others; the bound one where it is `None`.
    pub advertise: Option<Address>,
    /// Where peers call, already bound; a lone voter needs none.
    pub listener: Option<TcpListener>,
    /// What nodes show each other; none: they speak in plaintext.
    pub tls: Option<Arc<PeerTls>>,
    /// Where this node's admin API is reached, for others to know.
    pub admin: Option<SocketAddr>,
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
    /// The shortest silence of a leader after which another stands.
    pub election_timeout: Duration,
    /// How often a checkpoint is taken.
    pub checkpoint: Pace,
    /// The feature level of commands that this build knows.
    pub level: u32,
}

#[cfg(test)]
mod tests;
