//! Three nodes of each system, as processes on loopback.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use synod::client::{Call, Client};

/// One system's three nodes; killed when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Cluster {
    kind: Kind,
    _processes: Rc<Vec<Process>>,
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
            .map(|node| format!("--voter=n{node}=127.0.0.1:{}", 19001 + 10 * node))
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
                        .arg(format!("--peer=127.0.0.1:{}", 19001 + 10 * node))
                        .arg(format!("--admin=127.0.0.1:{}", 19002 + 10 * node))
                        .arg(format!("--listen=127.0.0.1:{}", 19003 + 10 * node))
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
            .map(|node| format!("e{node}=http://127.0.0.1:{}", 19101 + 10 * node))
            .collect();
        let processes = (0..3)
            .map(|node| {
                let peer = format!("http://127.0.0.1:{}", 19101 + 10 * node);
                let client = format!("http://127.0.0.1:{}", 19102 + 10 * node);
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
            _processes: Rc::new(processes),
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
            Kind::Synod => 19002,
            Kind::Etcd => 19102,
        };
        format!("127.0.0.1:{}", base + 10 * (client % 3))
    }

    /// One write of about a hundred bytes, each different from the one before.
    pub(crate) fn write(&self, client: usize, turn: usize) -> http::Request<Full<Bytes>> {
        let (method, path, body) = match self.kind {
            Kind::Synod => {
                let spec = format!(
                    r#"{{"name":"p{client}","backends":[{{"id":"b1","address":"10.0.0.7:8080","weight":{}}}]}}"#,
                    turn % 1000 + 1
                );
                ("PUT", format!("/v1/pools/p{client}"), spec)
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
        http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address(client))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .expect("a request")
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
