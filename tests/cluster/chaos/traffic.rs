//! Traffic through every node, and the backends it reaches, inside the node's namespace.
//!
//! A request fails when it is not answered with 200 by a node that ran all the while: a cut network, a lost quorum, a
//! full disk or a failed log is no excuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::history::Violations;
use super::network::Place;
use super::nodes::{NAMES, TRAFFIC, View};
use crate::backends::answer;
use crate::load::{Lost, converse};

/// Backends, in every namespace alike.
pub(super) const BACKENDS: [(&str, &str); 2] = [("b1", "127.0.0.1:9001"), ("b2", "127.0.0.1:9002")];
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than any node stands still.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the backends of one place.
pub(super) async fn serve() -> std::io::Result<()> {
    for (id, address) in BACKENDS {
        let listener = TcpListener::bind(address).await?;
        let count = Arc::new(AtomicU64::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, format!("I am {id}\n"), count.clone()));
            }
        });
    }
    Ok(())
}

/// A client that sends requests through one node until it is told to stop.
pub(super) struct Requests {
    pub(super) node: usize,
    pub(super) view: Arc<View>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) done: Arc<AtomicU64>,
    pub(super) violations: Violations,
}

impl Requests {
    pub(super) fn start(self, place: &Place) -> tokio::task::JoinHandle<()> {
        place.spawn(self.run())
    }

    async fn run(self) {
        let mut connection = None;
        let (mut life, mut served) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let (began, lives, floor) = (Instant::now(), self.view.lives(), self.view.reported());
            let outcome = timeout(PATIENCE, request(&mut connection)).await;
            let away = self.view.was_away(began, Instant::now());
            match outcome.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}"))) {
                Ok(revision) => {
                    if lives != life {
                        (life, served) = (lives, 0);
                    }
                    // In its life it never goes back, and over its lives never behind what it has reported.
                    let least = floor.max(if away { 0 } else { served });
                    if revision < least {
                        let name = NAMES[self.node];
                        self.violations.add(format!(
                            "{name} served revision {revision} after {least} ({floor} were reported)"
                        ));
                    }
                    served = revision;
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(why) => {
                    connection = None;
                    if !away {
                        let name = NAMES[self.node];
                        self.violations.add(format!(
                            "a request through {name}, which ran, failed: {why}"
                        ));
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// One GET that must be answered with 200; the revision it was answered by.
async fn request(connection: &mut Option<TcpStream>) -> Result<u64, String> {
    let address = SocketAddr::from(TRAFFIC);
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address).await;
            connection.insert(stream.map_err(|error| format!("connect: {error}"))?)
        }
    };
    let answer = converse(stream, address).await.map_err(|lost| match lost {
        Lost::Before(why) | Lost::Within(why) => why,
    })?;
    let lower = answer.to_ascii_lowercase();
    if lower.contains("\r\nconnection: close\r\n") {
        *connection = None;
    }
    if !answer.starts_with("HTTP/1.1 200 ") {
        return Err(answer);
    }
    lower
        .lines()
        .find_map(|line| line.strip_prefix("synod-revision: ")?.trim().parse().ok())
        .ok_or_else(|| format!("no revision: {answer}"))
}
