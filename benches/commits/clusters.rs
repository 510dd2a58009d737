//! Three nodes of each system, as processes on loopback.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use synod::client::{Call, Client};

/// One system's three nodes; killed when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Cluster {
    kind: Kind,
    processes: Rc<Vec<Process>>,
}

/// What a write waits for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wait {
    /// That it is acknowledged.
    Committed,
    /// That every node serves it. Only one of the systems knows that.
    Applied,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Synod,
    Etcd,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Cluster {
    /// Three voters.
    pub(crate) fn synod(folder: &Path) -> Self {
        let voters: Vec<String> = (0..3)
            .map(|node| format!("--voter=n{node}=127.0.0.1:{}", 27001 + 10 * node))
            .collect();
        let processes = (0..3)
            .map(|node| {
                spawn(
                    Command::new(env!("CARGO_BIN_EXE_synod"))
                        .args(["serve", "--threads=1", &format!("--node=n{node}")])
                        .arg(format!(
                            "--data={}",
                            folder.join(format!("synod{node}")).display()
                        ))
                        .arg(format!("--peer=127.0.0.1:{}", 27001 + 10 * node))
                        .arg(format!("--admin=127.0.0.1:{}", 27002 + 10 * node))
                        .arg(format!("--listen=127.0.0.1:{}", 27003 + 10 * node))
                        .args(&voters),
                )
            })
            .collect();
        Self::up(Kind::Synod, processes)
    }

    /// Three members, if etcd is installed.
    pub(crate) fn etcd(folder: &Path) -> Option<Self> {
        Command::new("etcd").arg("--version").output().ok()?;
        let peers: Vec<String> = (0..3)
            .map(|node| format!("e{node}=http://127.0.0.1:{}", 27101 + 10 * node))
            .collect();
        let processes = (0..3)
            .map(|node| {
                let peer = format!("http://127.0.0.1:{}", 27101 + 10 * node);
                let client = format!("http://127.0.0.1:{}", 27102 + 10 * node);
                spawn(
                    Command::new("etcd")
                        .arg(format!("--name=e{node}"))
                        .arg(format!(
                            "--data-dir={}",
                            folder.join(format!("etcd{node}")).display()
                        ))
                        .args([
                            format!("--listen-peer-urls={peer}"),
                            format!("--initial-advertise-peer-urls={peer}"),
                        ])
                        .args([
                            format!("--listen-client-urls={client}"),
                            format!("--advertise-client-urls={client}"),
                        ])
                        .arg(format!("--initial-cluster={}", peers.join(",")))
                        .arg("--enable-v2=false"),
                )
            })
            .collect();
        Some(Self::up(Kind::Etcd, processes))
    }

    fn up(kind: Kind, processes: Vec<Process>) -> Self {
        let cluster = Self {
            kind,
            processes: Rc::new(processes),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let deadline = Instant::now() + Duration::from_secs(30);
        for node in 0..3 {
            while TcpStream::connect(cluster.address(node)).is_err() {
                assert!(
                    Instant::now() < deadline,
                    "{} does not start",
                    cluster.name()
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if kind == Kind::Synod {
            let clients = (0..3).map(|node| {
                Client::new([cluster.address(node)], Duration::from_secs(5)).expect("an address")
            });
            for client in clients {
                while runtime
                    .block_on(client.call(Call::get("/v1/config")))
                    .is_err()
                {
                    assert!(Instant::now() < deadline, "no leader");
                }
            }
        } else {
            // etcd accepts before it has a leader and then makes the first write wait.
            std::thread::sleep(Duration::from_secs(3));
        }
        cluster
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Synod => "synod",
            Kind::Etcd => "etcd",
        }
    }

    /// The node that a client asks.
    pub(crate) fn address(&self, client: usize) -> String {
        let base = match self.kind {
            Kind::Synod => 27002,
            Kind::Etcd => 27102,
        };
        format!("127.0.0.1:{}", base + 10 * (client % 3))
    }

    /// The request of one write of about a hundred bytes, each different from the one before.
    pub(crate) fn write(&self, client: usize, turn: usize, wait: Wait) -> Vec<u8> {
        let (method, path, body) = match self.kind {
            Kind::Synod => {
                let query = match wait {
                    Wait::Committed => "",
                    Wait::Applied => "?wait=applied",
                };
                let spec = format!(
                    r#"{{"name":"p{client}","backends":[{{"id":"b1","address":"10.0.0.7:8080","weight":{}}}]}}"#,
                    turn % 1000 + 1
                );
                ("PUT", format!("/v1/pools/p{client}{query}"), spec)
            }
            Kind::Etcd => {
                // Base64 of a key for each client, and of a value of the same length as the other's.
                let key = base64(format!("pools/p{client}").as_bytes());
                let value = base64(format!("{:0>80}", turn).as_bytes());
                (
                    "POST",
                    "/v3/kv/put".into(),
                    format!(r#"{{"key":"{key}","value":"{value}"}}"#),
                )
            }
        };
        let (host, length) = (self.address(client), body.len());
        let fields = format!(
            "host: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        );
        format!("{method} {path} HTTP/1.1\r\n{fields}\r\n{body}").into_bytes()
    }

    /// CPU time of the three nodes so far, user and kernel.
    pub(crate) fn cpu(&self) -> Duration {
        let processes = self.processes.iter();
        processes
            .map(|process| cpu_of(&process.0.id().to_string()))
            .sum()
    }

    /// Syncs of the leader's log so far, where the system tells.
    pub(crate) fn syncs(&self) -> Option<f64> {
        if self.kind == Kind::Etcd {
            return None;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        (0..3).find_map(|node| {
            let client =
                Client::new([self.address(node)], Duration::from_secs(5)).expect("an address");
            let metrics = runtime
                .block_on(client.call(Call::get("/metrics")))
                .ok()?
                .body;
            let text = metrics.as_str()?.to_owned();
            let value = |name: &str| {
                let line = text.lines().find(|line| {
                    line.strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(' '))
                })?;
                line.rsplit(' ').next()?.parse::<f64>().ok()
            };
            (value("synod_leader")? == 1.0).then(|| value("synod_log_syncs_total"))?
        })
    }
}

fn spawn(command: &mut Command) -> Process {
    Process(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs"),
    )
}

/// CPU time so far of a process, by its number or as `self`.
pub(crate) fn cpu_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The second field is the name, which may hold spaces; utime and stime are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // A tick is 10 ms on every Linux of this architecture (USER_HZ).
    Duration::from_millis(10 * ticks)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, place| {
            bits << 8 | u32::from(*chunk.get(place).unwrap_or(&0))
        });
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(char::from(
                    ALPHABET[(bits >> (18 - 6 * place) & 63) as usize],
                ));
            } else {
                text.push('=');
            }
        }
    }
    text
}
