//! `/v1/watch`: what changes the config, sessions and locks, as server-sent events.
//!
//! A stream reads this node's own state machine whenever its connection has room, so nothing is queued for it and a
//! slow reader costs no more than a fast one. An event tells all that one slot of the log did and its id is that slot,
//! the same on every node: whoever has read an event goes on behind it, at any node, with nothing left out or told
//! twice. Between events an id alone says how far the stream is, so that a quiet one need not go back to its last
//! event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use super::lengthy::{SHORT, lengthy};
use super::options::{Consistency, WatchOptions, Watched};
use super::problem::{Kind, Problem};
use super::revisions;
use super::{AdminState, read};
use crate::config::Revision;
use crate::config::policy::redact;
use crate::replication::Committed;
use crate::shutdown::Shutdown;
use crate::state::{Entry, Happened, Machine};

/// Watchers of one node at a time.
pub(super) const WATCHERS: usize = 1_000;
/// The longest silence of a stream.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Events taken from the state at once.
const BATCH: usize = 64;

/// The path's methods; all its streams share one bound.
pub(super) fn route() -> MethodRouter<AdminState> {
    let seats = Arc::new(Semaphore::new(WATCHERS));
    get(move |state, options| open(seats.clone(), state, options))
}

async fn open(
    seats: Arc<Semaphore>,
    State(state): State<AdminState>,
    options: WatchOptions,
) -> Result<Response, Problem> {
    let seat = seats.try_acquire_owned().map_err(|_| {
        let detail = format!("this node has {WATCHERS} watchers, as many as it takes; ask another");
        Problem::new(Kind::Crowded, detail).retry_after(10)
    })?;
    let at = start(&state, &options).await?;
    let stream = Stream {
        committed: state.replication.watch(),
        locked: state.replication.locked(),
        shutdown: state.shutdown.clone(),
        state,
        watched: options.watched,
        at,
        ready: VecDeque::new(),
        // At once: whoever asked from now on learns where that is.
        beat: Instant::now(),
        ended: false,
        _seat: seat,
    };
    let next = |mut stream: Stream| async move {
        let text = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(text), stream))
    };
    let head = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((head, Body::from_stream(stream::unfold(stream, next))).into_response())
}

/// Behind which slot to begin.
async fn start(state: &AdminState, options: &WatchOptions) -> Result<u64, Problem> {
    let applied = || state.replication.inspect(Machine::applied);
    let Some(since) = options.since else {
        return Ok(applied());
    };
    if since > applied() {
        // Another node may have told it before this one knew.
        read::fresh(state, Consistency::Linearizable).await?;
    }
    let newest = applied();
    if since > newest {
        let detail = format!("is {since}, and the newest slot is {newest}: nobody was told of it");
        return Err(Problem::at(Kind::Invalid, "?since", detail).with("newest", newest));
    }
    let watched = &options.watched;
    match state
        .replication
        .inspect(|machine| oldest(machine, watched))
    {
        oldest if since < oldest => Err(compacted(since, oldest)),
        _ => Ok(since),
    }
}

/// The oldest slot behind which all that is watched is still kept.
fn oldest(machine: &Machine, watched: &Watched) -> u64 {
    let config = watched.config.then(|| machine.history().compacted().0);
    let locks = watched.locks.then(|| machine.locks().events().compacted());
    config.max(locks).unwrap_or(0)
}

fn compacted(since: u64, oldest: u64) -> Problem {
    let detail = format!(
        "not all that happened since {since} is kept; watch from {oldest} or later, for which read anew what is there"
    );
    Problem::new(Kind::Compacted, detail).with("oldest", oldest)
}

/// One watcher's.
struct Stream {
    state: AdminState,
    watched: Watched,
    /// All up to this slot is in `ready` or was told.
    at: u64,
    ready: VecDeque<News>,
    /// When a sign of life is due.
    beat: Instant,
    ended: bool,
    committed: watch::Receiver<Committed>,
    locked: watch::Receiver<u64>,
    shutdown: Shutdown,
    _seat: OwnedSemaphorePermit,
}

