//! Starting a node's replication and ending it: what is opened, in which order, and who runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::founding::{self, Founding, waiting};
use super::group::Group;
use super::lifecycle::{self, Start};
use super::log::{Log, chain};
use super::reports::{self, Reports};
use super::shared::{Event, Shared, Standing};
use super::status::State;
use super::storage::{Disk, Error, OsDisk, Wal, WalOptions};
use super::transport::Transport;
use super::{Handle, Options};
use crate::paxos::{self, Ballot, Epoch, Membership, NodeId, Recovered, Role};

/// The number of the first membership.
const FIRST_EPOCH: Epoch = Epoch(1);
/// Commands proposed and not yet decided, at most; the rest is refused as busy.
const WINDOW_ENTRIES: usize = 4096;
const WINDOW_BYTES: usize = 16 << 20;

/// Why a node's replication does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    // What the operator asked for cannot be.
    /// The list of first voters lacks this node.
    #[error(
        "the first voters do not include this node, `{name}`; name it with --node, or add it to the list"
    )]
    NotListed {
        /// This node's name.
        name: String,
    },
    /// The directory is another node's.
    #[error(
        "the data directory belongs to node `{is}`, not `{asked}`; name another with --data, or start with --node {is}"
    )]
    OtherName {
        /// Whose it is.
        is: String,
        /// Who was to start on it.
        asked: String,
    },
    /// A voter among several that nobody can call.
    #[error("a voter among several needs a peer address to listen on")]
    NoListener,

    // What was stored, or the machine.
    /// There is a log without the identity it was written under.
    #[error(
        "the data directory holds a log but no identity; restore it, or give this node an empty directory"
    )]
    IdentityLost,
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] Error),
    /// A thread or the listener.
    #[error("cannot {0}")]
    Io(&'static str, #[source] std::io::Error),
}

/// A node's replication at work. Dropping it ends it without waiting; [`Running::stop`] waits.
pub struct Running {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
    driver: Option<JoinHandle<()>>,
}

/// Opens the data directory and takes part in the group. When this returns, all that was known here to be decided is
/// applied. Tasks run on the runtime it is called in.
pub async fn start(options: Options) -> Result<(Handle, Running), StartError> {
    start_on(|options| OsDisk::open(&options.data), options).await
}

/// The same on any disk.
pub(super) async fn start_on<D: Disk + Sync>(
    disk: impl FnOnce(&Options) -> Result<D, Error> + Send + 'static,
    mut options: Options,
) -> Result<(Handle, Running), StartError> {
    let listener = match options.listener.take() {
        None if options.voters.len() > 1 => return Err(StartError::NoListener),
        None => None,
        Some(listener) => {
            Some(listen(listener).map_err(|error| StartError::Io("listen for peers", error))?)
        }
    };
    let opened = tokio::task::spawn_blocking(move || open(disk(&options)?, options)).await;
    let Opened {
        disk,
        options,
        group,
        wal,
        recovered,
        mute,
    } = match opened {
        Ok(opened) => opened?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };

    let shared = share(group, &recovered, &options);
    let group = shared.group();
    let log = Log::start(Box::new(wal), shared.clone());
    let log = log.map_err(|error| StartError::Io("start the log's thread", error))?;
    let (ready, applied) = oneshot::channel();
    let start = Start {
        shared: shared.clone(),
        options: paxos_options(&group, &options, &recovered),
        recovered,
        log,
        founded: group.complete,
        ready: Some(ready),
    };
    let driver = std::thread::Builder::new()
        .name("synod-replica".to_owned())
        .spawn(move || lifecycle::run(start));
    let driver = driver.map_err(|error| StartError::Io("start the replica's thread", error))?;
    // An error says that nothing was to be applied, or that the replica has failed already: then the status says so.
    let _ = applied.await;

    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let founding = Arc::new(Founding::new(disk, shared.clone()));
    let transport = Transport {
        shared: shared.clone(),
        founding,
        stop: stop.clone(),
    };
    match mute {
        None => Arc::new(transport).start(listener, &tasks),
        // After all that is known is applied: it serves that.
        Some(reason) => drop(shared.inbox.push(Event::Fail(reason))),
    }
    tasks.spawn(
        stop.clone()
            .run_until_cancelled_owned(reports::tell(shared.clone())),
    );
    tasks.close();
    Ok((
        Handle(shared.clone()),
        Running {
            shared,
            stop,
            tasks,
            driver: Some(driver),
        },
    ))
}

