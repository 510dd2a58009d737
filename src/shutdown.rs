//! The drain signal: one value that every part may wait for, set once by SIGTERM, SIGINT or a caller.
//!
//! It says only that this node is to end; what each part does about it, and for how long, is that part's own matter.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Sets the signal. Dropping it sets it too: a part whose owner is gone has no reason to stay.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Tells whether this node is to end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// An unset signal and what sets it.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

/// A signal that the first SIGTERM or SIGINT sets. A second one ends the process at once, for an operator who
/// will not wait for the drain. Needs a tokio runtime.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signals() -> io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (trigger, shutdown) = channel();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "draining; a second signal ends at once");
        trigger.set();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal: ending at once");
        std::process::exit(1);
    });
    Ok(shutdown)
}

impl Trigger {
    /// Sets the signal, for good.
    pub fn set(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether the signal was set.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns once the signal is set. May be dropped and called again at any time.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone, which sets the signal too.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_signal() {
        let (trigger, mut shutdown) = channel();
        let mut other = shutdown.clone();
        assert!(!shutdown.is_requested());
        trigger.set();
        shutdown.requested().await;
        other.requested().await;
        assert!(other.is_requested());
    }

    #[tokio::test]
    async fn a_lost_trigger_counts_as_set() {
        let (trigger, mut shutdown) = channel();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
