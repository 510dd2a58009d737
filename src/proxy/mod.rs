//! The request path: accept, read the head, load the snapshot, match, forward with retries, respond, record.
//!
//! One thread a core, each with its own listeners, runtime, buffers and backend connections; between them nothing is
//! locked or sent. [`start`] begins it, [`Proxy`] is what the composition root holds. The data plane knows nothing of
//! consensus: it reads the one [`SnapshotCell`] and goes on with what is in it.

mod accept;
mod affinity;
mod aside;
mod asked;
mod buffers;
mod clock;
mod compress;
mod connection;
mod deadlines;
mod dial;
mod download;
mod exchange;
mod failure;
mod fence;
mod forward;
mod forward_auth;
mod forwarded;
mod grpc;
mod handshake;
mod http2;
mod injection;
mod min_revision;
mod mirror;
mod options;
mod overload;
mod policy;
mod proxied;
mod queue;
mod rate;
mod record;
mod request;
mod request_id;
mod respond;
mod retry;
mod sessions;
mod splice;
mod sticky;
mod trace;
mod transfer;
mod upgrade;
mod upload;
mod worker;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::routing::SnapshotCell;
use crate::telemetry::metrics::MetricsRegistry;
use overload::Overload;
use worker::{Bound, Control, Queue, Shared};

pub use options::{Listener, NodeLimits, ProxyOptions, Timeouts};

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a data-plane thread")]
    Thread(#[source] io::Error),
}

/// The running data plane. Dropped without [`drain`](Self::drain), it ends at once.
#[derive(Debug)]
pub struct Proxy {
    bound: Vec<SocketAddr>,
    /// The sockets of each listener, for another process.
    sockets: Vec<(SocketAddr, Vec<TcpListener>)>,
    workers: Workers,
    threads: Vec<JoinHandle<()>>,
}

/// Reaches every data-plane thread; cheap to clone, and of no use once the proxy has ended.
#[derive(Clone, Debug)]
pub struct Workers(Arc<[mpsc::UnboundedSender<Control>]>);

/// Listens on every address and starts the threads. The snapshots are those of `cell`, from the first request on.
/// `inherited` gives the sockets that another process listened on there, if it did.
///
/// # Errors
/// When an address is taken or not ours, or the system gives no more threads.
pub fn start(
    options: ProxyOptions,
    mut inherited: impl FnMut(SocketAddr) -> Vec<TcpListener>,
    cell: Arc<SnapshotCell>,
    metrics: &Arc<MetricsRegistry>,
) -> Result<Proxy, StartError> {
    let count = options.threads.max(1);
    let mut bound = Vec::with_capacity(options.listeners.len());
    let mut kept = Vec::with_capacity(options.listeners.len());
    let mut of_thread: Vec<Vec<Bound>> = (0..count).map(|_| Vec::new()).collect();
    for listener in &options.listeners {
        let address = listener.address;
        let failed = |source| StartError::Listen { address, source };
        let sockets = match inherited(address) {
            none if none.is_empty() => accept::bind(address, count),
            sockets => Ok(sockets),
        }
        .map_err(failed)?;
        bound.push(sockets[0].local_addr().map_err(failed)?);
        for (thread, socket) in accept::shares(&sockets, count) {
            let socket = socket.try_clone().map_err(failed)?;
            of_thread[thread].push((listener.clone(), socket));
        }
        kept.push((address, sockets));
    }
    let shared = Shared {
        overload: Overload::new(&options.limits),
        timeouts: options.timeouts,
        access_log: options.access_log,
        tracer: options.tracer,
        listener: metrics.listener().clone(),
        cell,
    };
    let mut controls = Vec::with_capacity(count);
    let mut threads = Vec::with_capacity(count);
    for (index, listeners) in of_thread.into_iter().enumerate() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = shared.clone();
        let body = move || {
            if let Err(error) = worker::run(index, shared, listeners, receiver) {
                tracing::error!(%error, thread = index, "a data-plane thread failed");
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("proxy-{index}"))
            .spawn(body);
        threads.push(thread.map_err(StartError::Thread)?);
        controls.push(sender);
    }
    Ok(Proxy {
        bound,
        sockets: kept,
        workers: Workers(controls.into()),
        threads,
    })
}

impl Proxy {
    /// The addresses listened on, in the order of the options, with their real ports.
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// For whoever has to fence the threads.
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// The sockets listened on, by the address that the options give; each listener has one a thread.
    pub fn sockets(&self) -> &[(SocketAddr, Vec<TcpListener>)] {
        &self.sockets
    }

    /// Stops accepting, lets requests in flight end for at most `within`, and ends the threads. Returns how many
    /// connections were cut.
    pub async fn drain(self, within: Duration) -> usize {
        self.end(within, Queue::Emptied).await
    }

    /// As [`drain`](Self::drain), where another process accepts on the same sockets.
    pub async fn hand_over(self, within: Duration) -> usize {
        self.end(within, Queue::HandedOver).await
    }

    async fn end(mut self, within: Duration, queue: Queue) -> usize {
        // The threads close theirs when their time has come.
        self.sockets.clear();
        let mut ends = Vec::with_capacity(self.threads.len());
        for control in self.workers.0.iter() {
            let (ended, end) = oneshot::channel();
            // A thread that is gone has nothing left to drain.
            let order = Control::Drain {
                within,
                queue,
                ended,
            };
            if control.send(order).is_ok() {
                ends.push(end);
            }
        }
        let mut cut = 0;
        for end in ends {
            cut += end.await.unwrap_or(0);
        }
        for thread in self.threads.drain(..) {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
        cut
    }
}

impl Workers {
    /// Returns once every thread has passed its loop: what any of them had begun without an await in between when
    /// this was called is done, and none holds a snapshot older than the cell's for a request to come.
    pub async fn fence(&self) {
        let mut passes = Vec::with_capacity(self.0.len());
        for control in self.0.iter() {
            let (passed, pass) = oneshot::channel();
            // A thread that is gone sends nothing to anybody.
            if control.send(Control::Fence(passed)).is_ok() {
                passes.push(pass);
            }
        }
        for pass in passes {
            let _ = pass.await;
        }
    }
}
