//! Starts nodes, stops them, and waits for conditions.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::config::{Address, Revision, Transaction};
use crate::paxos::Role;
use crate::replication::running::start_on;
use crate::replication::storage::Memory;
use crate::replication::{Handle, Options, Pace, ProposeError, Running, StartError, State, start};
use crate::state::{Body, Command, Key, LEVEL, Outcome, Stamp};
use crate::tls::testing::Authority;
use crate::tls::{CertificateFiles, PeerOptions, PeerTls};

/// Long enough for anything that is going to happen, on a busy machine.
pub(in crate::replication) const LONG: Duration = Duration::from_secs(60);

/// Nodes by name, each with its directory and address for life.
pub(in crate::replication) struct Nodes {
    home: TempDir,
    voters: BTreeMap<String, SocketAddr>,
    listeners: BTreeMap<String, TcpListener>,
    running: BTreeMap<String, (Handle, Running)>,
    /// How often a node started from now on takes checkpoints.
    pub(super) pace: Pace,
    /// The feature level that a node started from now on knows.
    pub(super) level: u32,
    /// Whether nodes call each other by a host name in place of an address.
    by_name: bool,
    /// Of the certificates that nodes show, if they do.
    authority: Option<Authority>,
}

impl Nodes {
    /// Addresses for these first voters, which are not started.
    pub(in crate::replication) fn new(names: &[&str]) -> Self {
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
            pace: Pace {
                entries: 1000,
                bytes: 1 << 20,
            },
            level: LEVEL,
            by_name: false,
            authority: None,
        }
    }

    /// Has them show each other certificates of `authority`.
    pub(super) fn secured(self, authority: Authority) -> Self {
        Self {
            authority: Some(authority),
            ..self
        }
    }

    /// What a node called `name` shows by `authority`.
    pub(super) fn certificate(&self, authority: &Authority, name: &str) -> Arc<PeerTls> {
        let directory = tempfile::tempdir_in(self.home.path()).expect("a temporary directory");
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, &authority.pem).expect("it is empty");
        let CertificateFiles { cert, key } = authority.issue(&[name]).write(directory.path(), name);
        PeerTls::load(PeerOptions { ca, cert, key }, name).expect("they are good")
    }

    /// The same by the nodes' own authority.
    pub(super) fn own_certificate(&self, name: &str) -> Arc<PeerTls> {
        let authority = self.authority.as_ref().expect("they show certificates");
        self.certificate(authority, name)
    }

    /// All of them, started.
    pub(in crate::replication) async fn started(names: &[&str]) -> Self {
        Self::new(names).start_all(names).await
    }

    /// The same of a build that knows one level more.
    pub(super) async fn started_newer(names: &[&str]) -> Self {
        let newer = Self {
            level: LEVEL + 1,
            ..Self::new(names)
        };
        newer.start_all(names).await
    }

    async fn start_all(mut self, names: &[&str]) -> Self {
        for name in names {
            self.start(name).await.expect("a new node starts");
        }
        self
    }

    pub(in crate::replication) fn directory(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(super) fn address(&self, name: &str) -> SocketAddr {
        self.voters[name]
    }

    /// How the others are told where it is.
    fn called(&self, name: &str) -> Address {
        let address = self.voters[name];
        match self.by_name {
            true => Address::Name {
                host: "localhost".into(),
                port: address.port(),
            },
            false => address.into(),
        }
    }

    /// Has nodes started from now on call each other by a host name.
    pub(super) fn by_name(self) -> Self {
        Self {
            by_name: true,
            ..self
        }
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
            voters: self
                .voters
                .keys()
                .map(|of| (of.clone(), self.called(of)))
                .collect(),
            join: Vec::new(),
            advertise: None,
            listener: None,
            admin: None,
            tls: self.authority.as_ref().map(|_| self.own_certificate(name)),
            heartbeat: Duration::from_millis(20),
            election_timeout: Duration::from_millis(200),
            checkpoint: self.pace,
            level: self.level,
        }
    }

    pub(in crate::replication) async fn start(&mut self, name: &str) -> Result<(), StartError> {
        let started = start(self.options(name)).await?;
        self.running.insert(name.to_owned(), started);
        Ok(())
    }

    /// The same in memory.
    pub(super) async fn start_on(&mut self, memory: &Memory, name: &str) -> Result<(), StartError> {
        let (medium, options) = (memory.clone(), self.options(name));
        let started = start_on(move |_| medium.boot(), options).await?;
        self.running.insert(name.to_owned(), started);
        Ok(())
    }

    /// Starts `name` as a follower that is told of the voter `of`.
    pub(super) async fn follow(&mut self, name: &str, of: &str) -> Result<(), StartError> {
        let started = self.follow_as(name, name, of).await?;
        self.running.insert(name.to_owned(), started);
        Ok(())
    }

    /// The same for one that can be called, at this address, and so may come to vote.
    pub(super) async fn join(
        &mut self,
        name: &str,
        of: &str,
        at: SocketAddr,
    ) -> Result<SocketAddr, StartError> {
        let listener = TcpListener::bind(at).expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        let options = Options {
            voters: BTreeMap::new(),
            join: vec![self.called(of)],
            listener: Some(listener),
            ..self.silent(name)
        };
        self.running.insert(name.to_owned(), start(options).await?);
        Ok(at)
    }

    /// The same in another directory, for the caller to keep.
    pub(super) async fn follow_as(
        &self,
        name: &str,
        directory: &str,
        of: &str,
    ) -> Result<(Handle, Running), StartError> {
        start(Options {
            data: self.directory(directory),
            voters: BTreeMap::new(),
            join: vec![self.called(of)],
            ..self.silent(name)
        })
        .await
    }

    /// The same with another certificate.
    pub(super) async fn follow_showing(
        &self,
        name: &str,
        directory: &str,
        of: &str,
        tls: Option<Arc<PeerTls>>,
    ) -> Result<(Handle, Running), StartError> {
        start(Options {
            data: self.directory(directory),
            voters: BTreeMap::new(),
            join: vec![self.called(of)],
            tls,
            ..self.silent(name)
        })
        .await
    }

    /// Takes the directory of a node of other nodes, which does not run.
    pub(super) fn adopt(&self, others: &Self, name: &str) {
        std::fs::rename(others.directory(name), self.directory(name)).expect("one disk");
    }

    /// Ends a node as a crash would, without a last word.
    pub(super) async fn drop(&mut self, name: &str) {
        let (_, mut running) = self.running.remove(name).expect("it runs");
        running.crash().await;
    }

    pub(in crate::replication) async fn stop(&mut self, name: &str) {
        let (_, running) = self.running.remove(name).expect("it runs");
        running.stop().await;
    }

    pub(in crate::replication) fn handle(&self, name: &str) -> Handle {
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
pub(in crate::replication) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a node has met what only the newer build knows, and says so.
pub(super) async fn until_upgrade(handle: &Handle) {
    let level = LEVEL + 1;
    let upgrade = State::Upgrade { level };
    until("it to say so", || handle.status().state == upgrade).await;
}

/// What only the newer build knows.
pub(super) fn newer(name: &str) -> Command {
    Command {
        level: LEVEL + 1,
        ..put_pool(name)
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
        sticky_key: None,
        author: "test".to_owned(),
        comment: String::new(),
        body: Body::Config(Transaction::from_json(operations).expect("a valid transaction")),
    }
}

/// Puts a pool and demands that it worked.
pub(in crate::replication) async fn put(handle: &Handle, name: &str) -> Revision {
    match handle.propose(put_pool(name), LONG).await {
        Ok(Outcome::Done { revision, .. }) => revision,
        other => panic!("put of {name} came to {other:?}"),
    }
}

/// The pools a node's state machine holds.
pub(in crate::replication) fn pools(handle: &Handle) -> Vec<String> {
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
