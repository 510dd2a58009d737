//! `synod serve`: one node, from its settings file and flags, until SIGTERM or Ctrl-C.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use super::output::say;
use super::remote::Remote;
use crate::config::Address;
use crate::node::{self, Node, Predecessor};
use crate::settings::{self, AccessLog, Listener, Settings, Source};
use crate::shutdown;
use crate::telemetry::access_log::Reopener;

/// Flags override the settings file; without either this is a one-voter node on loopback.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory [default: ./synod-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// This node's name
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Accept traffic here; repeatable [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Peer address of the Paxos group [default: 127.0.0.1:9901]
    #[arg(long, value_name = "ADDR")]
    peer: Option<SocketAddr>,
    /// Peer address told to nodes that join, where it differs from --peer; the first voters go by their list
    #[arg(long, value_name = "ADDR", value_parser = parse_peer)]
    advertise: Option<Address>,
    /// JSON access log lines to this file, `-` for standard output [default: none]
    #[arg(long, value_name = "FILE")]
    access_log: Option<String>,
    /// A first voter and its peer address; repeatable, the same list on each voter
    #[arg(long = "voter", value_name = "NAME=PEERADDR", value_parser = parse_voter)]
    voters: Vec<(String, Address)>,
    /// Peer address of a voter of an existing cluster: follow it, without a vote; repeatable
    #[arg(long, value_name = "PEERADDR", value_parser = parse_peer, conflicts_with = "voters")]
    join: Vec<Address>,
    /// Data-plane threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Let admin and peer addresses leave loopback in plaintext
    #[arg(long)]
    allow_plaintext: bool,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let admin = own_admin(&remote.admin)?;
    let (settings, source) = args.resolve(admin)?;
    settings.check(source.as_ref())?;
    crate::telemetry::init_tracing();
    let predecessor = Predecessor::find()?;
    // A second one would mostly be woken to find that there is nothing left for it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("synod-control")
        .enable_all()
        .build()
        .context("cannot start the control-plane runtime")?;
    runtime.block_on(async {
        let mut shutdown = shutdown::on_signals().context("cannot listen for signals")?;
        let mut upgrade =
            signal(SignalKind::user_defined2()).context("cannot listen for signals")?;
        // Before the start, which may last: until somebody listens they end the process.
        let renamed = Renamed::listen().context("cannot listen for signals")?;
        let takes_over = predecessor.is_some();
        let mut node = Node::start_after(settings, predecessor).await?;
        // To the end of the process: what drains logs on.
        tokio::spawn(renamed.reopen(node.log()));
        if !takes_over {
            node::tell_ready();
        }
        for line in node.describe() {
            // A node runs whether or not anybody reads where.
            let _ = say(line);
        }
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                _ = upgrade.recv() => {}
            }
            tracing::info!(signal = "SIGUSR2", "handing over to a new process");
            let handed_over = tokio::select! {
                // The other process is ended, if it does not serve yet.
                () = shutdown.requested() => break,
                handed_over = node.hand_over() => handed_over,
            };
            match handed_over {
                Ok(handed_over) => {
                    node.leave(handed_over).await;
                    return Ok(());
                }
                Err(error) => tracing::error!("not handed over, this process serves on: {error:#}"),
            }
        }
        node.stop().await;
        Ok(())
    })
}

/// The signals by which whoever rotates logs says that they have been renamed.
struct Renamed {
    hang_up: Signal,
    user: Signal,
}

impl Renamed {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Has the log, if there is one, opened anew at each of them, for ever.
    async fn reopen(mut self, log: Option<Reopener>) {
        loop {
            // Both only say: look. One that is dropped comes again.
            tokio::select! {
                _ = self.hang_up.recv() => {}
                _ = self.user.recv() => {}
            }
            if let Some(log) = &log {
                log.reopen();
            }
        }
    }
}

impl Args {
    fn resolve(self, admin: Option<SocketAddr>) -> Result<(Settings, Option<Source>), Failure> {
        let (mut settings, source) = match &self.config {
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the settings file {name}"))?;
                let (settings, source) = Settings::parse(&name, &text)?;
                (settings, Some(source))
            }
            None => (Settings::default(), None),
        };
        if !self.voters.is_empty() {
            settings.voters.clear();
        }
        for (name, address) in self.voters {
            if settings.voters.insert(name.clone(), address).is_some() {
                return Err(anyhow::anyhow!(
                    "--voter {name} is given twice; each voter has one name"
                )
                .into());
            }
        }
        if !self.join.is_empty() {
            settings.join = self.join;
        }
        if !self.listen.is_empty() {
            settings.listeners = self.listen.into_iter().map(Listener::at).collect();
        }
        settings.data = self.data.unwrap_or(settings.data);
        settings.node = self.node.unwrap_or(settings.node);
        settings.admin = admin.unwrap_or(settings.admin);
        settings.peer = self.peer.unwrap_or(settings.peer);
        settings.advertise = self.advertise.or(settings.advertise);
        settings.threads = self.threads.unwrap_or(settings.threads);
        settings.access_log = self
            .access_log
            .as_deref()
            .map(AccessLog::parse)
            .or(settings.access_log);
        settings.allow_plaintext |= self.allow_plaintext;
        Ok((settings, source))
    }
}

/// The one flag that clients and nodes share: here it is the address to listen on.
fn own_admin(given: &[String]) -> anyhow::Result<Option<SocketAddr>> {
    match given {
        [] => Ok(None),
        [address] => match address.trim_start_matches("http://").parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => anyhow::bail!(
                "--admin `{address}` is not an address with a port, such as 127.0.0.1:9900"
            ),
        },
        _ => anyhow::bail!(
            "--admin is given {} times; a node has one admin address",
            given.len()
        ),
    }
}

fn parse_voter(text: &str) -> Result<(String, Address), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("expected NAME=PEERADDR, such as a=127.0.0.1:9901")?;
    Ok((name.into(), parse_peer(address)?))
}

fn parse_peer(text: &str) -> Result<Address, String> {
    settings::peer_address(text)
        .ok_or_else(|| format!("`{text}` is not {}", settings::PEER_ADDRESS))
}
