//! What is measured: a table of scenarios, each a setup, a load, and who is compared with whom.

use std::path::Path;

use crate::load::{self, Closed, Load, abuse};
use crate::proxies::{Protocol, Proxy, Setup};

/// What of a measurement the ratios are made of.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// CPU time a request, us.
    Cpu,
    /// 99th percentile of the latency from the intended send time, us.
    P99,
    /// Memory a connection, KiB.
    Memory,
    /// 99th percentile of the latency under abuse, as a multiple of what it was just before.
    Abused,
}

/// One thing to compare.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) measure: Measure,
    load: Load,
    setup: Setup,
    /// Synod's own setup to be compared with, and its name.
    over: Option<(&'static str, Setup)>,
    /// Whether the config changes all the while.
    changes: bool,
    /// Whether peers are measured too.
    peers: bool,
}

/// One line of a scenario: a proxy with a setup under a load.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) proxy: Proxy,
    pub(crate) setup: Setup,
    pub(crate) load: Load,
    pub(crate) changes: bool,
}

/// Share of HAProxy's peak at which latencies are measured.
const SHARE_OF_PEAK: f64 = 0.6;

/// Share of it while the config changes: what is left over is for the changes.
const SHARE_UNDER_CHANGES: f64 = 0.3;

impl Scenario {
    /// All, or those named.
    pub(crate) fn chosen(names: &[String]) -> Result<Vec<Self>, String> {
        let mut all = all();
        if let Some(unknown) = names
            .iter()
            .find(|name| !all.iter().any(|scenario| scenario.is_named(name)))
        {
            let known: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
            return Err(format!(
                "no scenario {unknown}; there are {}",
                known.join(", ")
            ));
        }
        all.retain(|scenario| names.is_empty() || names.iter().any(|name| scenario.is_named(name)));
        Ok(all)
    }

    /// Whether this is its name, or the family of it: `abuse` is that of all kinds.
    fn is_named(&self, name: &str) -> bool {
        let family = matches!(self.load, Load::Abuse(_)) && name == "abuse";
        family || self.name == name
    }

    /// The kind of abuse, if it is one.
    pub(crate) fn abuse(&self) -> Option<&'static abuse::Abuse> {
        match self.load {
            Load::Abuse(kind) => Some(kind),
            _ => None,
        }
    }

    /// The subject first, then what it is compared with.
    pub(crate) fn rows(&self, proxies: &[Proxy]) -> Vec<Row> {
        let row = |label: &str, proxy, setup: &Setup, changes| Row {
            label: label.to_owned(),
            proxy,
            setup: setup.clone(),
            load: self.load.clone(),
            changes,
        };
        let subject = match (self.changes, &self.over) {
            (true, _) => "synod, 50 changes/s",
            (false, Some(_)) => "synod, as titled",
            (false, None) => "synod",
        };
        let mut rows = vec![row(subject, Proxy::Synod, &self.setup, self.changes)];
        if let Some((label, setup)) = &self.over {
            rows.push(row(label, Proxy::Synod, setup, false));
        }
        let peers = proxies
            .iter()
            .filter(|proxy| self.peers && **proxy != Proxy::Synod)
            .filter(|proxy| proxy.supports(&self.setup, &self.load, self.changes));
        for peer in peers {
            let label = match (self.changes, peer.change()) {
                (true, Some(change)) => format!("{}, {change}", peer.name()),
                _ => peer.name().to_owned(),
            };
            rows.push(row(&label, *peer, &self.setup, self.changes));
        }
        rows
    }

    /// Rounds to run when `asked` are: memory does not vary with the machine's mood.
    pub(crate) fn rounds(&self, asked: usize) -> usize {
        match self.measure {
            Measure::Memory => 1,
            Measure::Cpu | Measure::P99 | Measure::Abused => asked,
        }
    }

    /// Requests a second of an open loop; 0 where the loop is closed.
    pub(crate) fn rate(&self, proxies: &[Proxy], seconds: u32, folder: &Path) -> u32 {
        let Load::OpenLoop { share_of_peak } = self.load else {
            return 0;
        };
        let of = if proxies.contains(&Proxy::Haproxy) {
            Proxy::Haproxy
        } else {
            Proxy::Synod
        };
        let row = Row {
            label: String::new(),
            proxy: of,
            setup: Setup::default(),
            load: Load::Closed(Closed::small(64)),
            changes: false,
        };
        let peak = load::measure(&row, 0, seconds, folder).requests_per_second;
        let rate = (peak * share_of_peak) as u32;
        println!(
            "  {rate} requests/s, {share_of_peak} of the peak of {}",
            of.name()
        );
        rate
    }
}

