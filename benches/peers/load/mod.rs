//! Puts a load on a proxy and measures what it costs.

pub(crate) mod abuse;
mod changes;
mod h2load;
mod idle;
pub(crate) mod open_loop;
mod sample;
mod wrk;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::proxies;
use crate::scenario::Row;
use abuse::Abuse;

/// A load.
#[derive(Clone)]
pub(crate) enum Load {
    /// As many requests as are answered.
    Closed(Closed),
    /// The same over HTTP/2, so many streams at a time on each connection: small GETs, or gRPC calls.
    Multiplexed { connections: u32, streams: u32 },
    /// A fixed rate of small requests over 64 connections.
    OpenLoop { share_of_peak: f64 },
    /// Connections that do nothing, each used once.
    Idle { connections: usize },
    /// A fixed modest rate of small requests, alone and beside abuse.
    Abuse(&'static Abuse),
}

/// A closed loop: every connection sends its next request when its last one is answered.
#[derive(Clone)]
pub(crate) struct Closed {
    pub(crate) connections: u32,
    pub(crate) path: &'static str,
    /// A new connection for each request.
    pub(crate) close: bool,
    /// Bytes of body each request carries.
    pub(crate) upload: usize,
    /// Asks for the path of the middle one of many routes.
    pub(crate) middle_route: bool,
}

impl Closed {
    pub(crate) fn small(connections: u32) -> Self {
        Self {
            connections,
            path: "/",
            close: false,
            upload: 0,
            middle_route: false,
        }
    }

    /// Answers of this many bytes.
    pub(crate) fn down(connections: u32, path: &'static str) -> Self {
        Self {
            path,
            ..Self::small(connections)
        }
    }

    /// Requests of this many bytes.
    pub(crate) fn up(connections: u32, upload: usize) -> Self {
        Self {
            upload,
            ..Self::small(connections)
        }
    }
}

/// Fields a browser sends.
const BROWSER_FIELDS: &[&str] = &[
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
];

/// What one measurement of one proxy gave; what does not apply to its load is none.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    /// Requests that failed, of any kind.
    pub(crate) failed: u64,
    /// CPU time a request, us.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    /// The 99th percentile before the abuse began, us.
    pub(crate) alone_p99_us: Option<f64>,
    /// Proportional set size before it began, MiB.
    pub(crate) memory_before_mib: Option<f64>,
    /// Openings of connections and acts on them.
    pub(crate) abuses_per_second: Option<f64>,
    /// CPU time of the proxy meanwhile, percent of a core.
    pub(crate) core_percent: Option<f64>,
    /// Memory of an idle connection, KiB.
    pub(crate) idle_kib: Option<f64>,
    /// Proportional set size at the end, MiB.
    pub(crate) memory_mib: f64,
}

/// Time that figures settle in.
const SETTLE: Duration = Duration::from_millis(500);

/// Starts the proxy of a row, puts the load on it and measures.
pub(crate) fn measure(row: &Row, rate: u32, seconds: u32, folder: &Path) -> Figures {
    let running = row.proxy.start(&row.setup, folder);
    if let Load::Idle { connections } = row.load {
        return Figures {
            idle_kib: Some(idle::kib_per_connection(&running, connections)),
            memory_mib: running.memory_kib() as f64 / 1024.0,
            ..Figures::default()
        };
    }
    if let Load::Abuse(kind) = row.load {
        return abuse::measure(kind, &running, seconds);
    }
    if let Load::Multiplexed { .. } = row.load {
        sample::check(&row.setup, folder);
    }
    let run = |seconds| match &row.load {
        Load::Closed(closed) => wrk::run(closed, &row.setup, seconds, folder),
        Load::Multiplexed {
            connections,
            streams,
        } => h2load::run(*connections, *streams, &row.setup, seconds, folder),
        Load::OpenLoop { .. } | Load::Idle { .. } | Load::Abuse(_) => {
            open_loop::run(proxies::LISTEN, rate, seconds)
        }
    };
    run(1);
    let changing = row
        .changes
        .then(|| changes::Changing::start(row.proxy, &row.setup, &running, folder));
    let before = running.cpu_time();
    let figures = run(seconds);
    let spent = running.cpu_time() - before;
    drop(changing);
    let requests = figures.requests_per_second * f64::from(seconds);
    assert!(requests > 0.0, "{} answered nothing", row.label);
    Figures {
        cpu_us: Some(spent.as_secs_f64() * 1e6 / requests),
        memory_mib: running.memory_kib() as f64 / 1024.0,
        ..figures
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kib) = self.idle_kib {
            return write!(f, "{kib:7.2} KiB");
        }
        if let Some(cpu) = self.cpu_us {
            write!(f, "{cpu:8.1} us CPU  {:8.0}/s", self.requests_per_second)?;
        }
        if let (Some(p50), Some(p99), Some(p999)) = (self.p50_us, self.p99_us, self.p999_us) {
            write!(f, "  p50 {p50:.0}  p99 {p99:.0}  p99.9 {p999:.0} us")?;
        }
        if let (Some(p99), Some(memory), Some(abuses), Some(core)) = (
            self.alone_p99_us,
            self.memory_before_mib,
            self.abuses_per_second,
            self.core_percent,
        ) {
            let after = self.memory_mib;
            write!(
                f,
                ", alone p99 {p99:.0} us; {memory:.1} -> {after:.1} MiB; {abuses:.0} abuses/s, {core:.0} % of a core"
            )?;
        }
        if self.failed > 0 {
            write!(f, "  {} FAILED", self.failed)?;
        }
        Ok(())
    }
}
