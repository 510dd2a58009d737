//! Rust client of the admin API: one call, one answer, moving on to another node when one is dead.
//!
//! It knows the conventions (revision header, problem answers) and no resource; the command line and scripts build
//! on it. A write that may have been carried out is repeated only under the idempotency key it was first sent with.

mod call;
mod connection;
mod credentials;
mod failures;
mod problem;
mod session;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

pub use call::Call;
pub use credentials::Credentials;
pub use problem::{Fault, Problem};
pub use session::{Claim, GRACE, Held, Lease, LockError, Session};
pub use watch::{Event, Interest, Watch};

use self::call::Repeat;
use self::failures::{Failures, Missed};
use crate::tls::ClientTls;

/// A node that has said nothing for so long may stand still: the next is asked as well. Most answers take less, and an
/// election hardly more.
const PATIENCE: Duration = Duration::from_secs(2);
/// Every answer of a node names it.
const SYNOD_NODE: &str = "synod-node";

/// The admin addresses of one cluster, and how long a call may take.
#[derive(Clone, Debug)]
pub struct Client {
    admins: Vec<Admin>,
    /// Which of them answered last; clones share it.
    answering: Arc<AtomicUsize>,
    timeout: Duration,
    /// There is one if any address is `https://`.
    tls: Option<Arc<ClientTls>>,
    /// Marked as sensitive, so that nothing prints it.
    authorization: Option<HeaderValue>,
}

/// One node's admin address: `host:port`, and whether TLS is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Admin {
    authority: String,
    secure: bool,
}

/// What a node answered, when it was a success.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 201 or 202.
    pub status: StatusCode,
    /// Who answered, as `host:port`.
    pub admin: String,
    /// The config revision at that node, from `Synod-Revision`.
    pub revision: u64,
    /// The resource's revision, from `ETag`.
    pub etag: Option<String>,
    /// The body: JSON, or a string where the answer was text.
    pub body: Value,
}

/// Why a call gave no answer; grouped by who is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error(
        "`{url}` is not an admin address; write it as http://127.0.0.1:9900 or https://lb.example:9900"
    )]
    Address {
        /// As it was given.
        url: String,
    },
    /// A certificate or a token cannot be used.
    #[error("{0}")]
    Credentials(String),
    /// The call names something that no path can hold, or a comment that no header field can.
    #[error("`{path}` cannot be asked for: {why}")]
    Unfit {
        /// Of the call.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// No node could be reached.
    #[error("no admin address answers: {}; is a node running there? name others with --admin URL", .tried.join("; "))]
    Unreachable {
        /// Each address with its error.
        tried: Vec<String>,
    },
    /// A node answered with an error.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// What answered is no node, or one of another version: the answer lacks what every node's has.
    #[error("the answer of {admin} has no {missing}; is that the admin address of a node?")]
    Strange {
        /// Who was asked.
        admin: String,
        /// A header, or a field of the body.
        missing: String,
    },
    /// The connection ended, or the time did, after a write was sent: it may have been carried out.
    #[error("{admin} gave no answer ({why}); {}", advice(.key.as_deref()))]
    Unknown {
        /// Which node was asked.
        admin: String,
        /// What happened.
        why: String,
        /// The key under which it may be repeated safely; an order to the members has none.
        key: Option<String>,
    },
}

impl Error {
    /// Under which key the write, which may have been carried out, may be repeated safely.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Unknown { key, .. } => key.as_deref(),
            Self::Refused(problem) if problem.is_unknown() => problem.body["key"].as_str(),
            _ => None,
        }
    }
}

fn advice(key: Option<&str>) -> String {
    match key {
        Some(key) => format!(
            "the write may still be committed, repeated with Idempotency-Key {key} it is made once"
        ),
        None => "it may still be done".to_owned(),
    }
}

impl Client {
    /// A client of the nodes at these addresses, tried in this order from the one that answered last. An address is
    /// `http://host:port`, or `https`.
    pub fn new<S: AsRef<str>>(
        urls: impl IntoIterator<Item = S>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        Self::with_credentials(urls, timeout, Credentials::default())
    }

