//! Nodes as processes in their namespaces, each with a small disk of its own, and the record of when they ran.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use synod::client::{Answer, Call, Client, Error};

use super::network::{self, Network, run};
use crate::harness::wait_until;
use crate::load::get;

/// Voters, and one that follows.
pub(super) const NAMES: [&str; 4] = ["n1", "n2", "n3", "p1"];
pub(super) const VOTERS: usize = 3;
/// Inside its namespace every node has the same addresses.
pub(super) const TRAFFIC: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
const ADMIN: &str = "http://127.0.0.1:9900";
/// Of a data directory: room for the log, two checkpoints and what is to come.
const DISK: &str = "size=128m";
/// How long a client waits for a node, which itself refuses within 5 s what it cannot do.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long anything may take that must come about.
pub(super) const SOON: Duration = Duration::from_secs(120);

/// All nodes of a run.
pub(super) struct Nodes {
    pub(super) network: Network,
    pub(super) directory: PathBuf,
    clocks: Option<PathBuf>,
    processes: Vec<Option<Child>>,
    filled: Vec<bool>,
    pub(super) views: Vec<Arc<View>>,
}

/// What clients know of a node.
#[derive(Default)]
pub(super) struct View {
    /// When it was killed, and when it served again.
    outages: Mutex<Vec<(Instant, Option<Instant>)>>,
    /// The newest revision it has said that it serves: it may never serve an older one.
    reported: AtomicU64,
}

impl View {
    /// Whether it was dead or starting at any time in between.
    pub(super) fn was_away(&self, from: Instant, to: Instant) -> bool {
        let outages = self.outages.lock().unwrap();
        let overlaps = |(killed, back): &(Instant, Option<Instant>)| {
            *killed <= to && back.is_none_or(|back| from <= back)
        };
        outages.iter().any(overlaps)
    }

    /// How often it was killed: what it serves is compared within one life.
    pub(super) fn lives(&self) -> usize {
        self.outages.lock().unwrap().len()
    }

    pub(super) fn reported(&self) -> u64 {
        self.reported.load(Ordering::SeqCst)
    }

    pub(super) fn report(&self, revision: u64) {
        self.reported.fetch_max(revision, Ordering::SeqCst);
    }
}

impl Nodes {
    /// Prepares disks and settings; nothing runs yet. `Err` is what this machine does not allow.
    pub(super) fn new(tls: bool) -> Result<Self, String> {
        let network = Network::new(&NAMES)?;
        let directory = network::directory(std::process::id());
        let nodes = Self {
            network,
            directory: directory.clone(),
            clocks: faketime(),
            processes: NAMES.iter().map(|_| None).collect(),
            filled: vec![false; NAMES.len()],
            views: NAMES.iter().map(|_| Arc::default()).collect(),
        };
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        if tls {
            let mut cert = crate::harness::synod();
            run(cert.arg("cert").args(NAMES).arg("--out").arg(&directory))?;
        }
        for (index, name) in NAMES.iter().enumerate() {
            let disk = nodes.disk(index);
            std::fs::create_dir_all(&disk).map_err(|error| error.to_string())?;
            let mount = ["-t", "tmpfs", "-o", DISK, "synod-chaos"];
            run(Command::new("mount").args(mount).arg(&disk))?;
            std::fs::write(
                directory.join(format!("{name}.toml")),
                nodes.settings(index, tls),
            )
            .and_then(|()| std::fs::write(nodes.clock(index), "+0"))
            .map_err(|error| error.to_string())?;
        }
        Ok(nodes)
    }

    fn settings(&self, index: usize, tls: bool) -> String {
        let (name, peer) = (NAMES[index], Network::peer(index));
        let voters = (0..VOTERS).map(|voter| (NAMES[voter], Network::peer(voter)));
        let (top, group) = if index < VOTERS {
            let lines = voters.map(|(name, peer)| format!("{name} = \"{peer}\"\n"));
            (
                String::new(),
                format!("[voters]\n{}", lines.collect::<String>()),
            )
        } else {
            let joins: Vec<String> = voters.map(|(_, peer)| format!("\"{peer}\"")).collect();
            (format!("join = [{}]\n", joins.join(", ")), String::new())
        };
        let file = |name: String| self.directory.join(name);
        let secured = if tls {
            format!(
                "tls = {{ ca = {:?}, cert = {:?}, key = {:?} }}\n",
                file("ca.pem".into()),
                file(format!("{name}.pem")),
                file(format!("{name}.key"))
            )
        } else {
            String::new()
        };
        format!(
            "node = \"{name}\"\ndata = {:?}\nthreads = 1\nallow_plaintext = {}\n{top}\
             [[listeners]]\naddress = \"127.0.0.1:8080\"\nrevision_header = true\n\
             [admin]\naddress = \"127.0.0.1:9900\"\n[peer]\naddress = \"{peer}\"\n{secured}{group}\
             [consensus]\ncheckpoint_commands = 500\ncheckpoint_mib = 4\n",
            self.disk(index).join("data"),
            !tls,
        )
    }

    fn disk(&self, index: usize) -> PathBuf {
        self.directory.join(NAMES[index])
    }

    fn clock(&self, index: usize) -> PathBuf {
        self.directory.join(format!("{}.clock", NAMES[index]))
    }

    fn output(&self, index: usize) -> PathBuf {
        self.directory.join(format!("{}.log", NAMES[index]))
    }

    /// Whether nodes run by clocks that can be set.
    pub(super) fn have_clocks(&self) -> bool {
        self.clocks.is_some()
    }

