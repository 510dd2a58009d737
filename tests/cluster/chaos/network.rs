//! Network namespaces: one for each node, and a hub with a bridge that joins them by veth pairs.
//!
//! Nothing of it is visible outside: addresses, rules and the bridge are inside the namespaces, whose names carry the
//! number of this process. What a killed run has left is told by that and removed by the next.

use std::fs::File;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

const PREFIX: &str = "synod-chaos-";
/// Where nodes listen for each other.
const PEER_PORT: u16 = 9901;
/// The first port of relays on the hub.
const RELAY_PORT: u16 = 7000;

/// All namespaces of a run; they end with it.
pub(super) struct Network {
    prefix: String,
    pub(super) hub: Place,
    pub(super) places: Vec<Place>,
}

/// A thread in a namespace whose runtime opens its sockets there.
pub(super) struct Place {
    pub(super) namespace: String,
    runtime: Handle,
    ended: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Makes a namespace for each of the names, or says what this machine does not allow.
    pub(super) fn new(names: &[&str]) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces take root".to_owned());
        }
        for tool in ["ip", "iptables", "mount", "umount"] {
            if !is_there(tool) {
                return Err(format!("there is no `{tool}` on the PATH"));
            }
        }
        remove_leftovers();
        let prefix = format!("{PREFIX}{}", std::process::id());
        let swept = Swept(prefix.clone());
        let hub = format!("{prefix}-hub");
        add(&hub)?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        let gateway = format!("{}/24", address(254));
        ip(&["-n", &hub, "address", "add", &gateway, "dev", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for (index, name) in names.iter().enumerate() {
            let namespace = format!("{prefix}-{name}");
            add(&namespace)?;
            let veth = ["link", "add", name, "type", "veth", "peer", "name", "peers"];
            ip(&[&["-n", &hub][..], &veth, &["netns", &namespace]].concat())?;
            ip(&["-n", &hub, "link", "set", name, "master", "bridge", "up"])?;
            let own = format!("{}/24", node(index));
            ip(&["-n", &namespace, "address", "add", &own, "dev", "peers"])?;
            ip(&["-n", &namespace, "link", "set", "peers", "up"])?;
        }
        let place = |name: &str| Place::new(format!("{prefix}-{name}"));
        let network = Self {
            hub: place("hub")?,
            places: names
                .iter()
                .map(|name| place(name))
                .collect::<Result<_, _>>()?,
            prefix: prefix.clone(),
        };
        // Whether the kernel has what the faults are made of.
        let probe = Rule::lossy(0, 50);
        network.lay(&probe)?;
        network.lift(&probe)?;
        std::mem::forget(swept);
        Ok(network)
    }

    /// Where a node listens for its peers.
    pub(super) fn peer(index: usize) -> SocketAddr {
        SocketAddr::from((node(index), PEER_PORT))
    }

    /// A command that runs in a node's namespace.
    pub(super) fn command(&self, index: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.places[index].namespace, program]);
        command
    }

    /// Puts a rule in force.
    pub(super) fn lay(&self, rule: &Rule) -> Result<(), String> {
        self.iptables("-I", rule)
    }

    /// Takes a rule back.
    pub(super) fn lift(&self, rule: &Rule) -> Result<(), String> {
        self.iptables("-D", rule)
    }

    fn iptables(&self, verb: &str, rule: &Rule) -> Result<(), String> {
        let mut command = self.command(rule.at, "iptables");
        command.args(["-w", "10", "-t", rule.table, verb, rule.chain]);
        run(command.args(&rule.words))
    }

    /// Pulls a node's cable, or plugs it in again.
    pub(super) fn cable(&self, name: &str, plugged: bool) -> Result<(), String> {
        let state = if plugged { "up" } else { "down" };
        ip(&["-n", &self.hub.namespace, "link", "set", name, state])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in self.places.iter_mut().chain([&mut self.hub]) {
            place.end();
        }
        sweep(&self.prefix);
    }
}

/// Removes what was made if the rest cannot be.
struct Swept(String);

impl Drop for Swept {
    fn drop(&mut self) {
        sweep(&self.0);
    }
}