    /// The same for nodes that want to know who asks, or that show certificates of an authority of their own.
    pub fn with_credentials<S: AsRef<str>>(
        urls: impl IntoIterator<Item = S>,
        timeout: Duration,
        credentials: Credentials,
    ) -> Result<Self, Error> {
        let admins = urls
            .into_iter()
            .map(|url| Admin::parse(url.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let secure = admins.iter().any(|admin| admin.secure);
        Ok(Self {
            tls: secure.then(|| credentials.tls()).transpose()?,
            authorization: credentials.authorization()?,
            admins,
            answering: Arc::default(),
            timeout,
        })
    }

    /// The same nodes, with another time for each call.
    pub fn within(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// Asks the nodes in turn until one answers; one that is silent is not waited for before the next is asked as well,
    /// and the first answer counts. An error answer is an answer, but for 503 to what is safe to ask twice.
    pub async fn call(&self, mut call: Call) -> Result<Answer, Error> {
        let mut failures = Failures::of(call.repeat, call.ensure_key());
        let call = &call;
        let patience = match call.repeat {
            Repeat::Read | Repeat::Write => PATIENCE.min(self.timeout),
            Repeat::Claim | Repeat::Order => self.timeout,
        };
        // One that stands still costs its time once, not at every call.
        let first = self.answering.load(Relaxed);
        let mut next = (first..self.admins.len()).chain(0..first).peekable();
        let mut asked = FuturesUnordered::new();
        asked.extend(next.next().map(|at| self.ask(at, call)));
        loop {
            // Cancelling either loses nothing: who was asked goes on being asked.
            let done = tokio::select! {
                done = asked.next() => done,
                () = tokio::time::sleep(patience), if next.peek().is_some() => {
                    asked.extend(next.next().map(|at| self.ask(at, call)));
                    continue;
                }
            };
            match done {
                None => return Err(failures.most_telling()),
                Some((at, Ok(answer))) => {
                    self.answering.store(at, Relaxed);
                    return Ok(answer);
                }
                Some((at, Err(missed))) => {
                    let others = next.peek().is_some() || !asked.is_empty();
                    failures.note(&self.admins[at].authority, missed, others)?;
                    asked.extend(next.next().map(|at| self.ask(at, call)));
                }
            }
        }
    }

    async fn ask(&self, at: usize, call: &Call) -> (usize, Result<Answer, Missed>) {
        let admin = &self.admins[at];
        let exchange = connection::exchange(self, admin, call);
        let answer = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(reply)) => reply.into_answer(&admin.authority),
            Ok(Err(connection::Broken::Unfit(error))) => Err(Missed::Unfit(call.unfit(&error))),
            Ok(Err(connection::Broken::NotSent(error))) => Err(Missed::Unasked(error.to_string())),
            Ok(Err(connection::Broken::Sent(error))) => Err(Missed::Silent(error.to_string())),
            Err(_) => Err(Missed::Silent(format!("no answer in {:?}", self.timeout))),
        };
        (at, answer)
    }
}

impl Admin {
    fn parse(url: &str) -> Result<Self, Error> {
        let wrong = || Error::Address { url: url.into() };
        let (secure, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong()),
            None => (false, url),
        };
        let authority: http::uri::Authority =
            rest.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let authority = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:9900"),
        };
        Ok(Self { authority, secure })
    }
}

/// A whole HTTP answer, not yet judged.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// A field of the body, which every node's has.
    pub fn field(&self, name: &str) -> Result<&Value, Error> {
        let field = self.body.get(name).filter(|value| !value.is_null());
        field.ok_or_else(|| self.without(&format!("`{name}`")))
    }

    /// The same of a number.
    pub fn number(&self, name: &str) -> Result<u64, Error> {
        let number = self.field(name)?.as_u64();
        number.ok_or_else(|| self.without(&format!("number `{name}`")))
    }

    /// That something is missing in it.
    pub fn without(&self, missing: &str) -> Error {
        strange(&self.admin, missing)
    }
}

