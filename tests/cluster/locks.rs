//! `synod lock`: one holder at a time, whoever is killed or stands still.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Cluster, DEADLINE, synod, wait_until};

/// `synod lock` with all nodes to ask, and what else is said.
fn lock(cluster: &Cluster, args: &[&str], script: &str) -> Command {
    let admins: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("http://{}", node.admin))
        .collect();
    let mut command = synod();
    command
        .env("SYNOD_ADMIN", admins.join(","))
        .args(["lock", "deploy", "--lease=2s", "--lock-delay=0s"])
        .args(args)
        .args(["--", "bash", "-c", script]);
    command
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A counter that refuses tokens older than the newest it was shown: `GET TOKEN`, `PUT TOKEN VALUE`.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Counter>>);

#[derive(Default)]
struct Counter {
    value: u64,
    newest: u64,
    /// Writes that were taken.
    taken: u64,
    refused: u64,
}

impl Store {
    fn start() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let store = Self::default();
        let serving = store.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let store = serving.clone();
                std::thread::spawn(move || store.serve(stream));
            }
        });
        (store, port)
    }

    fn serve(&self, mut stream: TcpStream) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let numbers = line.split(' ').skip(1).map(|word| word.parse().unwrap());
            let answer = match numbers.collect::<Vec<u64>>()[..] {
                [token] => self.take(token, None),
                [token, value] => self.take(token, Some(value)),
                _ => panic!("{line}"),
            };
            if writeln!(stream, "{answer}").is_err() {
                return;
            }
        }
    }

    fn take(&self, token: u64, value: Option<u64>) -> String {
        let mut counter = self.0.lock().unwrap();
        if token < counter.newest {
            counter.refused += 1;
            return "old".to_owned();
        }
        counter.newest = token;
        if let Some(value) = value {
            (counter.value, counter.taken) = (value, counter.taken + 1);
        }
        counter.value.to_string()
    }

    fn taken(&self) -> u64 {
        self.0.lock().unwrap().taken
    }
}

/// Reads the counter, takes its time, and writes one more.
fn increment(port: u16, pause: &str) -> String {
    format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; t=$SYNOD_LOCK_TOKEN
         echo \"GET $t\" >&3; read v <&3; {pause}
         echo \"PUT $t $((v + 1))\" >&3; read v <&3; [ \"$v\" != old ]"
    )
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
fn a_holder_that_stood_still_is_ended_and_its_late_write_is_refused() {
    let cluster = Cluster::start(3);
    let (store, port) = Store::start();
    // It says its own number, so that it can be stopped, and waits to be told to write.
    let script = increment(port, "echo $$; read go");
    let mut late = lock(&cluster, &["--grace=0s"], &script)
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
    let next = lock(&cluster, &[], &increment(port, "true"))
        .status()
        .unwrap();
    assert!(next.success(), "the lock is free once the lease is over");
    assert_eq!(store.taken(), 1);
    // The command first: nobody is there to end it before it writes.
    late.stdin.take().unwrap().write_all(b"go\n").unwrap();
    kill_process(command, Signal::CONT).unwrap();
    wait_until("the late write", DEADLINE, || {
        (store.0.lock().unwrap().refused == 1).then_some(())
    });
    signal(&late, Signal::CONT);
    assert_ne!(late.wait().unwrap().code(), Some(0));
    assert_eq!((store.taken(), store.0.lock().unwrap().value), (1, 1));
}

#[test]
fn no_increment_is_lost_while_holders_and_the_leader_are_killed() {
    let mut cluster = Cluster::start(3);
    let (store, port) = Store::start();
    let script = increment(port, "sleep 0.02");
    let spawn = |cluster: &Cluster| lock(cluster, &["--grace=0s"], &script).spawn().unwrap();
    let mut workers: Vec<Child> = (0..4).map(|_| spawn(&cluster)).collect();
    let (mut kills, mut killed) = (0, false);
    let deadline = Instant::now() + 4 * DEADLINE;
    while store.taken() < 24 {
        assert!(Instant::now() < deadline, "{} were taken", store.taken());
        for worker in &mut workers {
            if worker.try_wait().unwrap().is_some() {
                *worker = spawn(&cluster);
            }
        }
        // Whoever it is: it may hold the lock, wait for it, or be about to end. One that is killed while it waits is
        // still granted the lock until its lease is over, so kills go by what was achieved, not by time.
        if store.taken() >= 3 * (kills + 1) {
            let victim = &mut workers[kills as usize % 4];
            kills += 1;
            victim.kill().unwrap();
            victim.wait().unwrap();
            *victim = spawn(&cluster);
        }
        if store.taken() >= 8 && !killed {
            let leader = cluster.wait_for_leader();
            cluster.kill(leader);
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    for worker in &mut workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let counter = store.0.lock().unwrap();
    assert_eq!(counter.value, counter.taken, "an increment was lost");
}
