//! A collector on loopback for tests: it answers as told, and hands over what it is sent.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Options, Share};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What it was sent, as it came.
pub(crate) struct Posted {
    pub(crate) head: String,
    pub(crate) request: ExportTraceServiceRequest,
}

impl Posted {
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.request.resource_spans.iter();
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

pub(crate) struct Collected {
    pub(crate) address: SocketAddr,
    posted: Receiver<Posted>,
    connections: Arc<AtomicUsize>,
}

impl Collected {
    /// Takes everything.
    pub(crate) fn new() -> Self {
        Self::answering(|_| Some(TAKEN.to_owned()))
    }

    /// Takes everything, with TLS.
    pub(crate) fn secure(config: Arc<ServerConfig>) -> Self {
        Self::over(
            move |stream| {
                let session = ServerConnection::new(config.clone()).unwrap();
                StreamOwned::new(session, stream)
            },
            |_| Some(TAKEN.to_owned()),
        )
    }

    /// Answers each request so, by how many came before it; none: it does not, and reads no more.
    pub(crate) fn answering(
        answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::over(|stream| stream, answer)
    }

    fn over<S: Read + Write + Send + 'static>(
        carrier: impl Fn(TcpStream) -> S + Send + 'static,
        answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, posted) = channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (connections.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            let requests = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let (sender, answer, requests) = (sender.clone(), answer.clone(), requests.clone());
                let stream = carrier(stream.unwrap());
                std::thread::spawn(move || serve(stream, &sender, &requests, &*answer));
            }
        });
        Self {
            address,
            posted,
            connections,
        }
    }

    /// Nobody is there.
    pub(crate) fn nowhere() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            posted: channel().1,
            connections: Arc::default(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        options(self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn next(&self) -> Posted {
        self.posted.recv_timeout(PATIENCE).unwrap()
    }

    /// The spans that come next, at least so many, in the order of their beginnings.
    pub(crate) fn spans(&self, least: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        while spans.len() < least {
            spans.extend(self.next().spans());
        }
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }

    /// Whether nothing more was sent. Asked when the exporter has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.posted.try_recv().is_err()
    }
}

/// Every request, to a collector at that address.
pub(crate) fn options(address: SocketAddr) -> Options {
    Options {
        endpoint: format!("http://{address}").parse().unwrap(),
        tls: None,
        share: Share::ALL,
        service: "edge".to_owned(),
        instance: "n1".to_owned(),
    }
}

/// Attributes as text.
pub(crate) fn attributes(of: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| {
        let value = attribute.value.clone().unwrap().value.unwrap();
        let value = match value {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        (attribute.key.clone(), value)
    };
    let told: BTreeMap<_, _> = of.iter().map(text).collect();
    assert_eq!(told.len(), of.len(), "each is told once");
    told
}

fn serve(
    mut stream: impl Read + Write,
    posted: &Sender<Posted>,
    requests: &AtomicUsize,
    answer: &dyn Fn(usize) -> Option<String>,
) {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                break String::from_utf8(buffer.drain(..at + 4).collect()).unwrap();
            }
            if !fill(&mut stream, &mut buffer) {
                return;
            }
        };
        let lines = head.to_ascii_lowercase();
        let length = lines.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while buffer.len() < length {
            if !fill(&mut stream, &mut buffer) {
                return;
            }
        }
        let body: Vec<u8> = buffer.drain(..length).collect();
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let answer = answer(requests.fetch_add(1, Ordering::SeqCst));
        // A test that has seen enough is gone.
        let _ = posted.send(Posted { head, request });
        match answer {
            Some(answer) => drop(stream.write_all(answer.as_bytes())),
            // To the end of the connection.
            None => drop(stream.read(&mut [0])),
        }
    }
}

fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> bool {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece) {
        Ok(n @ 1..) => {
            buffer.extend_from_slice(&piece[..n]);
            true
        }
        _ => false,
    }
}