fn strange(admin: &str, missing: &str) -> Error {
    Error::Strange {
        admin: admin.to_owned(),
        missing: missing.to_owned(),
    }
}

impl Reply {
    /// The answer, if it is a node's: whoever else says 200 has done nothing.
    fn into_answer(self, admin: &str) -> Result<Answer, Missed> {
        let text = |name: &str| {
            let value = self.headers.get(name)?.to_str().ok()?;
            Some(value.trim_matches('"').to_owned())
        };
        let without = |missing: &str| Missed::Strange {
            error: strange(admin, missing),
            // Something on the way may have sent it on and then not heard of it.
            sent_on: self.status.is_server_error(),
        };
        if !is_node(&self.headers) {
            return Err(without(&format!("`{SYNOD_NODE}`")));
        }
        let json = serde_json::from_slice(&self.body).ok();
        let plain = || Value::String(String::from_utf8_lossy(&self.body).into_owned());
        if !self.status.is_success() {
            let body = json.unwrap_or_else(plain);
            return Err(Missed::Refused(Problem::from_body(self.status, body)));
        }
        let is_json = text(CONTENT_TYPE.as_str()).is_some_and(|named| named.contains("json"));
        let body = match json {
            Some(body) => body,
            None if is_json => return Err(without("whole JSON")),
            None => plain(),
        };
        let revision = text("synod-revision").and_then(|revision| revision.parse().ok());
        Ok(Answer {
            status: self.status,
            admin: admin.to_owned(),
            revision: revision.ok_or_else(|| without("`synod-revision`"))?,
            etag: text("etag"),
            body,
        })
    }
}

