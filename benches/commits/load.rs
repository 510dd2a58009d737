//! Clients that write one after the other on a connection they keep.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use crate::clusters::Cluster;

/// The latency of every acknowledged write.
pub(crate) async fn run(cluster: &Cluster, clients: usize, time: Duration) -> Vec<Duration> {
    let deadline = Instant::now() + time;
    let local = tokio::task::LocalSet::new();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let (cluster, address) = (cluster.clone(), cluster.address(client));
        tasks.push(local.spawn_local(async move {
            let mut latencies = Vec::new();
            let mut connection = connect(&address).await;
            let mut turn = 0;
            while Instant::now() < deadline {
                let request = cluster.write(client, turn);
                let began = Instant::now();
                let answer = connection.send_request(request).await.expect("an answer");
                let status = answer.status();
                let body = answer
                    .into_body()
                    .collect()
                    .await
                    .expect("a body")
                    .to_bytes();
                assert!(status.is_success(), "{status}: {body:?}");
                latencies.push(began.elapsed());
                turn += 1;
            }
            latencies
        }));
    }
    local
        .run_until(async move {
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.expect("a client"));
            }
            all
        })
        .await
}

async fn connect(address: &str) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the node accepts");
    stream.set_nodelay(true).expect("a TCP socket");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP");
    tokio::task::spawn_local(connection);
    sender
}