/// What one slot did.
enum News {
    Config(Arc<Entry>),
    Locks(Arc<Happened>),
}

impl Stream {
    /// What to send next; `None` at the end. May be dropped at any time together with the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(news) = self.ready.pop_front() {
                let text = || news.text(&self.watched);
                let text = match news.is_short() {
                    true => text(),
                    false => lengthy(text).await,
                };
                return Some(self.send(text));
            }
            if self.ended || self.shutdown.is_requested() {
                return None;
            }
            if self.beat <= Instant::now() {
                // An id without data moves a reader's position and is no event.
                return Some(self.send(format!(":\nid: {}\n\n", self.at)));
            }
            self.committed.mark_unchanged();
            self.locked.mark_unchanged();
            if let Err(oldest) = self.read() {
                self.ended = true;
                let data = json!({ "oldest": oldest });
                return Some(self.send(format!("event: compacted\ndata: {data}\n\n")));
            }
            if self.ready.is_empty() {
                self.wait().await;
            }
        }
    }

    /// Returns when there may be something to do. Cancelling any of its arms loses nothing.
    async fn wait(&mut self) {
        let changed = tokio::select! {
            changed = self.committed.changed() => changed,
            changed = self.locked.changed() => changed,
            () = self.shutdown.requested() => Ok(()),
            () = sleep_until(self.beat) => Ok(()),
        };
        // The replica is gone, and nothing more will happen.
        self.ended = changed.is_err();
    }

    /// Takes what happened behind `at`; refused where that is no longer all there.
    fn read(&mut self) -> Result<(), u64> {
        let (at, watched) = (self.at, &self.watched);
        let (news, applied) = self.state.replication.inspect(|machine| {
            let oldest = oldest(machine, watched);
            if at < oldest {
                return Err(oldest);
            }
            Ok((news(machine, watched, at), machine.applied()))
        })?;
        self.at = match news.last() {
            Some(last) if news.len() == BATCH => last.slot(),
            _ => at.max(applied),
        };
        self.ready = news.into();
        Ok(())
    }

    fn send(&mut self, text: String) -> Bytes {
        self.beat = Instant::now() + HEARTBEAT;
        text.into()
    }
}

/// The first of what happened behind `at`, in the order of the log.
fn news(machine: &Machine, watched: &Watched, at: u64) -> Vec<News> {
    let config = watched
        .config
        .then(|| machine.history().after(Revision(at)));
    let config = config.into_iter().flatten().take(BATCH);
    let locks = watched.locks.then(|| machine.locks().events().after(at));
    let locks = locks.into_iter().flatten();
    let locks = locks.filter(|it| it.events.iter().any(|event| watched.wants(event)));
    let mut news: Vec<News> = config.cloned().map(News::Config).collect();
    news.extend(locks.take(BATCH).cloned().map(News::Locks));
    news.sort_by_key(News::slot);
    news.truncate(BATCH);
    news
}

impl News {
    fn slot(&self) -> u64 {
        match self {
            Self::Config(entry) => entry.revision.0,
            Self::Locks(happened) => happened.slot,
        }
    }

    /// Whether it is told in no time.
    fn is_short(&self) -> bool {
        match self {
            Self::Config(entry) => entry.bytes() <= SHORT,
            Self::Locks(_) => true,
        }
    }

    fn text(&self, watched: &Watched) -> String {
        let (kind, data) = match self {
            Self::Config(entry) => {
                let mut data = revisions::item(entry);
                data["changes"] = json!(entry.changes());
                redact(&mut data["changes"]);
                ("config", data)
            }
            Self::Locks(happened) => ("locks", locks(happened, watched)),
        };
        format!("id: {}\nevent: {kind}\ndata: {data}\n\n", self.slot())
    }
}

fn locks(happened: &Happened, watched: &Watched) -> Value {
    let events = happened.events.iter();
    let events: Vec<_> = events.filter(|event| watched.wants(event)).collect();
    json!({"slot": happened.slot, "time": revisions::time(happened.stamp), "events": events})
}
