//! The log's thread: makes durable what the driver hands out, all that waits with one write and one sync.
//!
//! Apart from the driver, so that a slow disk delays no heartbeat. While one sync runs the next batches gather here.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::inbox::Inbox;
use super::lifecycle::message;
use super::shared::{Event, Shared};
use super::storage::{Error, Storage, checkpoint};
use crate::paxos::{Batch, PersistId};

/// How long a full disk is left alone before the same write is tried again.
pub(super) const FULL_PAUSE: Duration = Duration::from_millis(500);

/// What is decided waits so long for a batch to ride along with: no commit waits for it, only the report that a
/// revision would survive a restart. Else the next commit of a lone client would wait behind a sync of its own.
const HINT: Duration = Duration::from_millis(1);

/// What the thread is to do.
pub(super) enum Work {
    Write(PersistId, Batch),
    /// This checkpoint is written, and counts from here on.
    Keep(checkpoint::Meta),
}

/// Batches on their way to the disk, and the thread that writes them.
pub(super) struct Log {
    work: Arc<Inbox<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Starts the thread.
    pub(super) fn start(storage: Box<dyn Storage>, shared: Arc<Shared>) -> std::io::Result<Self> {
        // Not bounded here: the core's window bounds what is handed out and not yet durable.
        let work = Arc::new(Inbox::new(usize::MAX));
        let taken = work.clone();
        let thread = std::thread::Builder::new()
            .name("synod-log".to_owned())
            .spawn(move || {
                // A broken invariant ends the replica, and is told: else it would lead on and decide nothing.
                let ran = catch_unwind(AssertUnwindSafe(|| run(storage, &taken, &shared)));
                if let Err(panic) = ran {
                    let reason = format!("the log broke: {}", message(&*panic));
                    let _ = shared.inbox.push(Event::Fail(reason));
                }
            })?;
        Ok(Self {
            work,
            thread: Some(thread),
        })
    }

    /// Hands batches over, in order. After the end of the thread, which tells of itself, they go nowhere.
    pub(super) fn persist(&self, batches: impl IntoIterator<Item = (PersistId, Batch)>) {
        let batches = batches.into_iter();
        self.work
            .extend(batches.map(|(id, batch)| Work::Write(id, batch)));
    }

    /// Where others, too, hand over what the thread is to do.
    pub(super) fn work(&self) -> Arc<Inbox<Work>> {
        self.work.clone()
    }

    /// Writes what waits and ends.
    fn stop(&mut self) {
        self.work.finish();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(mut storage: Box<dyn Storage>, work: &Inbox<Work>, shared: &Shared) {
    loop {
        let mut taken = work.take(None);
        if taken.iter().all(is_hint) {
            work.pause(Instant::now() + HINT);
            taken.extend(work.take(Some(Instant::now())));
        }
        if taken.is_empty() {
            return;
        }
        if let Err(error) = perform(storage.as_mut(), taken, work, shared) {
            let reason = format!("the log failed: {}", chain(&error));
            let _ = shared.inbox.push(Event::Fail(reason));
            return;
        }
    }
}

/// Writes all batches at once; what a checkpoint sums up was handed over before it, and so is durable when it is kept.
fn perform(
    storage: &mut dyn Storage,
    taken: VecDeque<Work>,
    work: &Inbox<Work>,
    shared: &Shared,
) -> Result<(), Error> {
    let (mut batches, mut written, mut last) = (Vec::new(), Vec::new(), None);
    for item in taken {
        match item {
            Work::Write(id, batch) => {
                batches.push(batch);
                last = Some(id);
            }
            Work::Keep(meta) => written.push(meta),
        }
    }
    if let Some(last) = last {
        write(storage, &batches, work, shared)?;
        let counters = &shared.counters;
        counters.syncs.fetch_add(1, Relaxed);
        counters.batches.fetch_add(batches.len() as u64, Relaxed);
        let _ = shared.inbox.push(Event::Persisted(last));
    }
    for meta in written {
        let through = storage.keep(&meta)?;
        let _ = shared.inbox.push(Event::Kept { meta, through });
    }
    Ok(())
}

/// Whether it carries only what is decided.
fn is_hint(work: &Work) -> bool {
    matches!(work, Work::Write(_, batch) if batch.promised.is_none() && batch.log.is_none())
}

/// One write; a full disk is waited for, as long as nobody wants to stop.
fn write(
    storage: &mut dyn Storage,
    batches: &[Batch],
    work: &Inbox<Work>,
    shared: &Shared,
) -> Result<(), Error> {
    let mut full = false;
    loop {
        match storage.write(batches) {
            Err(error) if error.is_full() && !work.finished() => {
                if !full {
                    tracing::error!("{}", chain(&error));
                    let _ = shared.inbox.push(Event::DiskFull(true));
                }
                full = true;
                work.pause_unless_finished(Instant::now() + FULL_PAUSE);
            }
            result => {
                if full {
                    let _ = shared.inbox.push(Event::DiskFull(false));
                }
                return result;
            }
        }
    }
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::*;
    use crate::paxos::{Ballot, Epoch, Recovered, Slot};

    struct Broken;

    impl Storage for Broken {
        fn write(&mut self, _: &[Batch]) -> Result<(), Error> {
            panic!("an invariant is broken")
        }

        fn keep(&mut self, _: &checkpoint::Meta) -> Result<Slot, Error> {
            panic!("an invariant is broken")
        }
    }

    #[test]
    fn a_panic_of_the_log_ends_the_replica_and_says_so() {
        let group = Group::alone("n1", [1; 16], [2; 16]);
        let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
        let shared = Arc::new(Shared::new(group, standing(&recovered), Reports::new(None)));
        let mut log = Log::start(Box::new(Broken), shared.clone()).expect("a thread");
        log.persist([(PersistId(1), Batch::default())]);
        log.stop();
        let told = shared.inbox.take(Some(Instant::now()));
        let failed = |event: &Event| matches!(event, Event::Fail(why) if why.contains("invariant"));
        assert!(told.iter().any(failed));
    }
}
