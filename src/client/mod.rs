//! Rust client of the admin API: one call, one answer, moving on to another node when one is dead.
//!
//! It knows the conventions (revision header, problem answers) and no resource; the command line and scripts build
//! on it. A write that may have been carried out is repeated only under the idempotency key it was first sent with.

mod connection;
mod problem;
mod session;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

pub use problem::{Fault, Problem};

use crate::tls::{
    CertificateFiles, ClientOptions, ClientTls, Keyring, KeyringOptions, MinVersion, Trust,
};
pub use session::{Claim, GRACE, Held, Lease, LockError, Session};
pub use watch::{Event, Interest, Watch};

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

/// What a client expects of nodes and shows to them.
#[derive(Clone, Default)]
pub struct Credentials {
    /// PEM file of the authorities that may vouch for `https://` nodes; what this machine trusts unless said.
    pub ca: Option<PathBuf>,
    /// PEM files of a certificate and its key, for nodes that ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// A token of the admin API.
    pub token: Option<String>,
}

/// One node's admin address: `host:port`, and whether TLS is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Admin {
    authority: String,
    secure: bool,
}

/// One call of the API.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
    headers: Vec<(&'static str, String)>,
    /// After a timeout too the next node is asked: to ask twice does no harm.
    moves_on: bool,
}

/// What a node answered, when it was a success.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 201 or 202.
    pub status: StatusCode,
    /// The config revision at that node, from `Synod-Revision`.
    pub revision: Option<u64>,
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
    /// A node answered with a success that lacks what it must have.
    #[error("a node's answer has no `{missing}`; is it of another version?")]
    Strange {
        /// The field.
        missing: String,
    },
    /// The connection ended, or the time did, after a write was sent: it may have been carried out.
    #[error(
        "{admin} gave no answer ({why}); the write may still be committed, repeat it with Idempotency-Key {key}"
    )]
    Unknown {
        /// Which node was asked.
        admin: String,
        /// What happened.
        why: String,
        /// The key under which it may be repeated safely.
        key: String,
    },
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

    /// Asks the nodes in turn until one answers; an error answer is an answer, but for 503 from a node that proposed
    /// nothing, after which the next is asked.
    pub async fn call(&self, mut call: Call) -> Result<Answer, Error> {
        let key = call.ensure_key();
        let mut tried = Vec::new();
        let mut refused = None;
        // One that stands still costs its time once, not at every call.
        let first = self.answering.load(Relaxed);
        for at in (first..self.admins.len()).chain(0..first) {
            let admin = &self.admins[at];
            match tokio::time::timeout(self.timeout, connection::exchange(self, admin, &call)).await
            {
                Ok(Ok(reply)) => match reply.into_answer() {
                    Err(problem) if problem.not_proposed() => refused = Some(problem),
                    Err(problem) => return Err(Error::Refused(Box::new(problem))),
                    Ok(answer) => {
                        self.answering.store(at, Relaxed);
                        return Ok(answer);
                    }
                },
                Ok(Err(connection::Broken::Unfit(error))) => {
                    return Err(call.unfit(&error));
                }
                Ok(Err(connection::Broken::NotSent(error))) => {
                    tried.push(format!("{}: {error}", admin.authority))
                }
                Ok(Err(connection::Broken::Sent(error))) => match &key {
                    None => tried.push(format!("{}: {error}", admin.authority)),
                    Some(key) if self.admins.len() == 1 => {
                        return Err(unknown(admin, error.to_string(), key));
                    }
                    // The key makes the repetition at another node safe.
                    Some(_) => tried.push(format!("{}: {error}", admin.authority)),
                },
                Err(_) => match &key {
                    Some(key) if !call.moves_on => {
                        return Err(unknown(
                            admin,
                            format!("no answer in {:?}", self.timeout),
                            key,
                        ));
                    }
                    _ => tried.push(format!(
                        "{}: no answer in {:?}",
                        admin.authority, self.timeout
                    )),
                },
            }
        }
        match refused {
            Some(problem) => Err(Error::Refused(Box::new(problem))),
            None => Err(Error::Unreachable { tried }),
        }
    }
}

