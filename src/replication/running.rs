//! Starting a node's replication and ending it: what is opened, in which order, and who runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::checkpoints::Checkpoints;
use super::fetching::Fetching;
use super::following::Following;
use super::founding::{self, Founding, waiting};
use super::group::Group;
use super::lifecycle::{self, Changes, Hindrance, Part, Start};
use super::log::{Log, chain};
use super::membership::{Details, FIRST_EPOCH};
use super::offering::Offering;
use super::reports::{self, Reports};
use super::shared::{Event, Shared, Standing};
use super::status::State;
use super::storage::{Disk, Error, OsDisk, Shelf, Wal, WalOptions};
use super::transport::Transport;
use super::{Handle, Options, Pace, feeding, follower, keeper};
use crate::config::Address;
use crate::paxos::{self, Ballot, NodeId, Recovered, Role, Slot, Succession};
use crate::state::{self, Machine};

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
    /// A list of first voters for a directory that follows a cluster.
    #[error(
        "the data directory is that of a follower, which founds nothing; start it with --join in place of --voter, \
         or name another with --data"
    )]
    Follower,
    /// A voter among several that nobody can call.
    #[error("a voter among several needs a peer address to listen on")]
    NoListener,

    // What was stored, or the machine.
    /// There is a log without the identity it was written under.
    #[error(
        "the data directory holds a log but no identity; give this node an empty directory and replace it under a new identity"
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
    let bound = listener.as_ref().and_then(|it| it.local_addr().ok());
    options.advertise = options.advertise.or(bound.map(Address::from));
    let opened = tokio::task::spawn_blocking(move || open(disk(&options)?, options)).await;
    let Opened {
        disk,
        options,
        group,
        wal,
        recovered,
        machine,
        mute,
    } = match opened {
        Ok(opened) => opened?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };

    let shared = share(group, &recovered, &options);
    if let Some(machine) = machine {
        shared.go_on_from(machine);
    }
    let shelf: Arc<dyn Shelf> = Arc::new(disk.clone());
    let founding = Arc::new(Founding::new(disk.clone(), shared.clone()));
    let ground = Ground {
        shared: shared.clone(),
        founding: founding.clone(),
        disk,
        data: options.data.clone(),
        timing: Timing::of(&options),
    };
    let (ready, applied) = oneshot::channel();
    let log = ground.start_log(wal, recovered)?;
    let part = match shared.group().me > 0 {
        true => Part::Voter(ground.voter(log, Some(ready))),
        false => Part::Follower(ground.follower(log, Some(ready))),
    };
    let driver = std::thread::Builder::new().name("synod-replica".to_owned());
    let driver = driver.spawn(move || lifecycle::run(&ground.shared, part, &ground));
    let driver = driver.map_err(|error| StartError::Io("start the replica's thread", error))?;
    // An error says that nothing was to be applied, or that the replica has failed already: then the status says so.
    let _ = applied.await;

    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    match mute {
        None => {
            let peers = Peers {
                founding,
                shelf,
                listener,
                stop: stop.clone(),
            };
            connect(&shared, peers, &options, &tasks);
        }
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

/// What the connections need beside what all share.
struct Peers {
    founding: Arc<Founding>,
    shelf: Arc<dyn Shelf>,
    listener: Option<TcpListener>,
    stop: CancellationToken,
}

/// Begins to listen, to dial and to follow or feed.
fn connect(shared: &Arc<Shared>, peers: Peers, options: &Options, tasks: &TaskTracker) {
    let (founding, stop) = (peers.founding, peers.stop);
    let following = Following {
        shared: shared.clone(),
        founding: founding.clone(),
        join: options.join.clone(),
        peer: options.advertise.clone(),
        stop: stop.clone(),
    };
    // It ends by itself when it is stopped, for it says a last word.
    tasks.spawn(following.run());
    tasks.spawn(stop.clone().run_until_cancelled_owned(vote(shared.clone())));
    let fetching = Fetching {
        shared: shared.clone(),
        shelf: peers.shelf.clone(),
    };
    tasks.spawn(stop.clone().run_until_cancelled_owned(fetching.run()));
    let transport = Transport {
        shared: shared.clone(),
        offering: Offering::new(peers.shelf),
        founding,
        stop,
    };
    Arc::new(transport).start(peers.listener, tasks);
}

/// What a voter does for others, whenever it is one, and until it is demoted.
async fn vote(shared: Arc<Shared>) {
    let (mut group, mut changed) = (shared.group_changes(), shared.group_changes());
    while group.wait_for(|group| group.me > 0).await.is_ok() {
        tokio::select! {
            _ = changed.wait_for(|group| group.me == 0) => {}
            _ = async { tokio::join!(feeding::pump(shared.clone()), keeper::run(shared.clone())) } => {}
        }
    }
}

/// How fast the group goes.
#[derive(Clone, Copy)]
struct Timing {
    heartbeat: Duration,
    election_timeout: Duration,
    checkpoint: Pace,
}

impl Timing {
    fn of(options: &Options) -> Self {
        Self {
            heartbeat: options.heartbeat,
            election_timeout: options.election_timeout,
            checkpoint: options.checkpoint,
        }
    }
}

/// What a node starts with in either part, and comes to the other by.
struct Ground<D> {
    shared: Arc<Shared>,
    founding: Arc<Founding>,
    disk: D,
    /// Where that disk is, for people.
    data: PathBuf,
    timing: Timing,
}

/// A log at work, and what it held.
struct OpenLog {
    recovered: Recovered,
    log: Log,
    checkpoints: Checkpoints,
}

impl<D: Disk + Sync> Ground<D> {
    fn voter(&self, log: OpenLog, ready: Option<oneshot::Sender<()>>) -> Start {
        let group = self.shared.group();
        Start {
            options: paxos_options(&group, self.timing),
            shared: self.shared.clone(),
            recovered: log.recovered,
            log: log.log,
            checkpoints: log.checkpoints,
            founding: self.founding.clone(),
            founded: group.complete,
            ready,
        }
    }

    fn follower(&self, log: OpenLog, ready: Option<oneshot::Sender<()>>) -> follower::Start {
        follower::Start {
            shared: self.shared.clone(),
            recovered: log.recovered,
            log: log.log,
            checkpoints: log.checkpoints,
            founding: self.founding.clone(),
            ready,
        }
    }

    /// Opens the log in place of who had it, to go on from the state that is here.
    fn reopen(&self) -> Result<OpenLog, StartError> {
        let options = WalOptions {
            again: true,
            ..WalOptions::new(Ballot::initial(FIRST_EPOCH), false)
        };
        let open = || Wal::open(self.disk.clone(), options, |_| Ok(()));
        // It takes a record that is half written for left over.
        let (wal, mut recovered, _) = self.founding.still(open)?;
        recovered.go_on_from(Slot(self.shared.inspect(Machine::applied)));
        self.start_log(wal, recovered)
    }

    fn start_log(&self, wal: Wal<D>, recovered: Recovered) -> Result<OpenLog, StartError> {
        let log = Log::start(Box::new(wal), self.shared.clone());
        let log = log.map_err(|error| StartError::Io("start the log's thread", error))?;
        let shelf = Arc::new(self.disk.clone());
        let checkpoints = Checkpoints::new(self.timing.checkpoint, shelf, log.work());
        Ok(OpenLog {
            recovered,
            log,
            checkpoints,
        })
    }
}

impl<D: Disk + Sync> Changes for Ground<D> {
    fn promote(&self) -> Result<Start, Hindrance> {
        let change = "it has been given a vote, and cannot vote";
        let log = self.reopen();
        let log = log.map_err(|error| Hindrance::of(change, &self.data, &error))?;
        Ok(self.voter(log, None))
    }

    fn demote(&self) -> Result<follower::Start, Hindrance> {
        let change = "it has no vote any more, and cannot follow";
        let hindered = |error| Hindrance::of(change, &self.data, &error);
        // What was decided beyond, and not applied, may not be in the log as decided: it comes again.
        let applied = Slot(self.shared.inspect(Machine::applied));
        self.shared.decided.send_replace(applied);
        let kept = self.founding.keep_demoted();
        kept.map_err(|error| hindered(error.into()))?;
        // Before it is fed: what came until there is a log would be lost, and never come again.
        let log = self.reopen().map_err(hindered)?;
        let demoted = self.founding.demoted();
        demoted.map_err(|error| hindered(error.into()))?;
        tracing::info!("this node has no vote any more: it follows those that have");
        Ok(self.follower(log, None))
    }
}

impl Running {
    /// Ends it: what was handed to the log is written, connections are closed, the directory is let go. A follower
    /// says that it leaves.
    pub async fn stop(mut self) {
        self.shared.leaving.store(true, Relaxed);
        self.crash().await;
    }

    /// Ends it without a last word.
    pub(super) async fn crash(&mut self) {
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
    /// The state that the newest checkpoint holds.
    machine: Option<Machine>,
    /// Why it must not speak to peers, if so.
    mute: Option<String>,
}

/// All that waits for the disk.
fn open<D: Disk>(disk: D, options: Options) -> Result<Opened<D>, StartError> {
    let (mut group, fresh) = founding::load(&disk, &options)?;
    let initial = Ballot::initial(FIRST_EPOCH);
    let restore = |bytes: Bytes| state::restore(&bytes).map_err(|bad| bad.to_string());
    let options_of_log = WalOptions::new(initial, fresh);
    let (wal, recovered, machine) = Wal::open(disk.clone(), options_of_log, restore)?;
    let mut recovered = recovered;
    if fresh && recovered != Recovered::empty(initial) {
        return Err(StartError::IdentityLost);
    }
    if let Some(damage) = wal.damage() {
        tracing::error!(
            "the log is damaged, this node votes no more until a leader has synced it: {damage}"
        );
    }
    go_on_from(&mut group, &mut recovered);
    if let Some(at) = options
        .advertise
        .as_ref()
        .filter(|_| options.voters.is_empty())
    {
        group.locate(at);
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
        machine,
        mute,
    })
}

/// Brings the record of the group up to the epoch that the log has entered, and the promise up to that of the record: a
/// crash may have come between the two, and damage may have cut the log.
fn go_on_from(group: &mut Group, recovered: &mut Recovered) {
    let promised = recovered.promised.epoch;
    // One that was removed keeps its number until it may follow. (`a_removed_voter_hands_over_after_a_start_too`)
    let follows = group.me == 0;
    // A follower's checkpoint may be of an epoch that it has not entered. The one it has entered may have given it the
    // vote that it lost since. (`one_that_lost_its_vote_has_none_after_its_next_start`)
    if let Some(Succession { epoch, seal }) = recovered.entered_by()
        && let Some(details) = Details::of(&seal)
        && match follows {
            true => epoch == promised && group.is_named_anew(&details),
            false => epoch > group.membership().epoch,
        }
    {
        group.enter(epoch, &details);
    }
    if group.me > 0 {
        let initial = Ballot::initial(group.membership().epoch);
        recovered.promised = recovered.promised.max(initial);
    }
}

/// What the threads and the handles share, as it stands before anything runs.
fn share(group: Group, recovered: &Recovered, options: &Options) -> Arc<Shared> {
    let reports = Reports::new(options.admin);
    let shared = Shared::new(group, standing(recovered), reports)
        .with_tls(options.tls.clone())
        .knowing(options.level);
    let group = shared.group();
    if group.me == 0 {
        let known = !group.cluster.is_empty();
        tracing::info!(node = %options.name, known, "this node has no vote: it follows a cluster");
        let why = "it has not reached a voter yet".to_owned();
        shared.stand(|standing| {
            standing.state = match known {
                true => State::Alone { why },
                false => State::Joining { why },
            };
        });
    } else if group.follower.is_some() {
        tracing::info!(node = %options.name, "this node was removed: it hands over what it knows");
        shared.stand(|standing| standing.state = State::Removed);
    } else if group.complete {
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
        voter: None,
    }
}

fn paxos_options(group: &Group, timing: Timing) -> paxos::Options {
    paxos::Options {
        id: NodeId(group.me),
        membership: group.membership(),
        heartbeat: timing.heartbeat,
        election_timeout: timing.election_timeout,
        window_entries: WINDOW_ENTRIES,
        window_bytes: WINDOW_BYTES,
        seed: rand::random(),
    }
}
