//! Clients that send requests without pause and judge every answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{DEADLINE, wait_until};

/// What a client does when its connection is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLoss {
    /// Every loss is a failed request.
    Fail,
    /// As every HTTP client does: it reconnects, to the next address if need be, and repeats its GET. A request
    /// fails when no address takes it, or when an answer broke off in its middle.
    Reconnect,
}

/// A running load; [`Load::stop`] tells how it went.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    /// Requests answered with 200, by client.
    done: Vec<Arc<AtomicU64>>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` keep-alive clients, spread over the addresses.
    pub(crate) fn start(
        runtime: &tokio::runtime::Runtime,
        addresses: &[SocketAddr],
        clients: usize,
        on_loss: OnLoss,
    ) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            done: (0..clients).map(|_| Arc::default()).collect(),
            failures: Arc::default(),
            tasks: Vec::new(),
        };
        for client in 0..clients {
            let mut addresses = addresses.to_vec();
            let first = client % addresses.len();
            addresses.rotate_left(first);
            let (stop, done, failures) = (
                load.stop.clone(),
                load.done[client].clone(),
                load.failures.clone(),
            );
            load.tasks.push(runtime.spawn(async move {
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    match request(&mut connection, &mut addresses, on_loss).await {
                        Ok(()) => done.fetch_add(1, Ordering::Relaxed),
                        Err(why) => {
                            failures.lock().unwrap().push(why);
                            connection = None;
                            0
                        }
                    };
                }
            }));
        }
        load
    }

    /// Requests answered with 200 so far.
    pub(crate) fn done(&self) -> u64 {
        self.done
            .iter()
            .map(|done| done.load(Ordering::Relaxed))
            .sum()
    }

    /// Waits until every client has had so many more answers: then what was under way before is over.
    pub(crate) fn pass(&self, answers: u64) {
        for done in &self.done {
            let goal = done.load(Ordering::Relaxed) + answers;
            wait_until("answers", DEADLINE, || {
                (done.load(Ordering::Relaxed) >= goal).then_some(())
            });
        }
    }

    /// Ends the load; requests done, and why others failed.
    pub(crate) fn stop(self, runtime: &tokio::runtime::Runtime) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.done.clone();
        for task in self.tasks {
            runtime.block_on(task).unwrap();
        }
        let failures = std::mem::take(&mut *self.failures.lock().unwrap());
        (
            done.iter().map(|done| done.load(Ordering::Relaxed)).sum(),
            failures,
        )
    }

    /// Ends the load and asserts that not one request failed.
    pub(crate) fn stop_without_failure(self, runtime: &tokio::runtime::Runtime) -> u64 {
        let (done, failures) = self.stop(runtime);
        assert!(done > 0, "no request was made");
        let first: Vec<&String> = failures.iter().take(5).collect();
        assert!(
            failures.is_empty(),
            "{} of {done} requests failed: {first:?}",
            failures.len()
        );
        done
    }
}

/// How a request got no whole answer.
pub(crate) enum Lost {
    /// No byte of an answer came.
    Before(String),
    /// The answer broke off, or is not a 200.
    Within(String),
}

async fn request(
    connection: &mut Option<TcpStream>,
    addresses: &mut [SocketAddr],
    on_loss: OnLoss,
) -> Result<(), String> {
    let mut tries = 0;
    loop {
        let lost = match exchange(connection, addresses[0]).await {
            Ok(()) => return Ok(()),
            Err(Lost::Within(why)) => return Err(why),
            Err(Lost::Before(why)) => why,
        };
        *connection = None;
        tries += 1;
        if on_loss == OnLoss::Fail || tries > 2 * addresses.len() {
            return Err(lost);
        }
        addresses.rotate_left(1);
    }
}

/// One GET and its whole answer.
pub(crate) async fn get(address: SocketAddr) -> Result<String, String> {
    let mut connection = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    match converse(&mut connection, address).await {
        Ok(answer) => Ok(answer),
        Err(Lost::Before(why) | Lost::Within(why)) => Err(why),
    }
}

async fn exchange(connection: &mut Option<TcpStream>, address: SocketAddr) -> Result<(), Lost> {
    if connection.is_none() {
        let stream = TcpStream::connect(address).await;
        *connection =
            Some(stream.map_err(|error| Lost::Before(format!("connect {address}: {error}")))?);
    }
    let stream = connection.as_mut().expect("was connected above");
    let answer = converse(stream, address).await?;
    if answer
        .to_ascii_lowercase()
        .contains("\r\nconnection: close\r\n")
    {
        *connection = None;
    }
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(Lost::Within(answer))
    }
}

/// One GET on a connection, and its whole answer.
pub(crate) async fn converse(stream: &mut TcpStream, address: SocketAddr) -> Result<String, Lost> {
    let request = format!("GET /some/path HTTP/1.1\r\nHost: {address}\r\nUser-Agent: load\r\n\r\n");
    let lost = |answer: &[u8], why: String| match answer {
        [] => Lost::Before(why),
        some => Lost::Within(format!("{why} after {:?}", String::from_utf8_lossy(some))),
    };
    let mut answer = Vec::new();
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| lost(&answer, format!("write: {error}")))?;
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(0) => return Err(lost(&answer, format!("{address} closed"))),
            Ok(_) => {}
            Err(error) => return Err(lost(&answer, format!("read: {error}"))),
        }
        if let Some(whole) = whole_answer(&answer) {
            return Ok(whole);
        }
    }
}

fn whole_answer(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head]
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .map(|n| n.trim().to_owned())
        })?
        .parse::<usize>()
        .ok()?;
    (text.len() >= head + length).then(|| text.to_owned())
}