fn unknown(admin: &Admin, why: String, key: &str) -> Error {
    Error::Unknown {
        admin: admin.authority.clone(),
        why,
        key: key.into(),
    }
}

impl Credentials {
    fn tls(&self) -> Result<Arc<ClientTls>, Error> {
        const OWN: &str = "own";
        let files =
            |(cert, key): (PathBuf, PathBuf)| (OWN.to_owned(), CertificateFiles { cert, key });
        let keyring = Keyring::load(KeyringOptions {
            authorities: self
                .ca
                .clone()
                .map(|ca| (OWN.to_owned(), ca))
                .into_iter()
                .collect(),
            certificates: self
                .certificate
                .clone()
                .map(files)
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        });
        let keyring = keyring.map_err(|fault| {
            let why = std::error::Error::source(&fault).map_or(String::new(), ToString::to_string);
            Error::Credentials(format!("{fault} {why}"))
        })?;
        let made = keyring.client(&ClientOptions {
            trust: self
                .ca
                .as_ref()
                .map_or(Trust::System, |_| Trust::Named(OWN.to_owned())),
            server_name: None,
            names: Vec::new(),
            certificate: self.certificate.as_ref().map(|_| OWN.to_owned()),
            min_version: MinVersion::default(),
            alpn: vec![b"http/1.1".to_vec()],
        });
        made.map_err(|error| Error::Credentials(format!("a node over https {error}")))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(token) = &self.token else {
            return Ok(None);
        };
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::Credentials("the token holds what no token does".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
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

impl Call {
    /// A call without a body; `path` begins with `/` and holds the query.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            headers: Vec::new(),
            moves_on: false,
        }
    }

    /// Reads `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// With a JSON body.
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With one more header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// After a timeout the next node is asked too, though the first may yet do it.
    pub fn moving_on(mut self) -> Self {
        self.moves_on = true;
        self
    }

    /// Why this cannot be asked.
    fn unfit(&self, error: &http::Error) -> Error {
        Error::Unfit {
            path: self.path.clone(),
            why: error.to_string(),
        }
    }

    /// Writes carry an idempotency key, so that repeating them is safe.
    fn ensure_key(&mut self) -> Option<String> {
        const KEY: &str = "idempotency-key";
        if self.method == Method::GET {
            return None;
        }
        if let Some((_, key)) = self.headers.iter().find(|(name, _)| *name == KEY) {
            return Some(key.clone());
        }
        // Not one that tells its time: the cluster's may be ahead of this machine's, and would take it for expired.
        let key = uuid::Uuid::new_v4().to_string();
        self.headers.push((KEY, key.clone()));
        Some(key)
    }
}

/// A whole HTTP answer, not yet judged.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn into_answer(self) -> Result<Answer, Problem> {
        let text = |name: &str| {
            let value = self.headers.get(name)?.to_str().ok()?;
            Some(value.trim_matches('"').to_owned())
        };
        let body = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned()));
        if self.status.is_success() {
            Ok(Answer {
                status: self.status,
                revision: text("synod-revision").and_then(|revision| revision.parse().ok()),
                etag: text("etag"),
                body,
            })
        } else {
            Err(Problem::from_body(self.status, body))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    #[tokio::test]
    async fn a_node_that_stands_still_is_asked_once_and_then_the_one_that_answered() {
        let still = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answers = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [&still, &answers].map(|it| it.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = answers.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer).await.unwrap();
            }
        });
        let client = Client::new(&addresses, Duration::from_millis(300)).unwrap();
        for _ in 0..3 {
            let post = || Call::new(Method::POST, "/v1/sessions").moving_on();
            client.clone().call(post()).await.unwrap();
        }
        still.accept().await.unwrap();
        let again = tokio::time::timeout(Duration::ZERO, still.accept()).await;
        assert!(again.is_err(), "it was asked again");
    }
}
