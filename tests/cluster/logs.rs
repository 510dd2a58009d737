//! The access log of a process.

use std::path::{Path, PathBuf};

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
