//! Synod is a Layer-7 load balancer whose configuration is voted.
//!
//! Every node proxies HTTP. An embedded Multi-Paxos group agrees on routes, backend pools and weights, and every
//! node hot-swaps to the agreed revision in one pointer store. There is no control plane beside it: one binary.
//!
//! # The two paths
//!
//! A request, top-down, in the order the modules are declared:
//!
//! ```text
//! accept -> read head, refuse what is malformed -> load Snapshot (once) -> match route
//!        -> [ pick backend -> connection -> forward, stream ] with retries inside a budget -> respond, record
//! ```
//!
//! A config change, one noun per arrow:
//!
//! ```text
//! JSON -(admin: parse, compile, refuse)-> Command -(propose)-> Paxos -(persist, send)-> Decided
//!      -(apply)-> Config @ revision -(compile)-> Snapshot -(one ArcSwap store)-> next request
//! ```
//!
//! # One word, one thing
//!
//! | word | meaning |
//! |---|---|
//! | Settings | this node's own file: addresses, data directory. Never replicated |
//! | Config | the replicated value: pools, routes and the policies that routes share, at one revision |
//! | Pool, Backend, weight | a named set of backends; one address in it, with a stable id; its share |
//! | Route | what a request must look like, and which pools it goes to |
//! | Command | one entry of the log |
//! | Slot | position in the log. Revision = the slot of the last command that changed Config |
//! | Ballot, Epoch, NodeId | Paxos: (epoch, round, node); the number of the membership; never reused |
//! | chosen / decided / applied | accepted by a majority / known to be so here / executed by the state machine here |
//! | voter / follower | a node with a vote; a node that is fed decided entries and has none |
//! | Snapshot | the compiled, immutable view of one revision that the data plane reads |
//!
//! # Who may use whom
//!
//! `telemetry` and `shutdown` are open to all; only [`node`] wires. `tests/architecture.rs` checks this table.
//!
//! | module | may use |
//! |---|---|
//! | `settings` | config |
//! | `telemetry` | - |
//! | `shutdown` | - |
//! | `tls` | - |
//! | `config` | - |
//! | `bugs` | - |
//! | `paxos` | bugs |
//! | `state` | config, bugs |
//! | `replication` | paxos, state, config, tls, bugs |
//! | `wire` | - |
//! | `backend` | config, wire, tls |
//! | `routing` | config, backend, tls |
//! | `dns` | config, routing, backend |
//! | `health` | config, routing, backend, wire, tls |
//! | `proxy` | config, routing, backend, wire, tls |
//! | `admin` | config, state, replication, routing, backend, tls |
//! | `client` | config, tls |
//! | `cli` | client, config, settings, node |
//!
//! Deliberately absent: `proxy` knows nothing of `replication`, `admin`, `paxos` or `state`, so the data plane lives
//! without them; `replication` knows nothing of `routing`, it offers a watch and routing subscribes; `config`,
//! `paxos`, `state` and `wire::http1` read no clock, draw no random number and do no IO.

pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

pub mod config;

pub mod bugs;

pub mod paxos;

pub mod state;

pub mod replication;

pub mod wire;

pub mod backend;

pub mod routing;

pub mod dns;

pub mod health;

pub mod proxy;

pub mod admin;

pub mod client;

pub mod cli;

pub mod node;