fn all() -> Vec<Scenario> {
    let mut all = vec![
        cpu(
            "small",
            "small GET, 64 keep-alive connections",
            Closed::small(64),
        ),
        cpu(
            "small-1",
            "small GET, 1 keep-alive connection",
            Closed::small(1),
        ),
        cpu(
            "small-1000",
            "small GET, 1,000 keep-alive connections",
            Closed::small(1000),
        ),
        cpu(
            "connections",
            "small GET, a new connection each",
            Closed {
                close: true,
                ..Closed::small(64)
            },
        ),
        cpu(
            "down-100k",
            "100 kB answers, 64 connections",
            Closed::down(64, "/bytes/102400"),
        ),
        cpu(
            "down-10m",
            "10 MB answers, 8 connections",
            Closed::down(8, "/bytes/10485760"),
        ),
        cpu(
            "up-100k",
            "100 kB requests, 64 connections",
            Closed::up(64, 102_400),
        ),
        cpu(
            "up-10m",
            "10 MB requests, 8 connections",
            Closed::up(8, 10_485_760),
        ),
        Scenario {
            setup: Setup {
                tls: true,
                ..Setup::default()
            },
            ..cpu(
                "tls",
                "small GET over TLS, 64 keep-alive connections",
                Closed::small(64),
            )
        },
        Scenario {
            setup: Setup {
                tls: true,
                ..Setup::default()
            },
            ..cpu(
                "tls-handshakes",
                "small GET, a new TLS connection each",
                Closed {
                    close: true,
                    ..Closed::small(64)
                },
            )
        },
        multiplexed(
            "h2",
            "small GET by HTTP/2, 8 connections of 8 streams",
            Protocol::Http2,
            false,
        ),
        multiplexed(
            "h2-tls",
            "small GET by HTTP/2 over TLS, 8 connections of 8 streams",
            Protocol::Http2,
            true,
        ),
        multiplexed(
            "grpc",
            "unary gRPC, 8 connections of 8 streams",
            Protocol::Grpc,
            false,
        ),
        Scenario {
            setup: Setup {
                routes: 10_000,
                ..Setup::default()
            },
            over: Some((
                "synod, 10 routes",
                Setup {
                    routes: 10,
                    ..Setup::default()
                },
            )),
            ..cpu(
                "routes",
                "small GET, the middle one of 10,000 prefix routes",
                Closed {
                    middle_route: true,
                    ..Closed::small(64)
                },
            )
        },
        Scenario {
            setup: Setup {
                access_log: true,
                ..Setup::default()
            },
            over: Some(("synod, no access log", Setup::default())),
            peers: false,
            ..cpu(
                "access-log",
                "small GET, a JSON line each to a file",
                Closed::small(64),
            )
        },
        Scenario {
            measure: Measure::P99,
            load: Load::OpenLoop {
                share_of_peak: SHARE_OF_PEAK,
            },
            ..cpu(
                "latency",
                "latency at a fixed rate, 64 connections, from the intended send times",
                Closed::small(64),
            )
        },
        Scenario {
            measure: Measure::P99,
            load: Load::OpenLoop {
                share_of_peak: SHARE_UNDER_CHANGES,
            },
            setup: Setup {
                routes: 5000,
                ..Setup::default()
            },
            over: Some((
                "synod, no changes",
                Setup {
                    routes: 5000,
                    ..Setup::default()
                },
            )),
            changes: true,
            ..cpu(
                "changes",
                "latency at a fixed rate, 5,000 routes, while the config changes",
                Closed::small(64),
            )
        },
        Scenario {
            measure: Measure::Memory,
            load: Load::Idle { connections: 6000 },
            ..cpu(
                "idle",
                "memory of an idle keep-alive connection, 6,000 of them",
                Closed::small(64),
            )
        },
    ];
    for balance in [
        "round_robin",
        "least_connections",
        "random",
        "power_of_two",
        "ewma",
        "maglev",
    ] {
        all.push(Scenario {
            setup: Setup {
                backends: 1000,
                balance,
                ..Setup::default()
            },
            over: Some(("synod, 1 backend", Setup::default())),
            peers: balance == "round_robin",
            ..cpu(
                &format!("backends-{balance}"),
                &format!("small GET, 1,000 backends, {balance}"),
                Closed::small(64),
            )
        });
    }
    all.extend(abuse::KINDS.iter().map(abused));
    all
}

/// CPU time a request under a closed loop, beside the peers.
fn cpu(name: &str, title: &str, closed: Closed) -> Scenario {
    Scenario {
        name: name.to_owned(),
        title: title.to_owned(),
        measure: Measure::Cpu,
        load: Load::Closed(closed),
        setup: Setup::default(),
        over: None,
        changes: false,
        peers: true,
    }
}

/// The same over HTTP/2.
fn multiplexed(name: &str, title: &str, protocol: Protocol, tls: bool) -> Scenario {
    Scenario {
        load: Load::Multiplexed {
            connections: 8,
            streams: 8,
        },
        setup: Setup {
            protocol,
            tls,
            ..Setup::default()
        },
        ..cpu(name, title, Closed::small(64))
    }
}

/// Latency of small requests while others abuse the proxy.
fn abused(kind: &'static abuse::Abuse) -> Scenario {
    Scenario {
        measure: Measure::Abused,
        load: Load::Abuse(kind),
        setup: Setup {
            protocol: kind.protocol,
            tls: kind.tls,
            plain_too: true,
            ..Setup::default()
        },
        ..cpu(kind.name, kind.title, Closed::small(64))
    }
}
