//! One data-plane thread: its runtime, what its connections share, and what it is told by others.
//!
//! Everything here belongs to the thread and is reached without a lock. The only way in from outside is the channel
//! of [`Control`], which carries no request.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, TcpListener as StdListener};
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Fuse;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

use super::accept;
use super::buffers::{Buffer, FreeList, LargeBuffer};
use super::clock::HttpDate;
use super::deadlines::{Deadlines, TICK};
use super::exchange::{Exchange, Reply};
use super::options::{Listener, Timeouts};
use super::overload::Overload;
use super::request_id::RequestIds;
use super::sessions::Sessions;
use super::splice::Pipes;
use crate::backend::{Connections, Limits, removals};
use crate::config::Network;
use crate::routing::{Snapshot, SnapshotCache, SnapshotCell};
use crate::shutdown;
use crate::telemetry::access_log::{AccessLog, Lines};
use crate::telemetry::metrics::ListenerMetrics;
use crate::telemetry::set_worker_index;
use crate::telemetry::traces::Tracer;
use crate::tls::ServerTls;
use crate::wire::stream::Stream;

/// Items of each kind kept warm by one thread; buffers are 16 KiB.
const KEPT: usize = 512;

/// Large buffers kept by one thread.
const LARGE_KEPT: usize = 64;

/// How often idle backend connections and pipes are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Control {
    /// Say when everything begun before has passed.
    Fence(oneshot::Sender<()>),
    /// Accept no more, finish what is there within this time, and end. Tells how many connections were cut.
    Drain {
        within: Duration,
        queue: Queue,
        ended: oneshot::Sender<usize>,
    },
}

/// What becomes of who waits to be accepted when a listener ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// It is accepted first.
    Emptied,
    /// Another process has the socket too, and accepts it.
    HandedOver,
}

/// What all workers are given alike.
#[derive(Clone)]
pub(crate) struct Shared {
    /// If the node has limits.
    pub(crate) overload: Option<Arc<Overload>>,
    pub(crate) timeouts: Timeouts,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) listener: Arc<ListenerMetrics>,
    pub(crate) cell: Arc<SnapshotCell>,
}

/// What the connections of one listener share.
#[derive(Debug)]
pub(crate) struct ListenerState {
    trusted: Vec<Network>,
    revision_header: bool,
    pub(crate) forwarded_header: bool,
    pub(crate) real_ip_header: bool,
    pub(crate) client_cert_header: bool,
    pub(crate) proxy_protocol: bool,
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl ListenerState {
    fn new(listener: &Listener) -> Rc<Self> {
        Rc::new(Self {
            trusted: listener.trusted.clone(),
            revision_header: listener.revision_header,
            forwarded_header: listener.forwarded_header,
            real_ip_header: listener.real_ip_header,
            client_cert_header: listener.client_cert_header,
            proxy_protocol: listener.proxy_protocol,
            tls: listener.tls.clone(),
        })
    }

    /// The revision, if answers are to name it.
    pub(crate) fn shown(&self, revision: u64) -> Option<u64> {
        self.revision_header.then_some(revision)
    }

    /// Whether the forwarding headers of `peer` are believed.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(peer))
    }
}

/// What the connections of one thread share.
pub(crate) struct Worker {
    pub(crate) shared: Shared,
    /// If there is an access log.
    pub(crate) access_log: Option<Rc<Lines>>,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) exchanges: FreeList<Box<Exchange>>,
    pub(crate) replies: FreeList<Box<Reply>>,
    /// To read requests into.
    pub(crate) buffers: FreeList<Buffer>,
    /// To write heads into.
    pub(crate) staging: FreeList<Vec<u8>>,
    /// For bodies that do not come with their head.
    pub(crate) large: FreeList<LargeBuffer>,
    /// For those that need not be looked at.
    pub(crate) pipes: Pipes,
    /// Connections to backends.
    pub(crate) idle: Connections<Stream>,
    /// Those that requests share.
    pub(crate) sessions: Sessions,
    /// Cloned for each answer that is being compressed.
    pub(crate) compressing: Rc<()>,
    pub(crate) request_ids: RequestIds,
    pub(crate) date: HttpDate,
    pub(crate) open: Cell<usize>,
    /// What becomes of its listeners' queues, once it drains.
    draining: Cell<Option<Queue>>,
    /// Removed backends that the tunnels have heard of.
    removals: Cell<u64>,
    snapshots: RefCell<Snapshots>,
}

/// A snapshot behind a count of this thread's own: requests of all threads cloning one `Arc` would pull its cache
/// line back and forth.
pub(crate) struct Loaded(Arc<Snapshot>);

