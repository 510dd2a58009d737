//! `synod demo`: three voters, three small backends and a route in one process on loopback, and what to try.
//!
//! The nodes are what `serve` runs, with real sockets and real logs in a temporary directory.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::Method;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::output::say;
use super::{Failure, lock};
use crate::client::{Call, Client};
use crate::config::Address;
use crate::node::Node;
use crate::settings::{Listener, Settings};
use crate::shutdown;

#[derive(clap::Args)]
pub(super) struct Args {}

const BACKENDS: [&str; 3] = ["b1", "b2", "b3"];

/// What a line on standard input asks for.
enum Wish {
    KillLeader,
    Unknown,
}

pub(super) fn run(_args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(show())?;
    runtime.shutdown_background();
    Ok(())
}

async fn show() -> Result<(), Failure> {
    let began = Instant::now();
    let data = temporary_directory()?;
    let mut shutdown = shutdown::on_signals().context("cannot listen for signals")?;
    let mut hung_up = HungUp::listen().context("cannot listen for signals")?;
    let mut nodes = Vec::new();
    for settings in voters(data.path())? {
        nodes.push(Node::start(settings).await?);
    }
    let admins: Vec<String> = nodes
        .iter()
        .map(|node| format!("http://{}", node.admin()))
        .collect();
    let client = Client::new(&admins, Duration::from_secs(10))?;
    configure(&client).await?;
    say(introduction(&nodes, began.elapsed()))?;
    let mut wishes = read_wishes();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            () = hung_up.heard() => break,
            Some(wish) = wishes.recv() => match wish {
                Wish::KillLeader => kill_leader(&mut nodes).await?,
                Wish::Unknown => say("k and Enter kills the leader; Ctrl-C ends the demo")?,
            },
        }
    }
    // The terminal may be gone, the nodes are not.
    let _ = say("\nstopping");
    for node in nodes {
        node.stop().await;
    }
    Ok(())
}

/// The end of the terminal that this was started in, unless it was told to outlive it (`nohup`).
struct HungUp(Option<Signal>);

impl HungUp {
    fn listen() -> io::Result<Self> {
        let ignored = lock::ignored()(rustix::process::Signal::HUP);
        let listen = || signal(SignalKind::hangup());
        Ok(Self((!ignored).then(listen).transpose()?))
    }