impl Running {
    /// Ends it: what was handed to the log is written, connections are closed, the directory is let go.
    pub async fn stop(mut self) {
        let driver = self.driver.take();
        self.end();
        if let Some(driver) = driver {
            // It catches its own panics; one that got through has been told by its hook.
            let _ = tokio::task::spawn_blocking(move || driver.join()).await;
        }
        self.tasks.wait().await;
    }

    fn end(&self) {
        let _ = self.shared.inbox.push(Event::Stop);
        self.stop.cancel();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

struct Opened<D: Disk> {
    disk: D,
    options: Options,
    group: Group,
    wal: Wal<D>,
    recovered: Recovered,
    /// Why it must not speak to peers, if so.
    mute: Option<String>,
}

/// All that waits for the disk.
fn open<D: Disk>(disk: D, options: Options) -> Result<Opened<D>, StartError> {
    let (mut group, fresh) = founding::load(&disk, &options)?;
    let initial = Ballot::initial(FIRST_EPOCH);
    let (wal, recovered) = Wal::open(disk.clone(), WalOptions::new(initial, fresh))?;
    if fresh && recovered != Recovered::empty(initial) {
        return Err(StartError::IdentityLost);
    }
    if let Some(damage) = wal.damage() {
        tracing::error!(
            "the log is damaged, this node votes no more until a leader has synced it: {damage}"
        );
    }
    let mute = match founding::begin(&disk, &mut group) {
        Ok(()) => None,
        // Peers that heard of a start which is not durable would take the next one for a rolled-back directory. But
        // what is decided here can be served. (`a_start_on_a_full_disk_serves_and_takes_no_part`)
        Err(error) if error.is_for_want_of_space() && !fresh => Some(format!(
            "the disk was full when it started: {}; free some space and start it again",
            chain(&error)
        )),
        Err(error) => return Err(error.into()),
    };
    Ok(Opened {
        disk,
        options,
        group,
        wal,
        recovered,
        mute,
    })
}

/// What the threads and the handles share, as it stands before anything runs.
fn share(group: Group, recovered: &Recovered, options: &Options) -> Arc<Shared> {
    let reports = Reports::new(options.admin);
    let shared = Shared::new(group, standing(recovered), reports);
    let group = shared.group();
    if group.complete {
        let cluster = super::group::hex(&group.cluster);
        tracing::info!(node = %options.name, %cluster, "the replica starts");
    } else {
        let waiting = waiting(&group, &BTreeMap::new());
        tracing::info!(node = %options.name, "founding a group with {}", waiting.join(", "));
        shared.stand(|standing| standing.state = State::Founding { waiting });
    }
    Arc::new(shared)
}

fn listen(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

pub(super) fn standing(recovered: &Recovered) -> Standing {
    let state = State::Running;
    Standing {
        state,
        role: Role::Follower,
        leader: None,
        ballot: recovered.promised,
    }
}

fn paxos_options(group: &Group, options: &Options, recovered: &Recovered) -> paxos::Options {
    paxos::Options {
        id: NodeId(group.me),
        membership: Membership {
            epoch: recovered.promised.epoch,
            voters: group
                .members
                .iter()
                .map(|member| NodeId(member.id))
                .collect(),
        },
        heartbeat: options.heartbeat,
        election_timeout: options.election_timeout,
        window_entries: WINDOW_ENTRIES,
        window_bytes: WINDOW_BYTES,
        seed: rand::random(),
    }
}