    pub(super) fn runs(&self, index: usize) -> bool {
        self.processes[index].is_some()
    }

    /// Starts a node that does not run, and does not wait for it.
    pub(super) fn spawn(&mut self, index: usize) {
        // No node starts without room to note that it has.
        if self.filled[index] {
            self.fill(index, false);
        }
        let synod = env!("CARGO_BIN_EXE_synod");
        let mut command = self.network.command(index, synod);
        let settings = self.directory.join(format!("{}.toml", NAMES[index]));
        command.arg("serve").arg("--config").arg(settings);
        if let Some(library) = &self.clocks {
            // Only the time of day: that of the machine's own clock never jumps.
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock(index))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_CACHE_DURATION", "1");
        }
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.output(index))
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        self.processes[index] = Some(child.unwrap());
    }

    /// Waits until a node that was started serves what it last served, with or without the others.
    pub(super) fn wait_until_served(&self, index: usize) {
        let what = format!("{} to serve", NAMES[index]);
        wait_until(&what, SOON, || {
            let place = &self.network.places[index];
            let answer = place.run(get(TRAFFIC.into())).ok()?;
            // With the last backend ejected or the like a node would serve as little as without a config.
            answer.starts_with("HTTP/1.1 200 ").then_some(())?;
            self.call(index, Call::get("/readyz")).ok()
        });
        let mut outages = self.views[index].outages.lock().unwrap();
        if let Some((_, back @ None)) = outages.last_mut() {
            *back = Some(Instant::now());
        }
    }

    /// Ends a node at once.
    pub(super) fn kill(&mut self, index: usize) {
        let now = Instant::now();
        let outages = &self.views[index].outages;
        outages.lock().unwrap().push((now, None));
        let mut child = self.processes[index].take().expect("the node runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(super) fn signal(&self, index: usize, signal: Signal) {
        kill_process(self.pid(index), signal).unwrap();
    }

    pub(super) fn pid(&self, index: usize) -> Pid {
        Pid::from_child(self.processes[index].as_ref().expect("the node runs"))
    }

    /// Whether a process has ended by itself.
    pub(super) fn ended(&mut self, index: usize) -> Option<String> {
        let status = self.processes[index].as_mut()?.try_wait().unwrap()?;
        Some(format!("{} ended by itself: {status}", NAMES[index]))
    }

    /// Takes all room on a node's disk, or gives it back.
    pub(super) fn fill(&mut self, index: usize, full: bool) {
        let filler = self.disk(index).join("filler");
        self.filled[index] = full;
        if !full {
            // It may have been removed for a start already.
            let _ = std::fs::remove_file(filler);
            return;
        }
        let mut file = File::create(filler).unwrap();
        let (mut piece, zeros) = (1 << 20, vec![0; 1 << 20]);
        while piece > 0 {
            match file.write(&zeros[..piece]) {
                Ok(written) if written > 0 => {}
                _ => piece /= 2,
            }
        }
    }

    pub(super) fn is_full(&self, index: usize) -> bool {
        self.filled[index]
    }

    /// Sets a node's clock so many seconds off.
    pub(super) fn set_clock(&self, index: usize, seconds: i64) {
        // Renamed, so that nobody reads half of it.
        let (clock, new) = (
            self.clock(index),
            self.directory.join(format!("{}.new", NAMES[index])),
        );
        std::fs::write(&new, format!("{seconds:+}")).unwrap();
        std::fs::rename(new, clock).unwrap();
    }

    /// One call at one node, from inside its namespace.
    pub(super) fn call(&self, index: usize, call: Call) -> Result<Answer, Error> {
        self.network.places[index].run(async move { client().call(call).await })
    }

    /// What a node says of itself, without asking others.
    pub(super) fn own(&self, index: usize) -> Option<Value> {
        let body = self
            .call(index, Call::get("/v1/nodes?consistency=local"))
            .ok()?
            .body;
        let mut all = body["items"].as_array()?.iter();
        let mut own = all.find(|it| it["name"] == NAMES[index])?.clone();
        own["state"] = body["this"]["state"].clone();
        own["leader"] = body["leader"].clone();
        Some(own)
    }

    /// The voter that leads, as those tell that run and are not `silent`.
    pub(super) fn leader(&self, silent: &[usize]) -> Option<usize> {
        let asked = (0..NAMES.len()).filter(|it| self.runs(*it) && !silent.contains(it));
        asked.into_iter().find_map(|index| {
            let own = self.own(index)?;
            NAMES[..VOTERS]
                .iter()
                .position(|name| own["leader"] == *name)
        })
    }

    /// The last lines that each node wrote.
    pub(super) fn last_words(&self) -> String {
        let mut words = String::new();
        for (index, name) in NAMES.iter().enumerate() {
            let text = std::fs::read(self.output(index)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(30)..] {
                words.push_str(&format!("[{name}] {line}\n"));
            }
        }
        words
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        network::remove_directory(std::process::id());
    }
}

/// A client of the node in whose namespace it is used.
pub(super) fn client() -> Client {
    Client::new([ADMIN], PATIENCE).unwrap()
}

/// The library that gives a process a clock of its own, where there is one.
fn faketime() -> Option<PathBuf> {
    let architectures = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let directories = architectures.map(|it| format!("/usr/lib/{it}/faketime"));
    directories
        .iter()
        .map(String::as_str)
        .chain(["/usr/lib/faketime", "/usr/lib64/faketime"])
        .map(|directory| Path::new(directory).join("libfaketimeMT.so.1"))
        .find(|library| library.is_file())
}
