//! A fixed rate of small requests, each with the latency from when it was meant to be sent.
//!
//! A proxy that stalls does not slow the load: what should have been sent meanwhile is sent late and counts as late.
//! The sender runs as a child of its own; a thread beside it releases what is due about every 100 us.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::Figures;
const CONNECTIONS: usize = 64;
const TICK: Duration = Duration::from_micros(100);
const REQUEST: &[u8] = b"GET /r1/ HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n";

/// What the child tells: latencies in microseconds.
#[derive(Serialize, Deserialize)]
struct Told {
    answered: u64,
    failed: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

/// Runs the child against this address for this long.
pub(super) fn run(address: &str, rate: u32, seconds: u32) -> Figures {
    let output = crate::own("open-loop")
        .args([address, &rate.to_string(), &seconds.to_string()])
        .output()
        .expect("this program runs");
    let told: Told = serde_json::from_slice(&output.stdout).unwrap_or_else(|fault| {
        panic!("{fault}: {}", String::from_utf8_lossy(&output.stderr));
    });
    Figures {
        requests_per_second: told.answered as f64 / f64::from(seconds),
        failed: told.failed,
        p50_us: Some(told.p50_us),
        p99_us: Some(told.p99_us),
        p999_us: Some(told.p999_us),
        ..Figures::default()
    }
}

/// The child's part: arguments are the address, the rate and the seconds.
pub(crate) fn run_child() {
    let argument = |index| std::env::args().nth(index).expect("three arguments");
    let number = |index| argument(index).parse::<u32>().expect("a number");
    let (address, rate, seconds) = (argument(2), number(3), number(4));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let told = runtime.block_on(load(address, rate, seconds));
    println!("{}", serde_json::to_string(&told).expect("numbers"));
}

async fn load(address: String, rate: u32, seconds: u32) -> Told {
    let total = rate as usize * seconds as usize;
    let mut senders = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        // As many as can ever be due on it: releasing never waits.
        let (sender, due) = mpsc::channel(total / CONNECTIONS + 1);
        senders.push(sender);
        tasks.push(tokio::spawn(send(address.clone(), due)));
    }
    let releasing = std::thread::spawn(move || release(rate, total, &senders));
    let mut latencies = Vec::with_capacity(total);
    let mut failed = 0;
    for task in tasks {
        let sent = task.await.expect("a connection");
        latencies.extend(sent.latencies);
        failed += sent.failed;
    }
    releasing.join().expect("all were released");
    latencies.sort_unstable();
    let percentile = |per_mille: usize| {
        let last = latencies.len().saturating_sub(1);
        let latency = latencies.get(latencies.len() * per_mille / 1000);
        let latency = latency.or(latencies.get(last)).copied().unwrap_or_default();
        latency.as_secs_f64() * 1e6
    };
    Told {
        answered: latencies.len() as u64,
        failed,
        p50_us: percentile(500),
        p99_us: percentile(990),
        p999_us: percentile(999),
    }
}

/// Hands each request to its connection when it is due.
fn release(rate: u32, total: usize, connections: &[mpsc::Sender<Instant>]) {
    let began = Instant::now();
    for turn in 0..total {
        let due = began + Duration::from_secs_f64(turn as f64 / f64::from(rate));
        while Instant::now() < due {
            std::thread::sleep(TICK);
        }
        connections[turn % connections.len()]
            .try_send(due)
            .expect("room for all");
    }
}

#[derive(Default)]
struct Sent {
    latencies: Vec<Duration>,
    failed: u64,
}

/// Sends what is due on one connection, one request after the other; a broken connection is opened anew.
async fn send(address: String, mut due: mpsc::Receiver<Instant>) -> Sent {
    let mut sent = Sent::default();
    let mut connection = None;
    while let Some(intended) = due.recv().await {
        match exchange(&address, &mut connection).await {
            Some(()) => sent.latencies.push(intended.elapsed()),
            None => {
                sent.failed += 1;
                connection = None;
            }
        }
    }
    sent
}

async fn exchange(address: &str, connection: &mut Option<TcpStream>) -> Option<()> {
    if connection.is_none() {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        *connection = Some(stream);
    }
    let stream = connection.as_mut()?;
    stream.write_all(REQUEST).await.ok()?;
    let mut answer = [0; 2048];
    let mut filled = 0;
    while !answer[..filled].ends_with(b"Hello, world\n") {
        match stream.read(&mut answer[filled..]).await {
            Ok(read @ 1..) => filled += read,
            _ => return None,
        }
    }
    answer.starts_with(b"HTTP/1.1 200").then_some(())
}