impl Deref for Loaded {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

struct Snapshots {
    cache: SnapshotCache,
    current: Rc<Loaded>,
}

impl Worker {
    fn new(shared: Shared) -> Rc<Self> {
        let mut cache = shared.cell.cache();
        let current = Rc::new(Loaded(cache.load().clone()));
        Rc::new(Self {
            access_log: shared.access_log.as_ref().map(|log| Rc::new(log.lines())),
            shared,
            deadlines: Deadlines::new(),
            exchanges: FreeList::new(KEPT),
            replies: FreeList::new(KEPT),
            buffers: FreeList::new(KEPT),
            staging: FreeList::new(KEPT),
            large: FreeList::new(LARGE_KEPT),
            pipes: Pipes::default(),
            idle: Connections::new(Limits::default()),
            sessions: Sessions::default(),
            compressing: Rc::default(),
            request_ids: RequestIds::new(),
            date: HttpDate::default(),
            open: Cell::new(0),
            draining: Cell::new(None),
            removals: Cell::new(removals()),
            snapshots: RefCell::new(Snapshots { cache, current }),
        })
    }

    /// The snapshot in force, loaded once a request. The same pointer as long as nothing was published.
    pub(crate) fn snapshot(&self) -> Rc<Loaded> {
        let mut snapshots = self.snapshots.borrow_mut();
        let Snapshots { cache, current } = &mut *snapshots;
        let latest = cache.load();
        if !Arc::ptr_eq(latest, &current.0) {
            *current = Rc::new(Loaded(latest.clone()));
        }
        current.clone()
    }

    /// What is done once a snapshot was published.
    fn pass(&self) {
        // Also lets go of the snapshot before.
        self.snapshot();
        self.sweep();
        let removals = removals();
        if self.removals.replace(removals) != removals {
            self.deadlines.wake_tunnels();
        }
    }

    /// Lets go of connections to backends that are not wanted any more.
    fn sweep(&self) {
        let now = Instant::now();
        self.idle.sweep(now);
        self.sessions.sweep(now);
    }

    /// Whether this thread is to end: connections are not kept.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Whether another process accepts in its place.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.draining.get() == Some(Queue::HandedOver)
    }
}

/// A listener before its thread runs.
pub(crate) type Bound = (Listener, StdListener);

/// Runs one worker on this thread until it is drained or its owner is gone.
pub(crate) fn run(
    index: usize,
    shared: Shared,
    listeners: Vec<Bound>,
    control: mpsc::UnboundedReceiver<Control>,
) -> io::Result<()> {
    set_worker_index(index);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(Worker::new(shared), listeners, control))
}

async fn serve(
    worker: Rc<Worker>,
    listeners: Vec<Bound>,
    mut control: mpsc::UnboundedReceiver<Control>,
) -> io::Result<()> {
    let (trigger, shutdown) = shutdown::channel();
    tokio::task::spawn_local(worker.deadlines.clone().run());
    if let Some(lines) = worker.access_log.clone() {
        tokio::task::spawn_local(async move { lines.run().await });
    }
    let mut accepting = Vec::with_capacity(listeners.len());
    for (options, listener) in listeners {
        let listener = TcpListener::from_std(listener)?;
        let state = ListenerState::new(&options);
        let accept = accept::run(worker.clone(), listener, state, shutdown.clone());
        accepting.push(tokio::task::spawn_local(accept));
    }
    let mut sweep = tokio::time::interval(SWEEP);
    let (mut drained, mut tell) = (pin!(Fuse::terminated()), None::<oneshot::Sender<usize>>);
    loop {
        let order = tokio::select! {
            // No side loses anything: the channel keeps its orders, the next tick comes, the drain goes on.
            order = control.recv() => order,
            cut = &mut drained => {
                let _ = tell.map(|tell| tell.send(cut));
                return Ok(());
            }
            _ = sweep.tick() => {
                worker.sweep();
                worker.pipes.sweep();
                worker.date.refresh();
                continue;
            }
        };
        match order {
            Some(Control::Fence(passed)) => {
                worker.pass();
                // A caller that no longer waits needs no answer.
                let _ = passed.send(());
            }
            Some(Control::Drain {
                within,
                queue,
                ended,
            }) => {
                worker.draining.set(Some(queue));
                trigger.set();
                let accepting = std::mem::take(&mut accepting);
                drained.set(drain(&worker, within, accepting).fuse());
                tell = Some(ended);
            }
            None => return Ok(()),
        }
    }
}

/// Waits for the listeners to close and the connections to end, at most `within`. Idle connections end spread over a
/// third of that, so that their clients do not come back all at once. What is left is cut; tells how many.
async fn drain(
    worker: &Worker,
    within: Duration,
    accepting: Vec<tokio::task::JoinHandle<()>>,
) -> usize {
    let deadline = Instant::now() + within;
    worker.deadlines.hasten_idle(within / 3);
    for accept in accepting {
        // Only a panic, which the runtime has reported.
        let _ = accept.await;
    }
    while worker.open.get() > 0 && Instant::now() < deadline {
        tokio::time::sleep(TICK).await;
    }
    let cut = worker.open.get();
    // Tunnels end by themselves, so that they are recorded.
    while worker.deadlines.expire_tunnels() {
        tokio::task::yield_now().await;
    }
    // Those of HTTP/2 are reset by the tasks of their connections, behind them.
    tokio::task::yield_now().await;
    cut
}
