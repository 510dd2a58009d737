//! Nodes as processes, and the admin calls tests make.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use synod::client::{Answer, Call, Client, Error, Problem};
use tempfile::TempDir;

/// Far beyond what any wait of a healthy cluster takes on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Held by the test that runs nodes.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One node's process and addresses.
pub(crate) struct Node {
    pub name: String,
    pub traffic: SocketAddr,
    pub admin: SocketAddr,
    pub peer: SocketAddr,
    args: Vec<String>,
    process: Option<Process>,
    /// Where it tells what a service manager wants to know.
    notices: UnixDatagram,
}

/// A process of a node: started here, or by the one before.
pub(crate) struct Process {
    pid: Pid,
    child: Option<Child>,
}

impl Process {
    /// Whether it has ended, reaped or not.
    pub(crate) fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        let state = stat.ok().and_then(|stat| {
            let (_, behind) = stat.rsplit_once(") ")?;
            behind.chars().next()
        });
        state.is_none_or(|state| matches!(state, 'Z' | 'X'))
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) {
        wait_until("a process to end", DEADLINE, || {
            self.has_ended().then_some(())
        });
        if let Some(mut child) = self.child.take() {
            let status = child.wait().unwrap();
            assert!(status.success(), "it ended with {status}");
        }
    }

    /// Ends it as a power cut would.
    fn kill(mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
        if let Some(child) = &mut self.child {
            child.wait().unwrap();
        }
        wait_until("a process to end", DEADLINE, || {
            self.has_ended().then_some(())
        });
    }
}

/// A group of nodes; all are killed when it is dropped.
pub(crate) struct Cluster {
    pub nodes: Vec<Node>,
    pub data: TempDir,
    /// What nodes are started from: a link, which may be pointed elsewhere.
    program: PathBuf,
    runtime: tokio::runtime::Runtime,
    _alone: MutexGuard<'static, ()>,
}

/// The binary under test.
pub(crate) fn synod() -> Command {
    Command::new(env!("CARGO_BIN_EXE_synod"))
}

/// Ports that were free a moment ago.
pub(crate) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    held.iter()
        .map(|listener| listener.local_addr().unwrap())
        .collect()
}

