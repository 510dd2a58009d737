//! `synod lock`: one holder at a time, whoever is killed or stands still.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use synod::client::Call;

use crate::counter::{Counter, at_store};
use crate::harness::{Cluster, DEADLINE, synod, wait_until};

/// `synod lock` with all nodes to ask, and what else is said; the shortest lease unless that is said.
pub(crate) fn lock(cluster: &Cluster, args: &[&str], script: &str) -> Command {
    let admins: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("http://{}", node.admin))
        .collect();
    let mut command = synod();
    command
        .env("SYNOD_ADMIN", admins.join(","))
        .args(["lock", "deploy", "--lock-delay=0s"])
        .args(args);
    if !args.iter().any(|given| given.starts_with("--lease")) {
        command.arg("--lease=2s");
    }
    command.args(["--", "bash", "-c", script]);
    command
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Whether whoever started these tests had `signal` ignored, as a shell without job control does for what runs in its
/// background. Every process of ours inherits that, and `synod lock` leaves it so, as nohup wants it.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    ignored >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
fn a_command_gets_a_token_and_its_exit_code_is_passed_on() {
    let cluster = Cluster::start(1);
    let run =
        |args: &[&str], script: &str| -> Output { lock(&cluster, args, script).output().unwrap() };
    let tokens: Vec<u64> = (0..2)
        .map(|_| {
            let ended = run(&[], "echo $SYNOD_LOCK_TOKEN; exit 7");
            assert_eq!(ended.status.code(), Some(7), "{ended:?}");
            let text = String::from_utf8(ended.stdout).unwrap();
            text.trim().parse().unwrap()
        })
        .collect();
    assert!(tokens[0] < tokens[1], "{tokens:?}");
    assert_eq!(run(&[], "kill -TERM $$").status.code(), Some(143));

    let mut holder = lock(&cluster, &[], "echo held; sleep 60")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap())
        .read_line(&mut held)
        .unwrap();
    assert_eq!(run(&["--wait=0s"], "true").status.code(), Some(1));
    assert_eq!(run(&["--wait=200ms"], "true").status.code(), Some(4));
    signal(&holder, Signal::TERM);
    assert_eq!(holder.wait().unwrap().code(), Some(143), "it went on");
    assert_eq!(run(&[], "true").status.code(), Some(0));
}

#[test]
fn a_signal_that_asks_for_the_end_ends_the_command_and_frees_the_lock() {
    let cluster = Cluster::start(1);
    let holder = |script: &str| -> Child {
        let mut holder = lock(&cluster, &["--lease=1h"], script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut held = String::new();
        let mut out = BufReader::new(holder.stdout.as_mut().unwrap());
        out.read_line(&mut held).unwrap();
        assert_eq!(held, "held\n");
        holder
    };
    for (sent, code) in [
        (Signal::HUP, 129),
        (Signal::INT, 130),
        (Signal::QUIT, 131),
        (Signal::TERM, 143),
    ] {
        if is_ignored(sent) {
            eprintln!("signal {} is ignored here, and not sent", sent.as_raw());
            continue;
        }
        let holder = holder("echo held; exec cat");
        // One that waits lets go of its place too.
        let waiting = lock(&cluster, &["--lease=1h"], "true").spawn().unwrap();
        wait_until("the waiter", DEADLINE, || {
            let got = cluster.call(0, Call::get("/v1/locks/deploy"));
            (got.body["queue"].as_array()?.len() == 1).then_some(())
        });
        for mut child in [waiting, holder] {
            signal(&child, sent);
            // Waiting for it would close it, and its command end by that.
            let open = child.stdin.take();
            assert_eq!(child.wait().unwrap().code(), Some(code));
            drop(open);
        }
        let free = lock(&cluster, &["--wait=0s"], "true").status().unwrap();
        assert_eq!(free.code(), Some(0), "nobody holds it any more");
    }
    // The command may go on: it is not left alone.
    let mut holder =
        holder("trap 'echo asked' TERM; echo held; while read -t 9 || [ $? -gt 128 ]; do :; done");
    signal(&holder, Signal::TERM);
    let mut asked = String::new();
    let mut out = BufReader::new(holder.stdout.as_mut().unwrap());
    out.read_line(&mut asked).unwrap();
    assert_eq!(asked, "asked\n");
    let busy = lock(&cluster, &["--wait=0s"], "true").status().unwrap();
    assert_eq!(busy.code(), Some(1), "it is held");
    holder.stdin.take();
    assert!(holder.wait().unwrap().code().is_some());
}

#[test]
fn a_holder_that_stood_still_is_ended_and_its_late_write_is_refused() {
    let cluster = Cluster::start(3);
    let counter = Counter::default();
    let port = counter.store();
    // It says its own number, so that it can be stopped, and waits to be told to write.
    let script = at_store(port, "echo $$; read go");
    let mut late = lock(&cluster, &["--grace=0s"], &script)
        .env("ID", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut number = String::new();
    BufReader::new(late.stdout.as_mut().unwrap())
        .read_line(&mut number)
        .unwrap();
    let command = Pid::from_raw(number.trim().parse().unwrap()).unwrap();
    signal(&late, Signal::STOP);
    kill_process(command, Signal::STOP).unwrap();
    let next = lock(&cluster, &[], &at_store(port, "true"))
        .env("ID", "2")
        .status()
        .unwrap();
    assert!(next.success(), "the lock is free once the lease is over");
    assert_eq!(counter.taken(), 1);
    // The command first: nobody is there to end it before it writes.
    late.stdin.take().unwrap().write_all(b"go\n").unwrap();
    kill_process(command, Signal::CONT).unwrap();
    wait_until("the late write", DEADLINE, || {
        (counter.state().refused == 1).then_some(())
    });
    signal(&late, Signal::CONT);
    assert_ne!(late.wait().unwrap().code(), Some(0));
    assert_eq!((counter.taken(), counter.state().value), (1, 1));
}
