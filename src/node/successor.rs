//! The process that is to go on in place of this one, as this one sees it.
//!
//! ```text
//! this process                                 its successor, started by it
//! sockets                                  ->
//!                                          <-  prepared: settings, certificates and sockets are good
//! released: the data directory is free     ->
//!                                          <-  serving: it accepts, and its replica runs
//!                                          <-  config: each that it serves
//! applied: what is left here goes by it    ->
//! ```
//!
//! Until it serves, it is ended with whatever went wrong, and nothing has changed for clients.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::sockets::Sockets;
use crate::config::Config;

/// Set for a process that is to take over from the one at the other end of its standard input.
pub(super) const TAKES_OVER: &str = "SYNOD_TAKES_OVER";

pub(super) const PREPARED: &str = "prepared";
pub(super) const RELEASED: &str = "released";
pub(super) const SERVING: &str = "serving";
pub(super) const APPLIED: &str = "applied";

/// So long a successor may take for each step.
const PATIENCE: Duration = Duration::from_secs(60);

/// A config as it is written, at most.
const CONFIG: u64 = 1 << 30;

/// A process that was started to take over.
#[derive(Debug)]
pub(super) struct Successor {
    process: Process,
    channel: BufReader<UnixStream>,
}

impl Successor {
    /// Starts the program that this process was started from, as it is there now, with the same arguments.
    pub(super) fn start(sockets: &Sockets) -> anyhow::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        let mut arguments = std::env::args_os();
        let program = arguments
            .next()
            .context("this process does not know its program")?;
        let process = Command::new(&program)
            .args(arguments)
            .env(TAKES_OVER, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let process = Process(Some(process));
        sockets.send(&ours).context("cannot pass the sockets on")?;
        ours.set_nonblocking(true)?;
        let channel = BufReader::new(UnixStream::from_std(ours)?);
        Ok(Self { process, channel })
    }

    /// The number of its process.
    pub(super) fn id(&self) -> u32 {
        self.process.0.as_ref().map_or(0, Child::id)
    }

    /// Returns once it needs the data directory.
    pub(super) async fn prepared(&mut self) -> anyhow::Result<()> {
        self.says(PREPARED).await
    }

    /// Gives it the data directory; returns once it serves.
    pub(super) async fn serving(&mut self) -> anyhow::Result<()> {
        let told = say(self.channel.get_mut(), RELEASED).await;
        told.context("cannot tell the new process to go on")?;
        self.says(SERVING).await
    }

    async fn says(&mut self, expected: &str) -> anyhow::Result<()> {
        let said = tokio::time::timeout(PATIENCE, heard(&mut self.channel)).await;
        match said {
            Ok(Ok(said)) if said == expected => Ok(()),
            Ok(Ok(said)) => anyhow::bail!("the new process says {said:?} instead of {expected:?}"),
            Ok(Err(_)) => {
                let ended = self.process.ended().await;
                let ended =
                    ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                anyhow::bail!(
                    "the new process ended before it served ({ended}); its standard error tells why"
                )
            }
            Err(_) => anyhow::bail!("the new process was not {expected} within {PATIENCE:?}"),
        }
    }

    /// It goes on by itself: what it says from here on.
    pub(super) fn go(mut self) -> Heir {
        // It is waited for by whoever waits for this process.
        self.process.0 = None;
        Heir(self.channel)
    }
}

/// A successor that serves, for what is left here to go by the configs that it serves.
#[derive(Debug)]
pub(super) struct Heir(BufReader<UnixStream>);

impl Heir {
    /// The next config; none when it no longer says any.
    pub(super) async fn config(&mut self) -> Option<Arc<Config>> {
        let length: u64 = heard(&mut self.0).await.ok()?.parse().ok()?;
        let mut image = Vec::new();
        let whole = (&mut self.0)
            .take(length.min(CONFIG))
            .read_to_end(&mut image)
            .await
            .ok()?;
        let config = Config::read_image(&image)
            .ok()
            .filter(|_| whole as u64 == length)?;
        Some(Arc::new(config))
    }

    /// What is left here goes by the last one.
    pub(super) async fn applied(&mut self) -> io::Result<()> {
        say(self.0.get_mut(), APPLIED).await
    }
}

/// Ended when dropped.
#[derive(Debug)]
struct Process(Option<Child>);

impl Process {
    /// How it ended, of one that has closed its channel and is about to.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        for _ in 0..100 {
            let ended = self.0.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                self.0 = None;
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.end()
    }

    /// How it ended: by itself, or here.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let Some(mut process) = self.0.take() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // What has ended already is not hit.
        process.kill()?;
        process.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If it fails there is nothing left to end.
        let _ = self.end();
    }
}

/// Says one word.
pub(super) async fn say(channel: &mut UnixStream, word: &str) -> io::Result<()> {
    channel.write_all(format!("{word}\n").as_bytes()).await
}

/// The next word of the other side.
pub(super) async fn heard(channel: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut word = Vec::new();
    // No word is as long as this.
    while word.len() < 32 {
        match channel.read_u8().await? {
            b'\n' => return Ok(String::from_utf8_lossy(&word).into_owned()),
            byte => word.push(byte),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
