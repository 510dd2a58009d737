//! A node as a process, and the collector of traces that its settings name.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE};

const REQUESTS: usize = 20;

/// Answers each request with its kind regards, and tells how many spans it held.
fn collector() -> (SocketAddr, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, spans) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            take(stream.unwrap(), &sender);
        }
    });
    (address, spans)
}

fn take(mut stream: TcpStream, sender: &Sender<usize>) {
    while let Some(body) = read(&mut stream) {
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let resources = request.resource_spans.iter();
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        let told = sender.send(scopes.map(|scope| scope.spans.len()).sum());
        let answered = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        if told.is_err() || answered.is_err() {
            return;
        }
    }
}

/// The body of a request; none at the end of the connection.
fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

#[test]
fn the_last_traces_are_exported_before_a_node_ends() {
    let (address, spans) = collector();
    let mut cluster = Cluster::start_with(1, |data, name| {
        let file = data.join(format!("{name}.toml"));
        let text = format!("[tracing]\notlp = \"http://{address}\"\nservice = \"edge\"\n");
        std::fs::write(&file, text).unwrap();
        vec![format!("--config={}", file.display())]
    });
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    for _ in 0..REQUESTS {
        let mut client = TcpStream::connect(cluster.nodes[0].traffic).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    cluster.terminate(0);
    let mut told = 0;
    while told < 2 * REQUESTS {
        told += spans
            .recv_timeout(DEADLINE)
            .expect("a span for each request and try");
    }
    assert_eq!(told, 2 * REQUESTS);
}
