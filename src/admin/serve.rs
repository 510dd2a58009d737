//! Accepting the admin API's connections: in plaintext, or over TLS with who is at the other end.
//!
//! Connections are bounded in number and in the time they may say nothing: they share their descriptors with traffic.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse as _;
use http::Version;
use http::header::HOST;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use super::problem::{Kind, Problem};
use crate::shutdown::Shutdown;
use crate::tls::{ServerTls, dns_names_of};

/// A handshake may take so long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// And so long may pass until the head of a request is there, or a kept connection is used again.
const HEAD: Duration = Duration::from_secs(30);
/// Connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4_096;
/// A caller may leave so long unread, or unacknowledged, what it was sent.
const STALLED: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where from.
    pub address: SocketAddr,
    /// The DNS names of the certificate it has shown.
    pub names: Vec<String>,
}

/// Serves the API on `listener` until it is to close: then no connection gets a further request, and it returns when
/// all have ended.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    router: Router,
    closing: Shutdown,
) {
    let patience = Patience {
        head: HEAD,
        stalled: STALLED,
    };
    accept(listener, tls, router, patience, closing).await;
}

/// How long a caller may keep a connection waiting.
#[derive(Clone, Copy)]
struct Patience {
    head: Duration,
    stalled: Duration,
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    router: Router,
    patience: Patience,
    mut closing: Shutdown,
) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Never closed; without a permit nobody else is let in.
    while let Ok(permit) = connections.clone().acquire_owned().await {
        let accepted = tokio::select! {
            // Who is in the queue stays there.
            () = closing.requested() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the caller has gone: neither ends the listener.
                tracing::warn!(%error, "the admin API cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Without it a watcher that reads nothing keeps its connection for ever. A socket that is gone says so itself.
        let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(patience.stalled));
        let (tls, router, head) = (tls.clone(), router.clone(), patience.head);
        let closing = closing.clone();
        tokio::spawn(async move {
            let names = Vec::new();
            match &tls {
                None => {
                    converse(socket, Caller { address, names }, router, head, closing).await;
                }
                Some(tls) => {
                    if let Some(stream) = shake(socket, address, tls).await {
                        let names = dns_names_of(stream.get_ref().1.peer_certificates());
                        converse(stream, Caller { address, names }, router, head, closing).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    // An error would say that it was closed.
    let _ = connections.acquire_many(MAX_CONNECTIONS as u32).await;
}

/// The connection behind its handshake, if that came to an end.
async fn shake(
    socket: TcpStream,
    address: SocketAddr,
    tls: &ServerTls,
) -> Option<TlsStream<TcpStream>> {
    let shaken = TlsAcceptor::from(tls.config()).accept(socket);
    match tokio::time::timeout(HANDSHAKE, shaken).await {
        Ok(Ok(stream)) => {
            tls.succeeded(stream.get_ref().1);
            return Some(stream);
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS on the admin API"),
        Err(_) => {}
    }
    tls.failed();
    None
}

/// Answers one request after the other.
async fn converse<S>(
    stream: S,
    caller: Caller,
    router: Router,
    head: Duration,
    mut closing: Shutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(caller.clone()));
        let (router, named) = (router.clone(), is_named(&request));
        async move {
            match named {
                Ok(()) => router.oneshot(request).await,
                Err(problem) => Ok(problem.into_response()),
            }
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How it ends is the caller's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closing.requested() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// A request of HTTP/1.1 names its host, once (RFC 9112, 3.2).
fn is_named<B>(request: &http::Request<B>) -> Result<(), Problem> {
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts == 1 || (hosts == 0 && request.version() < Version::HTTP_11) {
        return Ok(());
    }
    let detail = format!("the request has {hosts} Host fields; it must have one");
    Err(Problem::new(Kind::Malformed, detail))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Never to close.
    fn open() -> Shutdown {
        let (trigger, closing) = crate::shutdown::channel();
        std::mem::forget(trigger);
        closing
    }

    #[tokio::test]
    async fn one_that_closes_ends_what_is_idle_and_answers_what_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, closing) = crate::shutdown::channel();
        let (asked, answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (tell, wait) = (asked.clone(), answer.clone());
        let slow = get(|| async move {
            tell.add_permits(1);
            let _ = wait.acquire().await;
        });
        let router = Router::new().route("/slow", slow);
        let serving = tokio::spawn(serve(listener, None, router, closing));
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        idle.peek(&mut [0]).await.unwrap();
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking
            .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        asked.acquire().await.unwrap().forget();
        trigger.set();
        let mut told = String::new();
        idle.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 404"), "{told}");
        answer.add_permits(1);
        let mut told = String::new();
        asking.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        tokio::time::timeout(HEAD, serving).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_head_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Patience {
            head: Duration::from_millis(200),
            stalled: STALLED,
        };
        tokio::spawn(accept(listener, None, Router::new(), patience, open()));
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /livez HTTP/1.1\r\nHo").await.unwrap();
        let mut answered = TcpStream::connect(address).await.unwrap();
        let request = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        answered.write_all(request).await.unwrap();
        let mut answer = String::new();
        answered.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        for stream in [&mut silent, &mut slow] {
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(HEAD, stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "still open");
        }
    }

    #[tokio::test]
    async fn a_request_names_its_host_once_and_tells_one_length() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async {}).post(|| async {}));
        tokio::spawn(serve(listener, None, router, open()));
        let both = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let behind = "GET /behind HTTP/1.1\r\nHost: x\r\n\r\n";
        for (request, status) in [
            (
                "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
                "400",
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
                "400",
            ),
            ("GET / HTTP/1.0\r\n\r\n".to_owned(), "200"),
            // The length is of no meaning then, and the connection is no longer of use (RFC 9112, 6.1).
            (format!("{both}{behind}"), "200"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            tokio::time::timeout(HEAD, read).await.unwrap().unwrap();
            assert_eq!(answer.get(9..12), Some(status), "{request}: {answer}");
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
        }
    }

    #[tokio::test]
    async fn who_does_not_read_an_endless_answer_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seat = Arc::new(Semaphore::new(1));
        let taken = seat.clone();
        let endless = get(|| async move {
            let more = |taken| async { Some((Ok::<_, Infallible>(vec![0; 65_536]), taken)) };
            Body::from_stream(stream::unfold(taken.try_acquire_owned(), more))
        });
        let patience = Patience {
            head: HEAD,
            stalled: Duration::from_millis(500),
        };
        let router = Router::new().route("/", endless);
        tokio::spawn(accept(listener, None, router, patience, open()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream.peek(&mut [0]).await.unwrap();
        assert_eq!(seat.available_permits(), 0);
        let free = tokio::time::timeout(HEAD, seat.acquire()).await;
        assert!(free.is_ok(), "still sending");
    }
}
