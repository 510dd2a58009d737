//! A line on the terminal about how it goes, while a command waits.
//!
//! It is asked for on a thread of its own, so that what waits need not know of it, and is gone once the answer is
//! there.

use std::io::{IsTerminal as _, Write as _};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::Failure;
use super::remote::Remote;
use crate::client::{Call, Client};

/// What takes less needs no word without a terminal.
const SOON: Duration = Duration::from_secs(1);
/// Between two looks; what takes less shows no line at all.
const EVERY: Duration = Duration::from_millis(500);
/// Begins the line anew, and empties it.
const ANEW: &str = "\r\x1b[2K";

/// Shows the line until it is dropped.
pub(super) struct Progress {
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows what `line` makes of the answer at `path`, where it makes something of it. None without a terminal.
    pub(super) fn show(
        remote: &Remote,
        path: String,
        line: impl Fn(&Value) -> Option<String> + Send + 'static,
    ) -> Result<Option<Self>, Failure> {
        if !std::io::stderr().is_terminal() {
            return Ok(None);
        }
        let client = remote.client()?;
        let looks = async move {
            look(&client, &path, line).await;
        };
        Self::until_dropped(looks, ANEW).map(Some)
    }

    /// The same, and without a terminal once what is waited for, if it takes a while.
    pub(super) fn tell(
        remote: &Remote,
        what: String,
        path: String,
        line: impl Fn(&Value) -> Option<String> + Send + 'static,
    ) -> Result<Self, Failure> {
        if let Some(shown) = Self::show(remote, path, line)? {
            return Ok(shown);
        }
        let told = async move {
            tokio::time::sleep(SOON).await;
            write(&format!("{what}\n"));
            std::future::pending().await
        };
        Self::until_dropped(told, "")
    }

    fn until_dropped(
        shows: impl Future<Output = ()> + Send + 'static,
        last: &'static str,
    ) -> Result<Self, Failure> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                // Cancelling it loses a look at how it goes.
                tokio::select! {
                    _ = stopped => {}
                    () = shows => {}
                }
            });
            write(last);
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        // It ends at once, and must have taken its line away before the answer is printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn look(client: &Client, path: &str, line: impl Fn(&Value) -> Option<String>) {
    loop {
        tokio::time::sleep(EVERY).await;
        // What it is about tells its failure itself.
        let Ok(answer) = client.call(Call::get(path)).await else {
            continue;
        };
        write(&format!("{ANEW}{}", line(&answer.body).unwrap_or_default()));
    }
}

fn write(text: &str) {
    let mut terminal = std::io::stderr().lock();
    // A terminal that is gone needs no line.
    let _ = terminal.write_all(text.as_bytes());
    let _ = terminal.flush();
}
