//! One collector, asked over one connection that is kept: OTLP over HTTP/1.1, plain or with TLS.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::Endpoint;

/// For one batch, from the connect to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: it says a word about spans that were not taken.
const MOST_READ: usize = 64 * 1024;

/// For how long a collector may ask to be left alone.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Why a collector did not take a batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No connection to it.
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The connection broke, or what it speaks is no HTTP/1.1.
    #[error("it does not answer in HTTP/1.1: {0}")]
    Broken(hyper::Error),
    /// No answer.
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Late,
    /// An answer that is no success.
    #[error("it answered {status}")]
    Refused {
        status: StatusCode,
        /// For how long it asks to be left alone.
        rest: Option<Duration>,
    },
}

impl Fault {
    /// Whether the same batch may be taken later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Late => true,
            Self::Refused { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    /// For how long to leave it alone, if it says so.
    pub(super) fn rest(&self) -> Option<Duration> {
        match self {
            Self::Refused { rest, .. } => *rest,
            _ => None,
        }
    }
}

type Body = Full<Bytes>;

/// A collector, and the connection to it if there is one.
pub(super) struct Collector {
    endpoint: Endpoint,
    /// There if the endpoint is secure.
    tls: Option<Arc<ClientConfig>>,
    kept: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Body>,
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

/// What carries a connection.
trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

impl Collector {
    pub(super) fn new(endpoint: Endpoint, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            endpoint,
            tls,
            kept: None,
        }
    }

    /// Posts a batch; what it answers to one that it took.
    pub(super) async fn post(&mut self, batch: Bytes) -> Result<Bytes, Fault> {
        let posted = tokio::time::timeout(TIMEOUT, self.exchange(batch));
        posted.await.unwrap_or(Err(Fault::Late))
    }

    async fn exchange(&mut self, batch: Bytes) -> Result<Bytes, Fault> {
        // One that has ended since is nobody's fault.
        if let Some(mut kept) = self.kept.take()
            && let Ok(answer) = self.ask(&mut kept, batch.clone()).await
        {
            return self.judge(kept, answer);
        }
        let mut fresh = self.connect().await?;
        let answer = self.ask(&mut fresh, batch).await.map_err(Fault::Broken)?;
        self.judge(fresh, answer)
    }

    fn judge(&mut self, connection: Connection, answer: Answer) -> Result<Bytes, Fault> {
        if answer.whole {
            self.kept = Some(connection);
        }
        match answer.status.is_success() {
            true => Ok(answer.body),
            false => Err(Fault::Refused {
                status: answer.status,
                rest: answer.rest,
            }),
        }
    }

    async fn ask(&self, connection: &mut Connection, batch: Bytes) -> hyper::Result<Answer> {
        let mut request = Request::new(Full::new(batch));
        *request.method_mut() = http::Method::POST;
        // Both were parsed with the endpoint.
        *request.uri_mut() = self.endpoint.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        for (name, value) in [
            (header::HOST, &*self.endpoint.authority),
            (header::CONTENT_TYPE, "application/x-protobuf"),
            (header::USER_AGENT, AGENT),
        ] {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        connection.sender.ready().await?;
        let (head, body) = connection.sender.send_request(request).await?.into_parts();
        let read = Limited::new(body, MOST_READ).collect().await;
        Ok(Answer {
            status: head.status,
            rest: rest(&head.headers),
            whole: read.is_ok(),
            body: read.map(|read| read.to_bytes()).unwrap_or_default(),
        })
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let carrier = self.carrier().await.map_err(Fault::Unreachable)?;
        let (sender, connection) = handshake(TokioIo::new(carrier))
            .await
            .map_err(Fault::Broken)?;
        Ok(Connection {
            sender,
            _driver: AbortOnDropHandle::new(tokio::spawn(connection)),
        })
    }

    async fn carrier(&self) -> io::Result<Box<dyn Carrier>> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let stream = TcpStream::connect((&host[..], *port)).await?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let encrypted = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await?;
        Ok(Box::new(encrypted))
    }
}

const AGENT: &str = concat!("synod/", env!("CARGO_PKG_VERSION"));

struct Answer {
    status: StatusCode,
    rest: Option<Duration>,
    /// Whether the connection can be used again.
    whole: bool,
    body: Bytes,
}

/// `Retry-After`, in seconds or as a date.
fn rest(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let rest = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            at.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(rest.min(LONGEST_REST))
}