impl Place {
    fn new(namespace: String) -> Result<Self, String> {
        let ended = CancellationToken::new();
        let (sender, receiver) = std::sync::mpsc::channel();
        let (entered, until) = (namespace.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            let started = File::open(format!("/var/run/netns/{entered}")).and_then(|file| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
            });
            match started {
                Ok(runtime) => {
                    let _ = sender.send(Ok(runtime.handle().clone()));
                    runtime.block_on(until.cancelled());
                }
                Err(error) => {
                    let _ = sender.send(Err(format!("cannot enter {entered}: {error}")));
                }
            }
        });
        let runtime = receiver.recv().expect("the thread tells before it ends")?;
        Ok(Self {
            namespace,
            runtime,
            ended,
            thread: Some(thread),
        })
    }

    /// Runs a task here.
    pub(super) fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// The runtime of this place.
    pub(super) fn handle(&self) -> Handle {
        self.runtime.clone()
    }

    /// Runs a future here while another thread waits for it.
    pub(super) fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.spawn(async move {
            let _ = sender.send(future.await);
        });
        receiver.recv().expect("the place has not ended")
    }

    fn end(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A packet filter's rule in one namespace.
#[derive(Clone)]
pub(super) struct Rule {
    at: usize,
    table: &'static str,
    chain: &'static str,
    words: Vec<String>,
}

impl Rule {
    /// What one node sends does not reach the other.
    pub(super) fn cut(from: usize, to: usize) -> Self {
        let from = node(from).to_string();
        Self::filter(to, "INPUT", &["-s", &from, "-j", "DROP"])
    }

    /// So many of a hundred packets from peers are lost.
    pub(super) fn lossy(at: usize, percent: u32) -> Self {
        let probability = format!("{:.2}", f64::from(percent) / 100.0);
        let random = ["-m", "statistic", "--mode", "random", "--probability"];
        let words = [&["-i", "peers"][..], &random, &[&probability, "-j", "DROP"]];
        Self::filter(at, "INPUT", &words.concat())
    }

    /// Connections between two nodes go by the hub, at these ports; those that do not are reset.
    pub(super) fn by_hub(from: usize, to: usize) -> [Self; 2] {
        let (peer, port) = (node(to).to_string(), PEER_PORT.to_string());
        let hub = relay(from, to).to_string();
        let to_peer = ["-p", "tcp", "-d", &peer];
        let moved = ["--dport", &port, "-j", "DNAT", "--to-destination", &hub];
        let reset = ["-j", "REJECT", "--reject-with", "tcp-reset"];
        let moved = Self {
            table: "nat",
            ..Self::filter(from, "OUTPUT", &[&to_peer[..], &moved].concat())
        };
        let reset = Self::filter(from, "OUTPUT", &[&to_peer[..], &reset].concat());
        [moved, reset]
    }

    fn filter(at: usize, chain: &'static str, words: &[&str]) -> Self {
        Self {
            at,
            table: "filter",
            chain,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }
}

/// Where the hub listens for connections of one node to another.
pub(super) fn relay(from: usize, to: usize) -> SocketAddr {
    SocketAddr::from((address(254), RELAY_PORT + (16 * from + to) as u16))
}

fn node(index: usize) -> Ipv4Addr {
    address(index as u8 + 1)
}

fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 231, 0, host)
}

fn add(namespace: &str) -> Result<(), String> {
    ip(&["netns", "add", namespace])?;
    ip(&["-n", namespace, "link", "set", "lo", "up"])
}

fn ip(words: &[&str]) -> Result<(), String> {
    run(Command::new("ip").args(words))
}

/// Runs a command that must succeed; what it said otherwise.
pub(super) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}", said.trim()))
}

/// Whether a program is on the PATH.
pub(super) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Where a run keeps what its nodes write.
pub(super) fn directory(process: u32) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{process}"))
}

/// Ends what runs in the namespaces of one run, and them.
fn sweep(prefix: &str) {
    let own = format!("{prefix}-");
    for namespace in namespaces().filter(|name| name.starts_with(&own)) {
        let inside = Command::new("ip")
            .args(["netns", "pids", &namespace])
            .output();
        let inside = inside.map_or(Vec::new(), |output| output.stdout);
        for process in String::from_utf8_lossy(&inside).split_whitespace() {
            let process = process
                .parse()
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            // Threads of this very process are inside until they have ended.
            if let Some(process) = process.filter(|it| *it != rustix::process::getpid()) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
        let _ = ip(&["netns", "del", &namespace]);
    }
}

/// Removes what runs have left that were killed.
fn remove_leftovers() {
    let left = |name: &str| {
        let number = name.strip_prefix(PREFIX)?.split('-').next()?;
        let dead = !Path::new("/proc").join(number).exists();
        number.parse::<u32>().ok().filter(|_| dead)
    };
    let dead: Vec<u32> = namespaces().filter_map(|name| left(&name)).collect();
    for process in dead {
        sweep(&format!("{PREFIX}{process}"));
    }
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    for process in names.filter_map(|name| left(name.to_str()?)) {
        remove_directory(process);
    }
}

/// Unmounts and removes what a run's nodes have written.
pub(super) fn remove_directory(process: u32) {
    let directory = directory(process);
    let entries = std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        // Those that are no mounts are refused, which is all the same.
        let _ = run(Command::new("umount").arg("-l").arg(entry.path()));
    }
    let _ = std::fs::remove_dir_all(directory);
}

fn namespaces() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir("/var/run/netns").into_iter().flatten();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}
