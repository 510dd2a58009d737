//! What a request may say beside its path and body, one extractor for each kind of request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::HeaderMap;
use http::header::HeaderName;
use http::request::Parts;

use super::AdminState;
use super::access::Who;
use super::conditions::Condition;
use super::problem::{Kind, Problem};
use super::query::{Query, duration, number, word};
use super::serve::Caller;
use crate::config::{Name, limits};
use crate::state::{Key, LockEvent, Stamp};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const SYNOD_COMMENT: HeaderName = HeaderName::from_static("synod-comment");

/// What `?timeout=` is without being said, and the most it can be.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// How long a call waits for a lock without being said.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// What `?timeout=` of a change of who votes is without being said.
const CATCH_UP: Duration = Duration::from_secs(30);
/// What `?limit=` is without being said, and the most it can be.
const LIMIT: (usize, u64) = (1_000, 10_000);

/// How new what is read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    /// Reflects every write acknowledged before the request; needs a quorum.
    Linearizable,
    /// What this node knows; always answers.
    Local,
}

/// What a write waits for before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing: the answer says under which key it was proposed.
    None,
    /// Durable on a majority.
    Committed,
    /// Served by every live node.
    Applied,
    /// Served by every live node, and the backend's last request has ended, on every node that can be asked.
    Empty,
}

/// For reads of one thing.
pub(super) struct ReadOptions {
    pub(super) consistency: Consistency,
}

/// For reads of what only this node can tell: local unless said.
pub(super) struct NodeOptions {
    pub(super) consistency: Consistency,
}

/// For changes of who votes: how long to wait for those that come.
pub(super) struct MemberOptions(pub(super) Duration);

/// For reads of lists.
pub(super) struct PageOptions {
    pub(super) consistency: Consistency,
    pub(super) limit: usize,
    /// The `next` of the page before.
    pub(super) after: Option<String>,
}

/// For changes.
pub(super) struct WriteOptions {
    pub(super) wait: Wait,
    pub(super) timeout: Duration,
    pub(super) dry_run: bool,
    /// Given by the client, or drawn here: a retry under it is not a second write.
    pub(super) key: Key,
    /// The key is the client's, so this may be a retry.
    pub(super) retried: bool,
    pub(super) comment: String,
    pub(super) author: String,
    pub(super) condition: Condition,
}

/// For operations on sessions and locks.
pub(super) struct LockOptions {
    /// How long the call may wait for a lock.
    pub(super) timeout: Duration,
    /// Given by the client, or drawn here.
    pub(super) key: Key,
    pub(super) author: String,
}

/// For a look at a token.
pub(super) struct CheckOptions {
    pub(super) consistency: Consistency,
    pub(super) token: u64,
}

/// For the stream of what happens.
pub(super) struct WatchOptions {
    /// Behind which slot to begin; none: now.
    pub(super) since: Option<u64>,
    pub(super) watched: Watched,
}

/// What a watcher wants to hear of.
pub(super) struct Watched {
    pub(super) config: bool,
    pub(super) locks: bool,
    /// Of locks only this one.
    lock: Option<Name>,
}

impl Watched {
    /// Whether this is told where locks are.
    pub(super) fn wants(&self, event: &LockEvent) -> bool {
        self.lock.is_none() || self.lock.as_ref() == event.lock()
    }
}

/// For changes of a backend's state, which can also be waited on until it is empty.
pub(super) struct StateOptions(pub(super) WriteOptions);

impl<S: Sync> FromRequestParts<S> for ReadOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let consistency = consistency_alone(parts)?.unwrap_or(Consistency::Linearizable);
        Ok(Self { consistency })
    }
}

impl<S: Sync> FromRequestParts<S> for NodeOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let consistency = consistency_alone(parts)?.unwrap_or(Consistency::Local);
        Ok(Self { consistency })
    }
}

impl<S: Sync> FromRequestParts<S> for MemberOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Query::of(&parts.uri)?;
        let timeout = query.take("timeout", |given| duration(given, TIMEOUT.1));
        query.finish()?;
        Ok(Self(timeout.unwrap_or(CATCH_UP)))
    }
}

impl<S: Sync> FromRequestParts<S> for PageOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Query::of(&parts.uri)?;
        let consistency = consistency(&mut query);
        let limit = query.take("limit", |given| number(given, 1..=LIMIT.1));
        let after = query.take("after", |given| Ok(given.to_owned()));
        query.finish()?;
        Ok(Self {
            consistency: consistency.unwrap_or(Consistency::Linearizable),
            limit: limit.map_or(LIMIT.0, |limit| limit as usize),
            after,
        })
    }
}

