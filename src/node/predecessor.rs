//! The process that this one takes over from, as this one sees it: see [`successor`](super::successor).

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::sockets::Sockets;
use super::successor::{APPLIED, PREPARED, RELEASED, SERVING, TAKES_OVER, heard, say};
use crate::config::Config;

/// What is left of the process before may take so long to go by a config.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that still serves, and waits for this one.
#[derive(Debug)]
pub struct Predecessor {
    pub(super) sockets: Sockets,
    channel: StdStream,
}

impl Predecessor {
    /// The one that started this process to be taken over from, if it was started so.
    ///
    /// # Errors
    /// When it does not hand over what it should.
    pub fn find() -> anyhow::Result<Option<Self>> {
        if std::env::var_os(TAKES_OVER).is_none() {
            return Ok(None);
        }
        let channel = StdStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        // Nobody else is to read from it.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let sockets = Sockets::receive(&channel);
        let sockets = sockets.with_context(|| {
            format!(
                "{TAKES_OVER} is set, but no running node hands its sockets over; start without it"
            )
        })?;
        Ok(Some(Self { sockets, channel }))
    }

    /// Says that all is prepared, and waits until the data directory is free.
    pub(super) async fn released(self) -> anyhow::Result<Leaving> {
        self.channel.set_nonblocking(true)?;
        let mut channel = BufReader::new(UnixStream::from_std(self.channel)?);
        say(channel.get_mut(), PREPARED).await?;
        let said = heard(&mut channel)
            .await
            .context("the process before ended")?;
        anyhow::ensure!(said == RELEASED, "the process before says {said:?}");
        Ok(Leaving(Mutex::new(Some(channel))))
    }
}

/// What is left of the process before, until it has ended.
#[derive(Debug)]
pub(super) struct Leaving(Mutex<Option<BufReader<UnixStream>>>);

impl Leaving {
    /// Tells it to accept no more, and to end.
    pub(super) async fn relieve(&self) -> anyhow::Result<()> {
        let mut channel = self.0.lock().await;
        let channel = channel.as_mut().context("there is none")?;
        say(channel.get_mut(), SERVING)
            .await
            .context("the process before ended")
    }

    /// Returns once it goes by `config` too, or has ended.
    pub(super) async fn take_along(&self, config: &Config) {
        let mut channel = self.0.lock().await;
        let Some(left) = channel.as_mut() else {
            return;
        };
        let mut image = Vec::new();
        config.write_image(&mut image);
        let applied = async {
            say(left.get_mut(), &image.len().to_string()).await?;
            left.get_mut().write_all(&image).await?;
            heard(left).await
        };
        match tokio::time::timeout(PATIENCE, applied).await {
            Ok(Ok(said)) if said == APPLIED => return,
            Ok(_) => tracing::debug!("the process before has ended"),
            Err(_) => tracing::warn!(
                "what is left of the process before does not go by the newest config"
            ),
        }
        *channel = None;
    }
}
