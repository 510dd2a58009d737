//! Changes the config of a running proxy all the while, each proxy by the way it has.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::process::Pinned;
use crate::proxies::{self, Proxy, Setup};

/// Changes until dropped.
pub(super) struct Changing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How one change is made; the number differs each time.
type Change = Box<dyn FnMut(u32) + Send>;

impl Changing {
    pub(super) fn start(proxy: Proxy, setup: &Setup, running: &Pinned, folder: &Path) -> Self {
        let (pause, mut change): (Duration, Change) = match proxy {
            Proxy::Synod => (Duration::from_millis(20), synod()),
            Proxy::Haproxy => (
                Duration::from_millis(20),
                haproxy(folder.join("haproxy.sock")),
            ),
            Proxy::Nginx => (Duration::from_millis(200), nginx(setup, running, folder)),
            Proxy::Envoy | Proxy::Caddy | Proxy::Traefik | Proxy::Relay => {
                unreachable!("not supported")
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            for turn in 0.. {
                let due = began + pause * turn;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                change(turn);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "every change was taken");
    }
}

/// A weight by the admin API: voted, durable, served when answered.
fn synod() -> Change {
    let mut admin = TcpStream::connect(proxies::ADMIN).expect("the admin API accepts");
    Box::new(move |turn| {
        let body = format!("{{\"weight\": {}}}", turn % 50 + 1);
        let request = format!(
            "PATCH /v1/pools/web/backends/b0?wait=applied HTTP/1.1\r\nHost: {}\r\nContent-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            proxies::ADMIN,
            body.len()
        );
        admin.write_all(request.as_bytes()).expect("a request");
        let mut answer = [0; 16 << 10];
        let read = admin.read(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    })
}

/// A weight by the runtime socket: in memory of this process only.
fn haproxy(socket: PathBuf) -> Change {
    Box::new(move |turn| {
        let mut admin = UnixStream::connect(&socket).expect("the socket accepts");
        let command = format!("set weight web/b0 {}\n", turn % 50 + 1);
        admin.write_all(command.as_bytes()).expect("a command");
        let mut answer = String::new();
        admin.read_to_string(&mut answer).expect("an answer");
        assert!(answer.trim().is_empty(), "{answer}");
    })
}

/// A reload, the only way of the free edition.
fn nginx(setup: &Setup, running: &Pinned, folder: &Path) -> Change {
    let (setup, folder) = (setup.clone(), folder.to_owned());
    let hup = running.signaller("HUP");
    Box::new(move |turn| {
        proxies::nginx::write_config(&setup, turn % 50 + 1, &folder);
        hup();
    })
}