impl FromRequestParts<AdminState> for LockOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        let mut query = Query::of(&parts.uri)?;
        let timeout = query.take("timeout", |given| duration(given, TIMEOUT.1));
        query.finish()?;
        Ok(Self {
            timeout: timeout.unwrap_or(LOCK_TIMEOUT),
            key: key(&parts.headers, state)?,
            author: author(parts),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for CheckOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Query::of(&parts.uri)?;
        let consistency = consistency(&mut query);
        let token = query.take("token", |given| number(given, 1..=u64::MAX));
        query.finish()?;
        let missing = || Problem::at(Kind::Malformed, "?token", "is missing: which token?");
        Ok(Self {
            consistency: consistency.unwrap_or(Consistency::Linearizable),
            token: token.ok_or_else(missing)?,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for WatchOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Query::of(&parts.uri)?;
        let since = query.take("since", |given| number(given, 0..=u64::MAX));
        let kinds = [("config", (true, false)), ("locks", (false, true))];
        let kind = query.take("kind", |given| word(&kinds, given));
        let lock = query.take("lock", |given| {
            Name::new(given).map_err(|wrong| format!("is {given:?}, which {wrong}"))
        });
        query.finish()?;
        let unsaid = (lock.is_none(), true);
        let (config, locks) = kind.unwrap_or(unsaid);
        if lock.is_some() && !locks {
            let detail = "is of locks, and ?kind=config leaves them out";
            return Err(Problem::at(Kind::Malformed, "?lock", detail));
        }
        Ok(Self {
            since: last_event_id(&parts.headers)?.or(since),
            watched: Watched {
                config,
                locks,
                lock,
            },
        })
    }
}

impl FromRequestParts<AdminState> for WriteOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        write(
            parts,
            state,
            &[
                ("committed", Wait::Committed),
                ("applied", Wait::Applied),
                ("none", Wait::None),
            ],
        )
    }
}

impl FromRequestParts<AdminState> for StateOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        let waits = [
            ("committed", Wait::Committed),
            ("applied", Wait::Applied),
            ("empty", Wait::Empty),
            ("none", Wait::None),
        ];
        write(parts, state, &waits).map(Self)
    }
}

/// What the query says, of which it is the only parameter.
fn consistency_alone(parts: &Parts) -> Result<Option<Consistency>, Problem> {
    let mut query = Query::of(&parts.uri)?;
    let consistency = consistency(&mut query);
    query.finish()?;
    Ok(consistency)
}

fn consistency(query: &mut Query) -> Option<Consistency> {
    let words = [
        ("linearizable", Consistency::Linearizable),
        ("local", Consistency::Local),
    ];
    query.take("consistency", |given| word(&words, given))
}

fn write(
    parts: &Parts,
    state: &AdminState,
    waits: &[(&str, Wait)],
) -> Result<WriteOptions, Problem> {
    let mut query = Query::of(&parts.uri)?;
    let wait = query.take("wait", |given| word(waits, given));
    let timeout = query.take("timeout", |given| duration(given, TIMEOUT.1));
    let dry_run = query.take("dry_run", |given| {
        word(&[("true", true), ("false", false)], given)
    });
    query.finish()?;
    Ok(WriteOptions {
        wait: wait.unwrap_or(Wait::Committed),
        timeout: timeout.unwrap_or(TIMEOUT.0),
        dry_run: dry_run.unwrap_or(false),
        retried: parts.headers.contains_key(IDEMPOTENCY_KEY),
        key: key(&parts.headers, state)?,
        comment: comment(&parts.headers)?,
        author: author(parts),
        condition: Condition::of_write(&parts.headers)?,
    })
}

/// Where a watcher that was cut off has come to: newer than what its query says.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(given) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let id = given.to_str().ok().and_then(|id| id.parse().ok());
    let wrong = || header(LAST_EVENT_ID, "it must be the id of an event, a number");
    id.ok_or_else(wrong).map(Some)
}

/// The key of the client, bare or as a quoted string, or a fresh one.
fn key(headers: &HeaderMap, state: &AdminState) -> Result<Key, Problem> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(fresh_key(state));
    };
    let given = given.to_str().unwrap_or("");
    let bare = given
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(given);
    Key::new(bare).map_err(|error| header(IDEMPOTENCY_KEY, &error.to_string()))
}

/// Of the later of this node's clock and state time: a leader whose clock once ran ahead must not make every key of
/// the others look long expired.
fn fresh_key(state: &AdminState) -> Key {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    let clock = Stamp(clock.map_or(0, |since| since.as_millis() as u64));
    let now = clock.max(state.replication.glance().now);
    Key::fresh(now, rand::random())
}

fn comment(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(given) = headers.get(SYNOD_COMMENT) else {
        return Ok(String::new());
    };
    let text = std::str::from_utf8(given.as_bytes())
        .map_err(|_| header(SYNOD_COMMENT, "it must be UTF-8"))?;
    if text.len() > limits::COMMENT_BYTES {
        return Err(header(
            SYNOD_COMMENT,
            &format!("it must be at most {} bytes", limits::COMMENT_BYTES),
        ));
    }
    Ok(text.to_owned())
}

/// Where nobody need say who they are, all that can be said honestly is where the connection came from.
fn author(parts: &Parts) -> String {
    if let Some(who) = parts.extensions.get::<Who>() {
        return who.name.clone();
    }
    match parts.extensions.get::<ConnectInfo<Caller>>() {
        Some(ConnectInfo(caller)) => format!("anonymous@{}", caller.address.ip()),
        None => "anonymous".to_owned(),
    }
}

fn header(name: HeaderName, why: &str) -> Problem {
    Problem::new(
        Kind::Malformed,
        format!("the header {name} is wrong: {why}"),
    )
}
