//! A client of HTTP/2 on the h2 crate.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use crate::proxy::tests::harness::Harness;

/// A connection, driven by the runtime that made it.
pub(super) struct Client(SendRequest<Bytes>);

impl Client {
    pub(super) async fn connect(proxy: &Harness) -> Self {
        let socket = TcpStream::connect(proxy.address()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut builder = h2::client::Builder::new();
        // What it may do before the settings come; more than the proxy takes would be refused.
        builder.initial_max_send_streams(100);
        let (send, connection) = builder.handshake(socket).await.unwrap();
        // It ends with its connection.
        tokio::spawn(connection);
        Self(send)
    }

    /// Waits for a place among the streams, and sends the head.
    pub(super) async fn send(
        &mut self,
        request: Request<()>,
        ended: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        std::future::poll_fn(|cx| self.0.poll_ready(cx))
            .await
            .unwrap();
        self.0.send_request(request, ended).unwrap()
    }

    /// Sends a request without a body, unless the connection takes no more.
    pub(super) fn try_send(&mut self, request: Request<()>) -> Option<ResponseFuture> {
        let (response, _) = self.0.send_request(request, true).ok()?;
        Some(response)
    }

    /// Sends an extended CONNECT, once the proxy has said that it takes one.
    pub(super) async fn connect_to(
        &mut self,
        request: Request<()>,
        protocol: &str,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        while !self.0.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = request;
        *request.method_mut() = http::Method::CONNECT;
        let protocol = h2::ext::Protocol::from(protocol);
        request.extensions_mut().insert(protocol);
        self.send(request, false).await
    }

    /// Whether another request may be sent.
    pub(super) async fn is_welcome(&mut self) -> bool {
        std::future::poll_fn(|cx| self.0.poll_ready(cx))
            .await
            .is_ok()
    }

    pub(super) async fn get(&mut self, path: &str) -> (u16, HeaderMap, String) {
        let (response, _) = self.send(get(path), true).await;
        let (head, mut body) = response.await.unwrap().into_parts();
        (head.status.as_u16(), head.headers, text(&mut body).await)
    }
}

pub(super) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://x{path}")).body(()).unwrap()
}

pub(super) fn post(path: &str) -> Request<()> {
    Request::post(format!("http://x{path}")).body(()).unwrap()
}

/// All of a body.
pub(super) async fn text(body: &mut RecvStream) -> String {
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

/// Head, body and trailers of an answer.
pub(super) async fn whole(response: ResponseFuture) -> (Response<()>, String, HeaderMap) {
    let (head, mut body) = response.await.unwrap().into_parts();
    let read = text(&mut body).await;
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    (Response::from_parts(head, ()), read, trailers)
}

/// Sends `data` as the window allows.
pub(super) async fn push(stream: &mut SendStream<Bytes>, mut data: Bytes, ended: bool) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let room = room.await.unwrap().unwrap();
        let piece = data.split_to(room.min(data.len()));
        stream.send_data(piece, ended && data.is_empty()).unwrap();
    }
}

/// What a test waits for at most.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let within = Duration::from_secs(20);
    tokio::time::timeout(within, future)
        .await
        .expect("waited in vain")
}
