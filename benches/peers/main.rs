//! Synod beside nginx and HAProxy: CPU time a small request, and memory of an idle connection.
//!
//! `cargo bench --bench peers` needs `nginx`, `haproxy`, `wrk` and `taskset` on the PATH (Debian's packages) and two
//! cores: the proxy has the first one alone, load and backend share the second. Rounds are interleaved; what counts
//! is the ratio within a round, since absolute figures drift with the machine. Process time is the kernel's own
//! accounting (`/proc/PID/stat`) of the proxy's whole process tree.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod backend;
mod idle;
mod process;
mod proxies;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use process::Pinned;
use proxies::Proxy;

const ROUNDS: usize = 5;
const SECONDS: u32 = 5;
const CONNECTIONS: u32 = 64;
const IDLE_CONNECTIONS: usize = 6000;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("backend") {
        return backend::run();
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let backend = Pinned::spawn(
        1,
        Command::new(std::env::current_exe().expect("own path")).arg("backend"),
    );
    process::wait_for_port(backend::ADDRESS);
    let proxies = Proxy::available();
    println!(
        "CPU time a small request, {CONNECTIONS} keep-alive connections, {ROUNDS} rounds of {SECONDS} s, us (requests/s)\n"
    );
    let mut rounds = vec![Vec::new(); proxies.len()];
    for round in 0..ROUNDS {
        for (proxy, figures) in proxies.iter().zip(&mut rounds) {
            let figure = small_requests(proxy, folder.path());
            println!(
                "round {round}  {:10} {:6.1} us  ({:.0}/s)",
                proxy.name(),
                figure.0,
                figure.1
            );
            figures.push(figure.0);
        }
    }
    report(&proxies, &rounds);
    println!("\nmemory of an idle keep-alive connection, {IDLE_CONNECTIONS} of them\n");
    for proxy in &proxies {
        let running = proxy.start(folder.path());
        println!(
            "{:10} {:6.2} KiB",
            proxy.name(),
            idle::kib_per_connection(&running)
        );
    }
    drop(backend);
}

/// CPU microseconds a request, and requests a second.
fn small_requests(proxy: &Proxy, folder: &Path) -> (f64, f64) {
    let running = proxy.start(folder);
    wrk(1);
    let before = running.cpu_time();
    let requests = wrk(SECONDS);
    let spent = running.cpu_time() - before;
    (
        spent.as_secs_f64() * 1e6 / requests as f64,
        requests as f64 / f64::from(SECONDS),
    )
}

/// Requests answered; none may fail.
fn wrk(seconds: u32) -> u64 {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1"])
        .args([format!("-c{CONNECTIONS}"), format!("-d{seconds}s")])
        .args([
            "-H",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ])
        .args([
            "-H",
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ])
        .args([
            "-H",
            "Accept-Language: en-US,en;q=0.5",
            "-H",
            "Accept-Encoding: gzip, deflate, br",
        ])
        .arg(format!("http://{}/", proxies::LISTEN))
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    let line = text
        .lines()
        .find(|line| line.contains("requests in"))
        .unwrap_or_else(|| panic!("{text}"));
    line.trim()
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{line}"))
}

/// Medians, and of each round the ratio to the better peer.
fn report(proxies: &[Proxy], rounds: &[Vec<f64>]) {
    println!("\n{:10} {:>10}", "proxy", "median us");
    for (proxy, figures) in proxies.iter().zip(rounds) {
        println!("{:10} {:>10.1}", proxy.name(), median(figures.clone()));
    }
    let own = proxies
        .iter()
        .position(|proxy| *proxy == Proxy::Synod)
        .expect("Synod is always there");
    let ratios: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let peers = (0..proxies.len()).filter(|index| *index != own);
            let best = peers
                .map(|index| rounds[index][round])
                .fold(f64::INFINITY, f64::min);
            rounds[own][round] / best
        })
        .collect();
    println!(
        "\nSynod to the better peer, median of the rounds' ratios: {:.2}",
        median(ratios)
    );
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Time that figures settle in.
const SETTLE: Duration = Duration::from_millis(500);
