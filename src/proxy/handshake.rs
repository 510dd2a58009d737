//! The TLS handshake of a client's connection, within the time for its first head.
//!
//! No request is misdirected here (RFC 9110, 15.5.20), whatever name the handshake was for: what is demanded of clients
//! is the same for all names of a listener, and every route is served on every one. So there is no 421.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::connection::{Client, linger};
use super::deadlines::Deadline;
use super::failure::Failure;
use super::record::{self, Ending, Record};
use super::respond::{Addressee, refuse};
use crate::tls::ServerTls;

/// The client with its connection encrypted; none if it ended. Who speaks HTTP instead is told so.
pub(crate) async fn accept(client: Client) -> Option<Client> {
    let started = Instant::now();
    let Some(tls) = client.listener.tls.clone() else {
        return Some(client);
    };
    let Client { stream, .. } = client;
    // A connection comes from its socket alone; one that is encrypted already stays as it is.
    let socket = match stream.into_socket() {
        Ok(socket) => socket,
        Err(stream) => return Some(Client { stream, ..client }),
    };
    let within = client.worker.shared.timeouts.client_headers;
    let first = client.deadline.bound(|cx| {
        let mut byte = [0];
        let mut byte = tokio::io::ReadBuf::new(&mut byte);
        let n = ready!(socket.poll_peek(cx, &mut byte))?;
        Poll::Ready(std::io::Result::Ok((n > 0).then(|| byte.filled()[0])))
    });
    match first.await {
        // Methods are letters, and no TLS record begins with one.
        Ok(Ok(Some(b'A'..=b'Z'))) => {
            tls.spoken_to_in_plaintext();
            let stream = socket.into();
            refuse_plaintext(Client { stream, ..client }).await;
            return None;
        }
        Ok(Ok(Some(_))) => {}
        // It came and went, as a check of the port does.
        _ => return None,
    }
    // From here on it is at work: a drain lets it finish.
    client
        .deadline
        .set(within.saturating_sub(started.elapsed()));
    let Some(encrypted) = encrypt(&client.deadline, client.peer, &tls, socket).await else {
        tls.failed();
        return None;
    };
    client
        .deadline
        .set_idle(within.saturating_sub(started.elapsed()));
    let certificate = match client.listener.client_cert_header {
        true => shown(&encrypted),
        false => None,
    };
    let stream = encrypted.into();
    let mut client = Client { stream, ..client };
    if certificate.is_some() {
        client.preamble_mut().certificate = certificate;
    }
    Some(client)
}

/// What the client showed, as Client-Cert has it: a byte sequence of structured fields (RFC 9440, section 2.2).
fn shown(stream: &TlsStream<TcpStream>) -> Option<Box<str>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(format!(":{}:", STANDARD.encode(certificate)).into())
}

async fn encrypt(
    deadline: &Deadline,
    peer: IpAddr,
    tls: &Arc<ServerTls>,
    socket: TcpStream,
) -> Option<TlsStream<TcpStream>> {
    let mut accepting = std::pin::pin!(TlsAcceptor::from(tls.config()).accept(socket));
    let accepted = deadline.bound(|cx| accepting.as_mut().poll(cx)).await;
    match accepted {
        Ok(Ok(stream)) => {
            tls.succeeded(stream.get_ref().1);
            Some(stream.into())
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "a TLS handshake took too long");
            None
        }
    }
}

async fn refuse_plaintext(mut client: Client) {
    let record = Record::begin();
    let failure = Failure::PlaintextToTls;
    let (status, sent, _) = refuse(&mut client, failure, Addressee::unknown()).await;
    record.sent.set(sent);
    let ending = Ending::failed(status, failure, 0);
    record::refused(&client.worker, client.peer, &record, ending);
    linger(client).await;
}
