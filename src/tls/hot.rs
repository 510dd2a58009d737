//! Key material that is taken up anew when its files change: looked at every few seconds, and on SIGHUP.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::material::{Fault, Problem};

/// How often files are looked at. A certificate is renewed days before it ends, so this is soon enough.
const POLL: Duration = Duration::from_secs(5);

/// Something made of files.
pub trait Hot: fmt::Debug + Send + Sync {
    /// Takes up what has changed in the files. Nothing has: no more is done. It is no good: the old stays in force.
    /// Tells whether the new is.
    ///
    /// # Errors
    /// When the files have changed to what cannot be used.
    fn reload(&self) -> Result<bool, Fault>;

    /// Counts what came of changes.
    fn reloads(&self) -> &Reloads;

    /// Certificate files, and when those in force end, in seconds since 1970.
    fn ends(&self) -> Vec<(String, i64)>;
}

/// Changes of files, by whether they were good.
#[derive(Debug, Default)]
pub struct Reloads {
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Reloads {
    fn count(&self, good: bool) {
        let counter = if good { &self.taken } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("taken", read(&self.taken)),
            ("refused", read(&self.refused)),
        ]
    }
}

/// Takes up changed files, every few seconds and on SIGHUP, for ever. Each comes with the words that tell it apart.
pub async fn watch(all: Vec<(String, Arc<dyn Hot>)>) {
    let mut hang_up = signal(SignalKind::hangup())
        .inspect_err(|error| tracing::warn!(%error, "SIGHUP does not reload certificates"))
        .ok();
    let mut polls = tokio::time::interval(POLL);
    let mut unreadable = vec![false; all.len()];
    loop {
        let asked = async {
            match &mut hang_up {
                Some(hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Both only say: look. One that is dropped comes again.
            _ = polls.tick() => {}
            () = asked => tracing::info!("SIGHUP: looking for changed certificates"),
        }
        for ((name, hot), unreadable) in all.iter().zip(&mut unreadable) {
            look(name, &**hot, unreadable);
        }
    }
}

fn look(name: &str, hot: &dyn Hot, unreadable: &mut bool) {
    match hot.reload() {
        Ok(taken) => {
            *unreadable = false;
            if taken {
                hot.reloads().count(true);
                tracing::info!(on = name, "changed certificates are in force");
            }
        }
        Err(fault) => {
            // A file that is missing is missing at every look; one line is enough.
            if !std::mem::replace(unreadable, matches!(fault.problem, Problem::Unreadable(_))) {
                hot.reloads().count(false);
                let why = chain(&fault);
                tracing::error!(on = name, %why, "changed certificates are refused, the old stay in force");
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
