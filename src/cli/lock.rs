//! `synod lock NAME -- COMMAND`: holds a lock while the command runs.
//!
//! The command finds its fencing token in `SYNOD_LOCK_TOKEN`: whatever it changes can refuse an older one. When the
//! session is lost the command is ended, for somebody else may hold the lock. SIGTERM goes on to the command, and so
//! does SIGINT where no terminal has sent it there already.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::Failure;
use super::remote::{Remote, duration};
use crate::client::{Claim, GRACE, Held, LockError, Session};
use crate::config::{Name, limits};

/// How long a command that is asked to end may take before it is killed.
const PARTING: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The lock's name
    name: Name,
    /// Share it with others that do
    #[arg(long)]
    shared: bool,
    /// How long to wait for it; 0s: not at all [default: as long as it takes, up to 24h]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// How long nobody else gets it if this fails while it holds it, up to 60s
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15s")]
    lock_delay: Duration,
    /// How long the cluster waits for a sign of life before it takes this for failed, 2s to 1h
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "12s")]
    lease: Duration,
    /// How long the command may go on after that without an answer of the cluster
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "45s")]
    grace: Duration,
    /// What others see of the holder
    #[arg(long, value_name = "TEXT", default_value = "")]
    content: String,
    /// What to run, with SYNOD_LOCK_TOKEN in its environment; its exit code is this one's
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    debug_assert_eq!(GRACE, Duration::from_secs(45), "as the help says");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(hold(remote, args));
    runtime.shutdown_background();
    match code(ended?) {
        0 => Ok(()),
        code => Err(Failure::Command(code)),
    }
}

async fn hold(remote: &Remote, args: Args) -> Result<ExitStatus, Failure> {
    let client = remote.client()?;
    let session = Session::open(&client, args.lease, args.grace).await?;
    let claim = Claim {
        shared: args.shared,
        wait: args.wait.unwrap_or(limits::LOCK_WAIT),
        lock_delay: args.lock_delay,
        content: args.content,
    };
    let held = acquire(&session, args.name.as_str(), &claim).await;
    let ended = match held {
        Ok(held) => supervise(&session, &held, &args.command).await,
        Err(error) => Err(error),
    };
    // The lock is free at once; where nobody answers the lease ends it.
    let _ = session.close().await;
    ended
}

/// Waits for the lock, or for a signal that says not to.
async fn acquire(session: &Session, name: &str, claim: &Claim) -> Result<Held, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let failed = |error: LockError| match error {
        LockError::TimedOut { .. } => Failure::TimedOut(error.into()),
        error => Failure::Failed(error.into()),
    };
    // Cancelling the claim leaves it with the session, which is closed next.
    tokio::select! {
        held = session.acquire(name, claim) => held.map_err(failed),
        _ = terminate.recv() => Err(Failure::Command(143)),
        _ = interrupt.recv() => Err(Failure::Command(130)),
    }
}

/// Runs the command until it ends, or the session does.
async fn supervise(
    session: &Session,
    held: &Held,
    command: &[String],
) -> Result<ExitStatus, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (program, arguments) = command.split_first().context("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("SYNOD_LOCK", &held.lock)
        .env("SYNOD_LOCK_TOKEN", held.token.to_string())
        .env("SYNOD_LOCK_SESSION", session.id().to_string())
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    let terminal = std::io::stdin().is_terminal();
    loop {
        // Cancelling any of these loses nothing: a signal or an end that comes later is kept.
        tokio::select! {
            status = child.wait() => return Ok(status?),
            () = session.expired() => break,
            _ = terminate.recv() => send(&child, Signal::TERM),
            _ = interrupt.recv() => if !terminal {
                send(&child, Signal::INT);
            },
        }
    }
    let lost = format!("the lock {} was lost: its session has ended", held.lock);
    let _ = writeln!(std::io::stderr(), "{lost}; ending `{program}`");
    send(&child, Signal::TERM);
    if timeout(PARTING, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "{lost}; `{program}` was ended before it was done"
    )))
}

/// It may have ended already.
fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// As a shell tells it: 128 and the signal where one has ended it.
fn code(status: ExitStatus) -> u8 {
    let signal = || 128 + status.signal().unwrap_or(0);
    let code = status.code().unwrap_or_else(signal);
    u8::try_from(code).unwrap_or(1)
}
