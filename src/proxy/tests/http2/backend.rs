//! A backend that speaks HTTP/2 by prior knowledge, on the h2 crate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{Request, Response};
use tokio::net::TcpListener;

/// It runs until the test's process ends.
pub(in crate::proxy::tests) struct Backend {
    pub(in crate::proxy::tests) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// Every request runs `handler` in a task of its own.
    pub(in crate::proxy::tests) fn new<F: Future<Output = ()> + Send + 'static>(
        handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::with(Builder::new(), usize::MAX, handler)
    }

    /// Each connection says goodbye with its `last` request.
    pub(super) fn with<F: Future<Output = ()> + Send + 'static>(
        builder: Builder,
        last: usize,
        handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, handler) = (connections.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let (builder, handler) = (builder.clone(), handler.clone());
                    tokio::spawn(async move {
                        let Ok(mut connection) = builder.handshake(socket).await else {
                            return;
                        };
                        let mut requests = 0;
                        while let Some(Ok((request, respond))) = connection.accept().await {
                            requests += 1;
                            if requests == last {
                                connection.graceful_shutdown();
                            }
                            tokio::spawn(handler(request, respond));
                        }
                    });
                }
            });
        });
        Self {
            address,
            connections,
        }
    }

    /// Connections taken so far.
    pub(in crate::proxy::tests) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Answers 200 with `body`.
pub(super) fn say(respond: &mut SendResponse<Bytes>, body: impl Into<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(body.into(), true).unwrap();
}
