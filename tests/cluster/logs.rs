//! The access log of a process: rotated under load, and full.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE, wait_until};
use crate::load::{Load, OnLoss};

/// One node behind one backend, with its access log here.
fn logging_to(path: impl Fn(&Path) -> PathBuf) -> (Cluster, Backends) {
    let cluster = Cluster::start_with(1, |data, _| {
        vec![format!("--access-log={}", path(data).display())]
    });
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    (cluster, backends)
}

/// Whole lines of a file, each a request; none if there is no such file.
fn requests(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let ended = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    for line in ended.lines() {
        let line: Value = serde_json::from_str(line).expect("a whole line of its own");
        assert_eq!(line["status"], 200);
    }
    ended.lines().count() as u64
}

#[test]
fn a_log_that_is_renamed_under_load_is_opened_anew_on_either_signal_without_a_line_lost() {
    let (cluster, _backends) = logging_to(|data| data.join("access.log"));
    let file = |name: &str| cluster.data.path().join(name);
    let load = Load::start(
        cluster.runtime(),
        &[cluster.nodes[0].traffic],
        3,
        OnLoss::Fail,
    );
    for (signal, renamed) in [
        (Signal::USR1, "access.log.2"),
        (Signal::HUP, "access.log.1"),
    ] {
        load.pass(100);
        std::fs::rename(file("access.log"), file(renamed)).unwrap();
        load.pass(100);
        cluster.signal(0, signal);
        wait_until("lines in the new file", DEADLINE, || {
            (requests(&file("access.log")) > 0).then_some(())
        });
    }
    let done = load.stop_without_failure(cluster.runtime());
    wait_until("a line a request", DEADLINE, || {
        let files = ["access.log", "access.log.1", "access.log.2"];
        let lines: u64 = files.iter().map(|name| requests(&file(name))).sum();
        assert!(lines <= done, "{lines} lines of {done} requests");
        (lines == done).then_some(())
    });
}

#[test]
fn lines_that_a_full_disk_does_not_take_are_counted() {
    let (cluster, _backends) = logging_to(|_| "/dev/full".into());
    let load = Load::start(
        cluster.runtime(),
        &[cluster.nodes[0].traffic],
        3,
        OnLoss::Fail,
    );
    load.pass(100);
    let done = load.stop_without_failure(cluster.runtime());
    wait_until("the lines to be counted", DEADLINE, || {
        let lost = cluster.metric(0, "synod_access_log_lines_dropped_total");
        (lost as u64 == done).then_some(())
    });
}
