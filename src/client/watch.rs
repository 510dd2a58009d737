//! What happens to the config, sessions and locks, through the ends of connections and of nodes.
//!
//! A [`Watch`] knows the id of the last event it gave out and goes on behind it at whichever node answers, so that
//! nothing is left out and nothing told twice.

use std::time::Duration;

use http_body_util::BodyExt as _;
use memchr::memmem;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::connection::{self, Broken, Streamed};
use super::failures::Missed;
use super::{Call, Client, Error, SYNOD_NODE, is_node, strange};

/// A node says at least every 10 s that it lives; one that is silent for so long is left.
const SILENCE: Duration = Duration::from_secs(30);
/// Between the end of one stream and the next.
const AGAIN: Duration = Duration::from_millis(200);
/// The largest event: what the largest change of the largest config is told by.
const EVENT_BYTES: usize = 128 << 20;

/// What to watch, and from where on.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// Behind this slot; none: from now on.
    pub since: Option<u64>,
    /// Only `config` or `locks`.
    pub kind: Option<String>,
    /// Of locks only this one, and nothing of the config.
    pub lock: Option<String>,
}

/// What one slot of the log did.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The slot.
    pub id: u64,
    /// `config` or `locks`.
    pub kind: String,
    /// As `/v1/watch` tells it.
    pub data: Value,
}

/// A stream of events without end.
pub struct Watch {
    client: Client,
    interest: Interest,
    /// Which address to ask next.
    turn: usize,
    stream: Option<Blocks>,
}

/// The blocks of one answer.
struct Blocks {
    streamed: Streamed,
    text: Vec<u8>,
    /// So much of the text is known to hold no end of a block.
    searched: usize,
}

/// A block's fields, as far as they are there.
#[derive(Debug, Default, PartialEq)]
struct Block {
    id: Option<u64>,
    kind: String,
    data: Value,
}

impl Client {
    /// Watches what happens; the first call of [`Watch::next`] connects.
    pub fn watch(&self, interest: Interest) -> Watch {
        Watch {
            client: self.clone(),
            interest,
            turn: 0,
            stream: None,
        }
    }
}

impl Watch {
    /// The next event. It may be dropped and called again at any time, also after an error: [`Error::Unreachable`]
    /// passes once a node answers again, and any other will be the same again.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if self.stream.is_none() {
                self.stream = Some(self.connect().await?);
            }
            let block = match &mut self.stream {
                Some(stream) => timeout(SILENCE, stream.next()).await.ok().flatten(),
                None => None,
            };
            let Some(block) = block else {
                (self.stream, self.turn) = (None, self.turn + 1);
                sleep(AGAIN).await;
                continue;
            };
            // Where the reader was too slow there is a block without an id: the next connection is told why.
            self.interest.since = block.id.or(self.interest.since);
            if let Some(id) = block.id.filter(|_| !block.kind.is_empty()) {
                let (kind, data) = (block.kind, block.data);
                return Ok(Event { id, kind, data });
            }
        }
    }

    /// Asks each node once, beginning with the one whose turn it is.
    async fn connect(&mut self) -> Result<Blocks, Error> {
        let call = self.interest.call();
        let mut tried = Vec::new();
        for _ in 0..self.client.admins.len() {
            let admin = &self.client.admins[self.turn % self.client.admins.len()];
            let opened = connection::open(&self.client, admin, &call);
            let why = match timeout(self.client.timeout, opened).await {
                Ok(Ok(streamed)) if !is_node(&streamed.head.headers) => {
                    return Err(strange(&admin.authority, &format!("`{SYNOD_NODE}`")));
                }
                Ok(Ok(streamed)) if streamed.head.status.is_success() => {
                    return Ok(Blocks::new(streamed));
                }
                Ok(Ok(refused)) => match refused.collect().await {
                    Ok(reply) => match reply.into_answer(&admin.authority) {
                        Err(Missed::Refused(problem)) if problem.status.as_u16() != 503 => {
                            return Err(Error::Refused(Box::new(problem)));
                        }
                        Err(Missed::Refused(problem)) => problem.to_string(),
                        _ => "no stream".to_owned(),
                    },
                    Err(error) => error.to_string(),
                },
                Ok(Err(Broken::Unfit(error))) => return Err(call.unfit(&error)),
                Ok(Err(Broken::NotSent(error))) => error.to_string(),
                Ok(Err(Broken::Sent(error))) => error.to_string(),
                Err(_) => format!("no answer in {:?}", self.client.timeout),
            };
            tried.push(format!("{}: {why}", admin.authority));
            self.turn += 1;
        }
        Err(Error::Unreachable { tried })
    }
}

impl Interest {
    fn call(&self) -> Call {
        let since = self.since.map(|since| ("since", since.to_string()));
        let kind = self.kind.clone().map(|kind| ("kind", kind));
        let lock = self.lock.clone().map(|lock| ("lock", lock));
        let query = [since, kind, lock].into_iter().flatten();
        let query: Vec<_> = query
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Call::get(format!("/v1/watch?{}", query.join("&")))
    }
}

impl Blocks {
    fn new(streamed: Streamed) -> Self {
        Self {
            streamed,
            text: Vec::new(),
            searched: 0,
        }
    }

    /// `None` where the stream has ended or makes no sense. Dropped half-way it goes on where it was.
    async fn next(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = memmem::find(&self.text[self.searched..], b"\n\n") {
                let end = self.searched + end + 2;
                let block = Block::of(&self.text[..end]);
                self.text.drain(..end);
                self.searched = 0;
                return block;
            }
            self.searched = self.text.len().saturating_sub(1);
            if self.text.len() > EVENT_BYTES {
                return None;
            }
            let frame = self.streamed.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.text.extend_from_slice(&data);
            }
        }
    }
}

impl Block {
    fn of(text: &[u8]) -> Option<Self> {
        let mut block = Self::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            match line.split_once(':') {
                Some(("id", id)) => block.id = Some(id.trim_start().parse().ok()?),
                Some(("event", kind)) => block.kind = kind.trim_start().to_owned(),
                Some(("data", data)) => block.data = serde_json::from_str(data).ok()?,
                // A comment, or what a later version says.
                _ => {}
            }
        }
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_block_is_an_event_an_id_or_nothing() {
        let block = |text: &str| Block::of(text.as_bytes());
        let event = block("id: 7\nevent: config\ndata: {\"a\":\":b\"}\n\n").unwrap();
        assert_eq!(
            (event.id, event.kind.as_str(), event.data),
            (Some(7), "config", json!({"a": ":b"}))
        );
        let alive = block(":\nid: 8\n\n").unwrap();
        assert_eq!((alive.id, alive.kind.as_str()), (Some(8), ""));
        assert_eq!(block("retry: 3\n\n"), Some(Block::default()));
        for wrong in ["id: x\n\n", "data: {\n\n"] {
            assert_eq!(block(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_asked_for() {
        let path = |since, kind: Option<&str>, lock: Option<&str>| {
            let (kind, lock) = (kind.map(str::to_owned), lock.map(str::to_owned));
            Interest { since, kind, lock }.call().path
        };
        assert_eq!(path(None, None, None), "/v1/watch?");
        let all = path(Some(3), Some("locks"), Some("deploy"));
        assert_eq!(all, "/v1/watch?since=3&kind=locks&lock=deploy");
    }
}
