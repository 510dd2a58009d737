//! What a small request waits for while others abuse the proxy at the same time.
//!
//! The prober asks at a fixed modest rate by HTTP/1.1 on a listener of its own, first alone, then while a child abuses
//! the main listener, which the same worker serves. The abuser shares the prober's core, so its rate is bounded: what
//! the prober then waits for is the proxy. How often the abuser came to its turn is told beside.

mod attacker;
mod frames;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Instant;

pub(crate) use attacker::run_child;

use super::{Figures, open_loop};
use crate::process::Pinned;
use crate::proxies::{self, Protocol};

/// Requests a second of the prober.
const PROBES: u32 = 1_000;

/// A kind of abuse.
pub(crate) struct Abuse {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the listener that is abused speaks.
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    /// Connections that are held at a time; those that the proxy ends are opened anew.
    connections: usize,
    /// Openings and acts a second, all connections together.
    rate: u32,
    /// What is sent first on a connection.
    opening: fn() -> Vec<u8>,
    act: Act,
    /// MiB that the proxy may grow by, all connections together: well above what Synod does.
    pub(crate) most_mib: f64,
}

/// What an abuser does on an open connection at each of its turns.
enum Act {
    /// Nothing.
    Wait,
    /// It leaves once the proxy has answered anything.
    Leave,
    /// It sends these bytes; the number counts the connection's turns.
    Send(fn(u32) -> Vec<u8>),
}

/// All kinds.
pub(crate) const KINDS: &[Abuse] = &[
    Abuse {
        name: "abuse-slow-heads",
        title: "2,000 heads that come a byte a second",
        protocol: Protocol::Http1,
        tls: false,
        connections: 2_000,
        rate: 2_000,
        opening: || b"GET / HTTP/1.1\r\nHost: abuse\r\nX-Slow: ".to_vec(),
        act: Act::Send(|_| b"x".to_vec()),
        most_mib: 70.0,
    },
    Abuse {
        name: "abuse-slow-bodies",
        title: "1,000 bodies that come a byte a second",
        protocol: Protocol::Http1,
        tls: false,
        connections: 1_000,
        rate: 1_000,
        opening: || b"POST / HTTP/1.1\r\nHost: abuse\r\nContent-Length: 1000000\r\n\r\n".to_vec(),
        act: Act::Send(|_| b"x".to_vec()),
        most_mib: 40.0,
    },
    Abuse {
        name: "abuse-idle",
        title: "10,000 idle connections, used once each",
        protocol: Protocol::Http1,
        tls: false,
        connections: 10_000,
        rate: 3_000,
        opening: || b"GET / HTTP/1.1\r\nHost: abuse\r\n\r\n".to_vec(),
        act: Act::Wait,
        most_mib: 16.0,
    },
    Abuse {
        name: "abuse-resets",
        title: "5,000 requests a second by HTTP/2, each reset at once, on 8 connections",
        protocol: Protocol::Http2,
        tls: false,
        connections: 8,
        rate: 5_000,
        opening: frames::preface,
        act: Act::Send(frames::reset_request),
        most_mib: 10.0,
    },
    Abuse {
        name: "abuse-continuations",
        title: "5,000 CONTINUATION frames of 1 KiB a second, of heads without end, on 8 connections",
        protocol: Protocol::Http2,
        tls: false,
        connections: 8,
        rate: 5_000,
        opening: frames::preface,
        act: Act::Send(frames::continuation),
        most_mib: 20.0,
    },
    Abuse {
        name: "abuse-header-bombs",
        title: "200 heads a second of 16 kB that HPACK makes 47 MB of, on 8 connections",
        protocol: Protocol::Http2,
        tls: false,
        connections: 8,
        rate: 200,
        opening: frames::preface,
        act: Act::Send(frames::bomb),
        most_mib: 10.0,
    },
    Abuse {
        name: "abuse-handshakes",
        title: "1,000 TLS handshakes a second, left once the server has paid for them",
        protocol: Protocol::Http1,
        tls: true,
        connections: 64,
        rate: 1_000,
        opening: attacker::client_hello,
        act: Act::Leave,
        most_mib: 10.0,
    },
];

/// Asks alone, then under abuse.
pub(super) fn measure(kind: &Abuse, running: &Pinned, seconds: u32) -> Figures {
    let probe = |seconds| open_loop::run(proxies::PLAIN, PROBES, seconds);
    probe(1);
    let alone = probe(seconds);
    let memory_before = running.memory_kib();
    let abuser = Abuser::start(kind);
    let (cpu_before, began) = (running.cpu_time(), Instant::now());
    let abused = probe(seconds);
    let spent = running.cpu_time() - cpu_before;
    let core = spent.as_secs_f64() / began.elapsed().as_secs_f64();
    let memory_mib = running.memory_kib() as f64 / 1024.0;
    Figures {
        failed: alone.failed + abused.failed,
        alone_p99_us: alone.p99_us,
        memory_before_mib: Some(memory_before as f64 / 1024.0),
        abuses_per_second: Some(abuser.stop()),
        core_percent: Some(100.0 * core),
        memory_mib,
        ..abused
    }
}

/// The child that abuses, until it is stopped.
struct Abuser {
    child: Child,
    told: BufReader<ChildStdout>,
    began: Instant,
}

impl Abuser {
    /// Returns when every connection has been opened once.
    fn start(kind: &Abuse) -> Self {
        let mut child = crate::own("abuser")
            .arg(kind.name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let began = Instant::now();
        let mut told = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        told.read_line(&mut line).expect("the child tells");
        assert_eq!(line.trim(), attacker::READY, "{}", kind.name);
        Self { child, told, began }
    }

    /// Openings and acts a second.
    fn stop(mut self) -> f64 {
        let seconds = self.began.elapsed().as_secs_f64();
        drop(self.child.stdin.take());
        let mut count = String::new();
        self.told
            .read_to_string(&mut count)
            .expect("the child tells");
        let ended = self.child.wait();
        assert!(ended.is_ok_and(|status| status.success()), "{count}");
        count.trim().parse::<f64>().expect("a count") / seconds
    }
}
