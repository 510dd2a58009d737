//! Processes pinned to a core, their CPU time and their memory.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The core of the proxy under measurement.
pub(crate) const PROXY_CORE: usize = 0;

/// The core of the load, the backend and this process.
pub(crate) const LOAD_CORE: usize = 1;

/// A process pinned to one core; killed with its children when dropped.
pub(crate) struct Pinned(Child);

impl Pinned {
    /// Runs the command on this core.
    pub(crate) fn spawn(core: usize, command: Command) -> Self {
        let child = Command::new("taskset")
            .arg("-c")
            .arg(core.to_string())
            .arg(command.get_program())
            .args(command.get_args())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("taskset is installed");
        Self(child)
    }

    /// Sends it a signal by its name, such as `HUP`, whenever called.
    pub(crate) fn signaller(&self, name: &str) -> impl Fn() + Send + use<> {
        let arguments = [format!("-{name}"), self.0.id().to_string()];
        move || {
            let sent = Command::new("kill").args(&arguments).status();
            assert!(sent.is_ok_and(|status| status.success()), "{arguments:?}");
        }
    }

    /// CPU time of the process and its children so far, user and kernel.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.tree().into_iter().map(cpu_time).sum()
    }

    /// Proportional set size of the process and its children, KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        self.tree().into_iter().map(memory_kib).sum()
    }

    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.0.id()];
        let mut next = 0;
        while next < tree.len() {
            let path = format!("/proc/{0}/task/{0}/children", tree[next]);
            let children = std::fs::read_to_string(path).unwrap_or_default();
            tree.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
            next += 1;
        }
        tree
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let tree = self.tree();
        for pid in &tree {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = self.0.wait();
        // The next proxy takes the same port: not before the last child of this one is gone.
        let alive = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
            !state.is_empty() && !state.starts_with('Z')
        };
        while tree.iter().any(alive) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name, which may hold spaces; utime and stime are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    // A tick is 10 ms on every Linux of this architecture (USER_HZ).
    Duration::from_millis(10 * ticks)
}

fn memory_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}

/// Moves this process, and what it starts from now on, to this core.
pub(crate) fn move_to_core(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).expect("two cores are there");
}

/// As many open files as this process, and what it starts from now on, may have.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("a limit may be raised to its maximum");
}

/// Waits until something accepts at this address.
pub(crate) fn wait_for_port(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nothing listens at {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