    /// Returns once it has ended. May be dropped and called again at any time.
    async fn heard(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// What all directories of demos begin with.
const PREFIX: &str = "synod-demo-";
/// In each of them a file that its owner holds locked for as long as it lives.
const LOCK: &str = "lock";

/// Removed when dropped; by a later demo where that was not to be.
struct TemporaryDirectory {
    path: PathBuf,
    _lock: File,
}

impl TemporaryDirectory {
    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What is left over lies in the system's temporary directory, which is cleaned by the system.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn temporary_directory() -> anyhow::Result<TemporaryDirectory> {
    let parent = std::env::temp_dir();
    remove_ownerless(&parent);
    let name = format!("{PREFIX}{}", uuid::Uuid::new_v4());
    let path = parent.join(&name);
    // Under its name only once it is locked: before that it would look like that of a demo that is gone.
    let unlocked = parent.join(format!(".{name}"));
    let make = || {
        DirBuilder::new().mode(0o700).create(&unlocked)?;
        let lock = File::create(unlocked.join(LOCK))?;
        lock.lock()?;
        fs::rename(&unlocked, &path)?;
        Ok::<_, io::Error>(lock)
    };
    let lock = make().with_context(|| format!("cannot create {}", path.display()))?;
    Ok(TemporaryDirectory { path, _lock: lock })
}

/// Removes what demos that were killed have left. What cannot be looked at is not of this user.
fn remove_ownerless(parent: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // Not through a link: that is no demo's.
        let own = fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir() && it.uid() == user);
        if !own || !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let lock = File::options().write(true).open(path.join(LOCK));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// The usual ports where they are free, so that the command line needs no flags, else any.
fn voters(data: &Path) -> anyhow::Result<Vec<Settings>> {
    let names = ["a", "b", "c"];
    let mut taken = Vec::new();
    let mut address = |port: u16| -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("cannot bind on loopback")?;
        let address = listener.local_addr()?;
        // Held until all are chosen, so that none is chosen twice.
        taken.push(listener);
        Ok(address)
    };
    let mut settings = Vec::new();
    for (index, name) in (0u16..).zip(names) {
        settings.push(Settings {
            node: name.into(),
            data: data.join(name),
            threads: 1,
            listeners: vec![Listener::at(address(8080 + index)?)],
            admin: address(9900 + 10 * index)?,
            peer: address(9901 + 10 * index)?,
            ..Settings::default()
        });
    }
    let voters: BTreeMap<String, Address> = settings
        .iter()
        .map(|voter| (voter.node.clone(), voter.peer.into()))
        .collect();
    for voter in &mut settings {
        voter.voters = voters.clone();
    }
    Ok(settings)
}

/// Starts the backends and votes on a pool and a route to them, as a user would.
async fn configure(client: &Client) -> Result<(), Failure> {
    let mut members = Vec::new();
    for id in BACKENDS {
        members.push(json!({"id": id, "address": backend(id).await?.to_string()}));
    }
    let operations = json!([
        {"op": "put", "path": "/pools/web", "value": {"name": "web", "backends": members}},
        {"op": "put", "path": "/routes/all", "value": {"name": "all", "to": [{"pool": "web"}]}},
    ]);
    let call = || {
        Call::new(Method::POST, "/v1/transactions?wait=applied&timeout=5s")
            .header("synod-comment", "the demo's pool and route")
            .json(operations.clone())
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match client.call(call()).await {
            Ok(_) => return Ok(()),
            // The first election takes a second or two.
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A backend that says who it is.
async fn backend(id: &'static str) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let app = axum::Router::new().fallback(move || async move { format!("hello from {id}\n") });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

fn introduction(nodes: &[Node], took: Duration) -> String {
    let rows: String = nodes
        .iter()
        .map(|node| {
            let traffic: Vec<String> = node
                .traffic()
                .iter()
                .map(|address| format!("http://{address}"))
                .collect();
            format!(
                "  {}   traffic {}   admin http://{}\n",
                node.name(),
                traffic.join(" "),
                node.admin()
            )
        })
        .collect();
    let traffic = nodes[0].traffic()[0];
    let admin = match nodes[0].admin() {
        usual if usual.port() == 9900 => String::new(),
        other => format!("--admin http://{other} "),
    };
    let synod = std::env::current_exe().map_or("synod".into(), |path| path.display().to_string());
    format!(
        "
Three voters agreed on a pool of three backends in {:.1} s; each of them serves it.

{rows}
Try, in another terminal:

  1. Send requests; they go round:
       for i in 1 2 3 4 5 6; do curl -s http://{traffic}/; done

  2. Shift a weight through any node; every node serves it when the command returns:
       {synod} {admin}weight web/b1 5 --until applied
       {synod} {admin}history

  3. Kill and watch: press k and Enter here to kill the leader, requests go on through the others:
       {synod} {admin}nodes

  4. Hold a lock of the cluster while a command runs; each holder's token is greater than all before:
       {synod} {admin}lock deploy -- sh -c 'echo token $SYNOD_LOCK_TOKEN'

Ctrl-C ends it all.",
        took.as_secs_f64()
    )
}

/// Reads standard input on a thread of its own: a read of a terminal cannot be cancelled.
fn read_wishes() -> mpsc::Receiver<Wish> {
    let (sender, receiver) = mpsc::channel(1);
    if std::io::stdin().is_terminal() {
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let wish = if line.trim() == "k" {
                    Wish::KillLeader
                } else {
                    Wish::Unknown
                };
                if sender.blocking_send(wish).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

async fn kill_leader(nodes: &mut Vec<Node>) -> Result<(), Failure> {
    if nodes.len() < 3 {
        say("one is dead already; without a majority of three, traffic would go on but no write")?;
        return Ok(());
    }
    let Some(leader) = nodes.iter().position(Node::leads) else {
        say("nobody leads right now; try again in a second")?;
        return Ok(());
    };
    let node = nodes.remove(leader);
    say(format!("killing {}, the leader", node.name()))?;
    node.kill().await;
    let died = Instant::now();
    while died.elapsed() < Duration::from_secs(10) {
        if let Some(next) = nodes.iter().find(|node| node.leads()) {
            say(format!(
                "{} leads after {:.1} s; writes work again",
                next.name(),
                died.elapsed().as_secs_f64()
            ))?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    say("nobody leads yet")?;
    Ok(())
}
