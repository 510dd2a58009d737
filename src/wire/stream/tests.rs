use std::future::poll_fn;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// More than the kernel buffers of both sides hold.
const MUCH: usize = 16 << 20;

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

async fn plain() -> (Stream, Stream) {
    let (client, server) = sockets().await;
    (client.into(), server.into())
}

async fn encrypted() -> (Stream, Stream) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (inner, outer) = sockets().await;
    let (client, server) = tokio::join!(
        connector.connect(ServerName::try_from("localhost").unwrap(), inner),
        acceptor.accept(outer)
    );
    (
        TlsStream::from(client.unwrap()).into(),
        TlsStream::from(server.unwrap()).into(),
    )
}

async fn both_kinds() -> [(Stream, Stream); 2] {
    [plain().await, encrypted().await]
}

fn is_ready(stream: &Stream) -> bool {
    stream
        .poll_read_ready(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

#[test]
fn a_plain_stream_is_as_small_as_its_socket() {
    assert_eq!(size_of::<Stream>(), size_of::<TcpStream>());
}

#[tokio::test]
async fn both_directions_move_at_the_same_time() {
    for (mut near, mut far) in both_kinds().await {
        let echo = tokio::spawn(async move {
            let mut piece = vec![0; 64 * 1024];
            loop {
                match far.read(&mut piece).await.unwrap() {
                    0 => break far.shutdown().await.unwrap(),
                    n => far.write_all(&piece[..n]).await.unwrap(),
                }
            }
        });
        let sent: Vec<u8> = (0..MUCH).map(|i| (i / 7) as u8).collect();
        let mut received = Vec::new();
        let (mut read, mut write) = near.split();
        let up = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, n) = tokio::join!(up, read.read_to_end(&mut received));
        assert_eq!(n.unwrap(), MUCH);
        assert!(received == sent);
        echo.await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_has_ended_needs_no_flush() {
    let (mut near, mut far) = encrypted().await;
    let block = vec![7; 48 * 1024];
    let mut ended = 0;
    // Until the kernel takes no more.
    loop {
        let write = poll_fn(|cx| Poll::Ready(Pin::new(&mut near).poll_write(cx, &block)));
        match write.await {
            Poll::Ready(n) => ended += n.unwrap(),
            Poll::Pending => break,
        }
    }
    assert!(near.is_writing(), "part of it may have gone");
    let mut received = vec![0; ended];
    far.read_exact(&mut received).await.unwrap();
    let more = poll_fn(|cx| Pin::new(&mut near).poll_write(cx, &block));
    let (more, next) = tokio::join!(more, far.read_u8());
    assert_eq!((more.unwrap() > 0, next.unwrap()), (true, 7));
    assert!(!near.is_writing());
}

#[tokio::test]
async fn what_is_decrypted_counts_as_there_to_be_read() {
    for (mut near, mut far) in both_kinds().await {
        far.write_all(b"abc").await.unwrap();
        poll_fn(|cx| near.poll_read_ready(cx)).await.unwrap();
        let mut byte = [0];
        near.read_exact(&mut byte).await.unwrap();
        assert!(is_ready(&near) && near.has_input());
        near.read_exact(&mut [0; 2]).await.unwrap();
        assert!(!near.has_input());
    }
}

#[tokio::test]
async fn an_idle_connection_is_quiet_until_bytes_or_the_end_come() {
    for (mut near, mut far) in both_kinds().await {
        // Over TLS this brings tickets along, which no request has to see.
        far.write_all(b"a").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'a');
        assert!(near.is_quiet() && near.is_open_and_empty());
        far.shutdown().await.unwrap();
        poll_fn(|cx| near.poll_read_ready(cx)).await.unwrap();
        assert!(!near.is_quiet());
    }
    for (mut near, mut far) in both_kinds().await {
        far.write_all(b"unasked").await.unwrap();
        poll_fn(|cx| near.poll_read_ready(cx)).await.unwrap();
        // The first of what is readable may be tickets.
        while near.is_quiet() {
            tokio::task::yield_now().await;
        }
        assert!(!near.is_open_and_empty());
    }
}

#[tokio::test]
async fn an_end_that_was_not_announced_is_an_error_over_tls() {
    for announced in [true, false] {
        let (mut near, mut far) = encrypted().await;
        far.write_all(b"half").await.unwrap();
        if announced {
            far.shutdown().await.unwrap();
        }
        // The socket closes; nothing unread is left that would reset it.
        drop(far);
        let mut all = Vec::new();
        let end = near.read_to_end(&mut all).await;
        assert_eq!((end.is_ok(), &all[..]), (announced, &b"half"[..]));
    }
}