impl Cluster {
    /// Starts `count` voters and waits until they have a leader and answer.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with(count, |_, _| Vec::new())
    }

    /// The same, each with arguments of its own: by the directory of all data, and its name.
    pub(crate) fn start_with(count: usize, more: impl Fn(&Path, &str) -> Vec<String>) -> Self {
        let alone = alone();
        let data = TempDir::new().unwrap();
        let program = data.path().join("synod");
        let addresses = free_addresses(3 * count);
        let names: Vec<String> = (0..count).map(|index| format!("n{}", index + 1)).collect();
        let voters: Vec<String> = if count == 1 {
            Vec::new()
        } else {
            names
                .iter()
                .enumerate()
                .flat_map(|(index, name)| {
                    [
                        "--voter".to_owned(),
                        format!("{name}={}", addresses[3 * index + 2]),
                    ]
                })
                .collect()
        };
        let nodes = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mut args: Vec<String> = [
                    "serve".to_owned(),
                    format!("--node={name}"),
                    format!("--data={}", data.path().join(name).display()),
                    format!("--listen={}", addresses[3 * index]),
                    format!("--admin={}", addresses[3 * index + 1]),
                    format!("--peer={}", addresses[3 * index + 2]),
                    "--threads=1".to_owned(),
                ]
                .into();
                args.extend(voters.clone());
                args.extend(more(data.path(), name));
                Node {
                    name: name.clone(),
                    traffic: addresses[3 * index],
                    admin: addresses[3 * index + 1],
                    peer: addresses[3 * index + 2],
                    args,
                    process: None,
                    notices: notices(data.path(), name),
                }
            })
            .collect();
        let mut cluster = Self {
            nodes,
            data,
            program,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            _alone: alone,
        };
        cluster.point_to(Path::new(env!("CARGO_BIN_EXE_synod")));
        for index in 0..count {
            cluster.spawn(index);
        }
        cluster.wait_for_leader();
        cluster
    }

    /// Starts a follower that is told of these nodes' peer addresses; its index.
    pub(crate) fn join(&mut self, name: &str, voters: &[usize]) -> usize {
        self.join_with(name, voters, Vec::new())
    }

    /// The same, with further arguments.
    pub(crate) fn join_with(&mut self, name: &str, voters: &[usize], more: Vec<String>) -> usize {
        let [traffic, admin, peer] = free_addresses(3)[..] else {
            unreachable!("three were asked for")
        };
        let mut args: Vec<String> = [
            "serve".to_owned(),
            format!("--node={name}"),
            format!("--data={}", self.data.path().join(name).display()),
            format!("--listen={traffic}"),
            format!("--admin={admin}"),
            format!("--peer={peer}"),
            "--threads=1".to_owned(),
        ]
        .into();
        let joins = voters.iter().map(|voter| self.nodes[*voter].peer);
        args.extend(joins.map(|peer| format!("--join={peer}")));
        args.extend(more);
        self.nodes.push(Node {
            name: name.to_owned(),
            traffic,
            admin,
            peer,
            args,
            process: None,
            notices: notices(self.data.path(), name),
        });
        self.spawn(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Sends a node's process a signal.
    pub(crate) fn signal(&self, index: usize, signal: Signal) {
        let process = self.nodes[index].process.as_ref().expect("the node runs");
        kill_process(process.pid, signal).unwrap();
    }

    /// Has nodes be started from `program`.
    pub(crate) fn point_to(&self, program: &Path) {
        let next = self.program.with_extension("next");
        std::os::unix::fs::symlink(program, &next).unwrap();
        std::fs::rename(next, &self.program).unwrap();
    }

    /// Has a node's process replaced by another; the one before, which drains.
    pub(crate) fn upgrade(&mut self, index: usize) -> Process {
        self.signal(index, Signal::USR2);
        let node = &mut self.nodes[index];
        let pid = loop {
            let mut notice = [0; 256];
            let length = node.notices.recv(&mut notice).expect("a notice in time");
            let notice = std::str::from_utf8(&notice[..length]).unwrap();
            if let Some(pid) = notice.strip_prefix("MAINPID=") {
                break pid.parse().unwrap();
            }
        };
        let next = Process {
            pid: Pid::from_raw(pid).unwrap(),
            child: None,
        };
        node.process.replace(next).expect("the node runs")
    }

    /// Starts the process of a node that does not run.
    pub(crate) fn spawn(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        assert!(node.process.is_none(), "{} runs", node.name);
        let mut child = Command::new(&self.program)
            .args(&node.args)
            .env("NOTIFY_SOCKET", notices_path(self.data.path(), &node.name))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for stream in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let name = node.name.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    eprintln!("[{name}] {line}");
                }
            });
        }
        node.process = Some(Process {
            pid: Pid::from_child(&child),
            child: Some(child),
        });
    }

    /// Has a node start anew, with the listeners of its settings and none besides.
    pub(crate) fn listen_by_settings(&mut self, index: usize) {
        self.terminate(index);
        let args = &mut self.nodes[index].args;
        args.retain(|arg| !arg.starts_with("--listen="));
        self.spawn(index);
        self.wait_for_leader();
    }

    /// Runs a future on the cluster's own runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The runtime of load generators and backends.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    /// Ends a node at once, as a power cut would end its process.
    pub(crate) fn kill(&mut self, index: usize) {
        let process = self.nodes[index].process.take().expect("the node runs");
        process.kill();
    }

    /// Asks a node to stop, and waits until it has.
    pub(crate) fn terminate(&mut self, index: usize) {
        self.signal(index, Signal::TERM);
        let process = self.nodes[index].process.take().expect("the node runs");
        process.wait();
    }

    pub(crate) fn runs(&self, index: usize) -> bool {
        self.nodes[index].process.is_some()
    }

    /// What its process holds in memory.
    pub(crate) fn resident_bytes(&self, index: usize) -> usize {
        let process = self.nodes[index].process.as_ref().expect("the node runs");
        let pid = process.pid.as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|line| line.trim().strip_suffix(" kB"));
        1_024 * kib.unwrap().parse::<usize>().unwrap()
    }

    fn client(&self, index: usize) -> Client {
        Client::new(
            [format!("http://{}", self.nodes[index].admin)],
            Duration::from_secs(20),
        )
        .unwrap()
    }

    /// One admin call at one node.
    pub(crate) fn try_call(&self, index: usize, call: Call) -> Result<Answer, Error> {
        self.block_on(self.client(index).call(call))
    }

    /// One admin call that must succeed.
    pub(crate) fn call(&self, index: usize, call: Call) -> Answer {
        self.try_call(index, call)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// One admin call that must be refused.
    pub(crate) fn refused(&self, index: usize, call: Call) -> Problem {
        match self.try_call(index, call) {
            Err(Error::Refused(problem)) => *problem,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Writes a resource; the revision after it.
    pub(crate) fn put(&self, index: usize, path: &str, spec: Value) -> u64 {
        self.call(index, Call::new(http::Method::PUT, path).json(spec))
            .revision
    }

    /// Index of the node that leads, as a running node tells.
    pub(crate) fn leader(&self) -> Option<usize> {
        let running = (0..self.nodes.len()).filter(|index| self.runs(*index));
        for index in running {
            let Ok(answer) = self.try_call(index, Call::get("/v1/nodes?consistency=local")) else {
                continue;
            };
            let items = answer.body["items"].as_array().cloned().unwrap_or_default();
            let leader = items.iter().find(|item| item["role"] == "leader");
            let leader = leader
                .and_then(|item| self.nodes.iter().position(|node| item["name"] == node.name));
            if let Some(leader) = leader.filter(|leader| self.runs(*leader)) {
                return Some(leader);
            }
        }
        None
    }

    /// Waits until some node leads and a linearizable read works.
    pub(crate) fn wait_for_leader(&self) -> usize {
        wait_until("a leader", DEADLINE, || {
            let leader = self.leader()?;
            self.try_call(leader, Call::get("/v1/config")).ok()?;
            Some(leader)
        })
    }

    /// Waits until a node serves at least this revision.
    pub(crate) fn wait_for_revision(&self, index: usize, revision: u64) {
        wait_until("the revision", DEADLINE, || {
            let answer = self
                .try_call(index, Call::get("/v1/nodes?consistency=local"))
                .ok()?;
            let items = answer.body["items"].as_array()?.clone();
            let own = items
                .into_iter()
                .find(|item| item["name"] == self.nodes[index].name)?;
            (own["applied"].as_u64()? >= revision).then_some(())
        });
    }

    /// A pool of these backends with equal weights and a route for everything; the revision.
    pub(crate) fn serve_pool(&self, name: &str, backends: &BTreeMap<String, SocketAddr>) -> u64 {
        let members: Vec<Value> = backends
            .iter()
            .map(|(id, address)| json!({"id": id, "address": address.to_string()}))
            .collect();
        let operations = json!([
            {"op": "put", "path": format!("/pools/{name}"), "value": {"name": name, "backends": members}},
            {"op": "put", "path": "/routes/all", "value": {"name": "all", "to": [{"pool": name}]}},
        ]);
        let leader = self.wait_for_leader();
        self.call(
            leader,
            Call::new(
                http::Method::POST,
                "/v1/transactions?wait=applied&timeout=10s",
            )
            .json(operations),
        )
        .revision
    }

    /// A number from a node's metrics: the sum over the samples of this name.
    pub(crate) fn metric(&self, index: usize, name: &str) -> f64 {
        let text = self.call(index, Call::get("/metrics")).body;
        let text = text.as_str().expect("metrics are text");
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        });
        samples
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(process) = node.process.take() {
                process.kill();
            }
        }
    }
}

fn notices_path(data: &Path, name: &str) -> PathBuf {
    data.join(format!("{name}.notices"))
}

fn notices(data: &Path, name: &str) -> UnixDatagram {
    let path = notices_path(data, name);
    // That of a node of the same name which came before.
    let _ = std::fs::remove_file(&path);
    let notices = UnixDatagram::bind(path).unwrap();
    notices.set_read_timeout(Some(DEADLINE)).unwrap();
    notices
}

/// Waits for a condition, polling; panics with its name past the deadline.
pub(crate) fn wait_until<T>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