fn is_node(headers: &HeaderMap) -> bool {
    headers.contains_key(SYNOD_NODE)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn addresses_are_http_and_default_to_the_admin_port() {
        for (url, address) in [
            ("http://127.0.0.1:9900", Some("127.0.0.1:9900")),
            ("http://127.0.0.1:9900/", Some("127.0.0.1:9900")),
            ("lb.example", Some("lb.example:9900")),
            ("[::1]:9900", Some("[::1]:9900")),
            ("https://lb.example", Some("lb.example:9900")),
            ("ftp://lb.example", None),
            ("http://a b", None),
        ] {
            let parsed = Admin::parse(url).ok().map(|admin| admin.authority);
            assert_eq!(parsed.as_deref(), address, "{url}");
        }
    }

    #[test]
    fn every_write_has_a_key_and_keeps_the_one_it_was_given() {
        let mut read = Call::get("/v1/pools");
        assert_eq!(read.ensure_key(), None);
        let mut write = Call::new(Method::PUT, "/v1/pools/web");
        let key = write.ensure_key();
        assert!(key.is_some());
        assert_eq!(write.ensure_key(), key);
        let mut named = Call::new(Method::PUT, "/v1/pools/web").header("idempotency-key", "mine");
        assert_eq!(named.ensure_key().as_deref(), Some("mine"));
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nsynod-node: n1\r\nsynod-revision: 7\r\n\
                      content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

    /// An error of this body.
    fn unavailable(body: &str) -> String {
        format!(
            "HTTP/1.1 503 Service Unavailable\r\nsynod-node: n1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Where each request is answered so; what they were is sent on.
    async fn answering(answer: impl Into<String>) -> (String, mpsc::UnboundedReceiver<String>) {
        let answer = answer.into();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, asks) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let _ = asked.send(String::from_utf8_lossy(&request[..length]).into_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (address, asks)
    }

    fn post() -> Call {
        Call::new(Method::POST, "/v1/transactions")
    }

    fn key_of(request: &str) -> Option<&str> {
        let line = request
            .lines()
            .find_map(|line| line.strip_prefix("idempotency-key: "));
        line.map(str::trim)
    }

    #[tokio::test]
    async fn nothing_but_a_whole_answer_of_a_node_is_one() {
        for (wrong, missing) in [
            (OK.replace("synod-node", "x"), "`synod-node`"),
            (OK.replace("synod-revision", "x"), "`synod-revision`"),
            (OK.replace(": 7", ": ?"), "`synod-revision`"),
            (OK.replace("{}", "{\""), "whole JSON"),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into(),
                "`synod-node`",
            ),
        ] {
            let (address, _asks) = answering(&wrong).await;
            let client = Client::new([&address], Duration::from_secs(20)).unwrap();
            for call in [Call::get("/v1/pools"), post()] {
                let error = client.call(call).await.expect_err(&wrong).to_string();
                let expected = format!(
                    "the answer of {address} has no {missing}; is that the admin address of a node?"
                );
                assert_eq!(error, expected);
            }
        }
        let (address, _asks) = answering(OK).await;
        let client = Client::new([&address], Duration::from_secs(20)).unwrap();
        let answer = client.call(Call::get("/v1/pools")).await.unwrap();
        assert_eq!(answer.revision, 7);
        assert!(
            answer
                .field("items")
                .unwrap_err()
                .to_string()
                .contains("`items`")
        );
    }

    #[tokio::test]
    async fn without_a_quorum_at_one_node_another_is_asked() {
        let no_quorum = unavailable("{\"detail\":\"no quorum\"}");
        let unknown = unavailable("{\"outcome\":\"unknown\",\"key\":\"k\"}");
        for (first, call) in [
            (&no_quorum, Call::get("/v1/pools")),
            (&no_quorum, post().reading()),
            (&unknown, post()),
        ] {
            let (cut_off, mut asks) = answering(first).await;
            let (healthy, mut asks_there) = answering(OK).await;
            let client = Client::new([&cut_off, &healthy], Duration::from_secs(20)).unwrap();
            client.call(call.clone()).await.expect("the second answers");
            let asked = [asks.recv().await.unwrap(), asks_there.recv().await.unwrap()];
            assert_eq!(key_of(&asked[0]), key_of(&asked[1]), "{asked:?}");
            assert_eq!(key_of(&asked[0]).is_some(), call.repeat == Repeat::Write);
            // Of what all have refused the refusal is told.
            let client = Client::new([&cut_off, "127.0.0.1:1"], Duration::from_secs(20)).unwrap();
            let error = client.call(call).await;
            assert!(matches!(error, Err(Error::Refused(_))), "{error:?}");
        }
        let (first, _asks) = answering(&no_quorum).await;
        let (second, mut asks) = answering(OK).await;
        let client = Client::new([&first, &second], Duration::from_secs(20)).unwrap();
        client
            .call(post().ordering())
            .await
            .expect_err("an order is not repeated");
        assert!(asks.try_recv().is_err(), "it was repeated");
    }

    #[tokio::test]
    async fn a_write_that_may_be_made_is_told_so_whoever_refuses_it_then() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = silent
            .local_addr()
            .map(|at| (at.to_string(), silent))
            .unwrap();
        let (failed, _asks) = answering(unavailable("{\"outcome\":\"not_proposed\"}")).await;
        let client = Client::new([&silent.0, &failed], Duration::from_millis(300)).unwrap();
        let error = client
            .call(post().header("idempotency-key", "mine"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
        assert_eq!(error.key(), Some("mine"));
    }

    #[tokio::test]
    async fn a_node_that_stands_still_is_asked_once_and_then_the_one_that_answered() {
        let still = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (answers, _asks) = answering(OK).await;
        let addresses = [still.local_addr().unwrap().to_string(), answers];
        // Longer than anybody waits: it is not the end of the time that has the next be asked.
        let client = Client::new(&addresses, Duration::from_secs(600)).unwrap();
        for _ in 0..3 {
            let client = client.clone();
            let answered = tokio::time::timeout(Duration::from_secs(60), client.call(post()));
            answered.await.expect("in time").unwrap();
        }
        still.accept().await.unwrap();
        let again = tokio::time::timeout(Duration::ZERO, still.accept()).await;
        assert!(again.is_err(), "it was asked again");
    }
}
