//! Starts nodes, stops them, and waits for conditions.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::config::{Revision, Transaction};
use crate::paxos::Role;
use crate::replication::{Handle, Options, ProposeError, Running, StartError, State, start};
use crate::state::{Body, Command, Key, LEVEL, Outcome, Stamp};

/// Long enough for anything that is going to happen, on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// Nodes by name, each with its directory and address for life.
pub(super) struct Nodes {
    home: TempDir,
    voters: BTreeMap<String, SocketAddr>,
    listeners: BTreeMap<String, TcpListener>,
    running: BTreeMap<String, (Handle, Running)>,
}

impl Nodes {
    /// Addresses for these first voters, which are not started.
    pub(super) fn new(names: &[&str]) -> Self {
        let bind = |name: &&str| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            ((*name).to_owned(), listener)
        };
        let listeners: BTreeMap<String, TcpListener> = names.iter().map(bind).collect();
        let address = |(name, listener): (&String, &TcpListener)| {
            (
                name.clone(),
                listener
                    .local_addr()
                    .expect("a bound listener has an address"),
            )
        };
        let voters = listeners.iter().map(address).collect();
        let home = tempfile::tempdir().expect("a temporary directory");
        Self {
            home,
            voters,
            listeners,
            running: BTreeMap::new(),
        }
    }

    /// All of them, started.
    pub(super) async fn started(names: &[&str]) -> Self {
        let mut nodes = Self::new(names);
        for name in names {
            nodes.start(name).await.expect("a new node starts");
        }
        nodes
    }

    pub(super) fn directory(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(super) fn address(&self, name: &str) -> SocketAddr {
        self.voters[name]
    }

    pub(super) fn readdress(&mut self, name: &str, address: SocketAddr) {
        self.voters.insert(name.to_owned(), address);
    }

    fn options(&mut self, name: &str) -> Options {
        let listener = self.listeners.remove(name);
        let again = || TcpListener::bind(self.voters[name]).expect("its own port is free again");
        let listener = Some(listener.unwrap_or_else(again));
        Options {
            listener,
            ..self.silent(name)
        }
    }

    /// How a node is started that nobody can call.
    pub(super) fn silent(&self, name: &str) -> Options {
        Options {
            data: self.directory(name),
            name: name.to_owned(),
            voters: self.voters.clone(),
            listener: None,
            admin: None,
            heartbeat: Duration::from_millis(20),
            election_timeout: Duration::from_millis(200),
        }
    }

    pub(super) async fn start(&mut self, name: &str) -> Result<(), StartError> {
        let started = start(self.options(name)).await?;
        self.running.insert(name.to_owned(), started);
        Ok(())
    }

    pub(super) async fn stop(&mut self, name: &str) {
        let (_, running) = self.running.remove(name).expect("it runs");
        running.stop().await;
    }

    pub(super) fn handle(&self, name: &str) -> Handle {
        self.running[name].0.clone()
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        self.running
            .values()
            .map(|(handle, _)| handle.clone())
            .collect()
    }

    /// The name of the node that leads, once one does.
    pub(super) async fn leader(&self) -> String {
        let leads = |handle: &Handle| handle.status().role == Role::Leader;
        let found = || self.running.iter().find(|(_, (handle, _))| leads(handle));
        until("a leader", || found().is_some()).await;
        found().map(|(name, _)| name.clone()).expect("it was there")
    }
}

/// Waits for a condition that must come true.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A command that puts the pool `name`.
pub(in crate::replication) fn put_pool(name: &str) -> Command {
    let operations =
        json!([{"op": "put", "path": format!("/pools/{name}"), "value": {"name": name}}]);
    Command {
        key: Key::new(&format!("put-{name}")).expect("printable"),
        stamp: Stamp(0),
        level: LEVEL,
        author: "test".to_owned(),
        comment: String::new(),
        body: Body::Config(Transaction::from_json(operations).expect("a valid transaction")),
    }
}

/// Puts a pool and demands that it worked.
pub(super) async fn put(handle: &Handle, name: &str) -> Revision {
    match handle.propose(put_pool(name), LONG).await {
        Ok(Outcome::Done { revision, .. }) => revision,
        other => panic!("put of {name} came to {other:?}"),
    }
}

/// The pools a node's state machine holds.
pub(super) fn pools(handle: &Handle) -> Vec<String> {
    handle.inspect(|machine| {
        machine
            .config()
            .pools
            .keys()
            .map(ToString::to_string)
            .collect()
    })
}

pub(super) fn failure(handle: &Handle) -> String {
    match handle.status().state {
        State::Failed { reason } => reason,
        _ => String::new(),
    }
}

/// Whether a proposal was refused for certain.
pub(super) fn not_proposed(result: &Result<Outcome, ProposeError>) -> bool {
    matches!(result, Err(ProposeError::NotProposed { .. }))
}
