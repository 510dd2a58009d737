//! Synod is a Layer-7 load balancer whose configuration is voted.
//!
//! Every node proxies HTTP. An embedded Multi-Paxos group agrees on routes, backend pools and weights, and every
//! node hot-swaps to the agreed revision in one pointer store.

pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub mod config;

pub mod paxos;
pub mod replication;
pub mod state;

pub mod backend;
pub mod proxy;
pub mod routing;
pub mod wire;

pub mod admin;
pub mod cli;
pub mod client;
pub mod node;
