//! `synod lock NAME -- COMMAND`: holds a lock while the command runs.
//!
//! The command finds its fencing token in `SYNOD_LOCK_TOKEN`: whatever it changes can refuse an older one. When the
//! session is lost the command is ended, for somebody else may hold the lock. Signals that ask for the end go on to the
//! command, and its end is this one's; else it would go on with nobody keeping the lock for it.

use std::future::poll_fn;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};
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
    let mut signals = Signals::listen()?;
    // Cancelled half-way it may leave a session, which ends when its lease does.
    let session = tokio::select! {
        session = Session::open(&client, args.lease, args.grace) => session?,
        signal = signals.next() => return Err(ended_by(signal)),
    };
    let claim = Claim {
        shared: args.shared,
        wait: args.wait.unwrap_or(limits::LOCK_WAIT),
        lock_delay: args.lock_delay,
        content: args.content,
    };
    // Cancelling the claim leaves it with the session, which is closed next.
    let held = tokio::select! {
        held = session.acquire(args.name.as_str(), &claim) => held.map_err(|error| match error {
            LockError::TimedOut { .. } => Failure::TimedOut(error.into()),
            error => Failure::Failed(error.into()),
        }),
        signal = signals.next() => Err(ended_by(signal)),
    };
    let ended = match held {
        Ok(held) => supervise(&session, &held, &args.command, &mut signals).await,
        Err(error) => Err(error),
    };
    // The lock is free at once; where nobody answers the lease ends it.
    let _ = session.close().await;
    ended
}

/// As a shell tells it.
fn ended_by(signal: Signal) -> Failure {
    Failure::Command(u8::try_from(128 + signal.as_raw()).unwrap_or(1))
}

/// Runs the command until it ends, or the session does.
async fn supervise(
    session: &Session,
    held: &Held,
    command: &[String],
    signals: &mut Signals,
) -> Result<ExitStatus, Failure> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("SYNOD_LOCK", &held.lock)
        .env("SYNOD_LOCK_TOKEN", held.token.to_string())
        .env("SYNOD_LOCK_SESSION", session.id().to_string())
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    let terminal = io::stdin().is_terminal();
    loop {
        // Cancelling any of these loses nothing: a signal or an end that comes later is kept.
        tokio::select! {
            status = child.wait() => return Ok(status?),
            () = session.expired() => break,
            signal = signals.next() => match signal {
                // The terminal has sent it there already.
                Signal::INT | Signal::QUIT if terminal => {}
                signal => send(&child, signal),
            },
        }
    }
    let lost = format!("the lock {} was lost: its session has ended", held.lock);
    let _ = writeln!(io::stderr(), "{lost}; ending `{program}`");
    send(&child, Signal::TERM);
    if timeout(PARTING, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "{lost}; `{program}` was ended before it was done"
    )))
}

/// The signals that ask for the end, but those that were ignored when this began, as under `nohup`: the command
/// ignores them too.
struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let ends = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
        let heard = ends.into_iter().filter(|signal| !ignored(*signal));
        let listen = |signal: Signal| {
            let kind = SignalKind::from_raw(signal.as_raw());
            Ok((signal, unix::signal(kind)?))
        };
        heard.map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// The next one; dropping it loses none.
    async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(cx).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether this process was told to ignore a signal by who started it; where the system does not tell, it was not.
pub(super) fn ignored() -> impl Fn(Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let mask = mask.unwrap_or(0);
    move |signal| mask >> (signal.as_raw() - 1) & 1 == 1
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
