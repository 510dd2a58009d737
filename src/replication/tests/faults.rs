//! A disk that fails or is full, and a replica that breaks: the replica ends, the process does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::harness::{LONG, Nodes, failure, not_proposed, pools, put, put_pool, until};
use crate::config::Revision;
use crate::paxos::{Ballot, Batch, Epoch, Membership, NodeId, Recovered, Slot};
use crate::replication::calls::Attempt;
use crate::replication::checkpoints::{Checkpoints, Pace};
use crate::replication::follower;
use crate::replication::founding::Founding;
use crate::replication::group::Group;
use crate::replication::lifecycle::{self, Changes, Hindrance, Part, Start};
use crate::replication::log::Log;
use crate::replication::reports::{NodeReport, Reports};
use crate::replication::running::{standing, start_on};
use crate::replication::shared::Shared;
use crate::replication::storage::{Error, Memory, Storage, checkpoint};
use crate::replication::{Handle, Options, Running, State};
use crate::state::Command;

async fn lone(memory: &Memory) -> (Handle, Running) {
    let options = Options {
        data: "in-memory".into(),
        name: "a".to_owned(),
        voters: Default::default(),
        join: Vec::new(),
        advertise: None,
        listener: None,
        admin: None,
        tls: None,
        heartbeat: Duration::from_millis(20),
        election_timeout: Duration::from_millis(200),
        checkpoint: Pace {
            entries: 1000,
            bytes: 1 << 20,
        },
        level: crate::state::LEVEL,
    };
    let medium = memory.clone();
    start_on(move |_| medium.boot(), options)
        .await
        .expect("a lone node starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_replica_but_not_what_is_served() {
    let memory = Memory::new(1);
    let (a, running) = lone(&memory).await;
    let revision = put(&a, "web").await;
    memory.fail_sync_after(0);
    let lost = a.propose(put_pool("lost"), LONG).await;
    assert!(lost.is_err(), "{lost:?}");
    until("the replica's end", || {
        failure(&a).contains("the log failed")
    })
    .await;
    let after = a.propose(put_pool("after"), LONG).await;
    assert!(not_proposed(&after), "{after:?}");
    assert!(a.read_barrier(LONG).await.is_err());
    assert_eq!(a.watch().borrow().revision, revision);
    assert_eq!(pools(&a), ["web"]);
    assert!(
        a.nodes()[0]
            .failed
            .as_ref()
            .is_some_and(|why| why.contains("log"))
    );

    running.stop().await;
    memory.kill();
    let (a, _running) = lone(&memory).await;
    a.read_barrier(LONG).await.expect("it leads again");
    assert!(pools(&a).contains(&"web".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_proposals_until_there_is_space() {
    let memory = Memory::new(2);
    let (a, _running) = lone(&memory).await;
    put(&a, "web").await;
    fill(&memory);
    // The segment in use is preallocated: fill it.
    let mut filler = put_pool("filler");
    filler.comment = "x".repeat(1 << 20);
    let mut filled = 0;
    while a.status().state != State::Full {
        filler.key = crate::state::Key::new(&format!("fill-{filled}")).expect("printable");
        let _ = a.propose(filler.clone(), Duration::from_millis(300)).await;
        filled += 1;
        assert!(filled < 100, "the segment never ended");
    }
    let refused = a.propose(put_pool("refused"), LONG).await;
    assert!(not_proposed(&refused), "{refused:?}");
    assert!(a.watch().borrow().revision > Revision(0));

    memory.limit(None);
    until("the disk's recovery", || a.status().state == State::Running).await;
    put(&a, "after").await;
}

/// No byte more than there is fits onto it.
fn fill(memory: &Memory) {
    let files = memory.names().into_iter();
    let used = files.filter_map(|name| memory.content(&name));
    memory.limit(Some(used.map(|content| content.len() as u64).sum()));
}

/// Three voters, their disks, who leads and who does not.
async fn three() -> (
    Nodes,
    BTreeMap<&'static str, Memory>,
    Handle,
    Vec<&'static str>,
) {
    let names = ["a", "b", "c"];
    let mut nodes = Nodes::new(&names);
    // No checkpoint makes room again.
    nodes.pace.bytes = 1 << 30;
    let disks = (1..).zip(names);
    let disks: BTreeMap<&str, Memory> = disks
        .map(|(seed, name)| (name, Memory::new(seed)))
        .collect();
    for name in names {
        let started = nodes.start_on(&disks[name], name).await;
        started.expect("a new node starts");
    }
    let leading = nodes.leader().await;
    let leader = nodes.handle(&leading);
    put(&leader, "web").await;
    let others = names.into_iter().filter(|name| *name != leading).collect();
    (nodes, disks, leader, others)
}

/// Writes until the segments of these have no room, nor their disks; the leader has been told.
async fn run_full(nodes: &Nodes, disks: &BTreeMap<&str, Memory>, leader: &Handle, of: &[&str]) {
    of.iter().for_each(|name| fill(&disks[name]));
    let full = |name: &str| nodes.handle(name).status().state == State::Full;
    let mut filled = 0;
    while !of.iter().all(|name| full(name)) {
        let filler = filler(filled);
        let _ = leader.propose(filler, Duration::from_millis(300)).await;
        filled += 1;
        assert!(filled < 100, "the segments never ended");
    }
    let told = || {
        let nodes = leader.nodes();
        let unable = nodes.iter().filter(|node| !node.stores);
        let why = unable.map(|node| node.trouble.as_deref().unwrap_or_default());
        why.filter(|why| why.starts_with("disk full")).count() == of.len()
    };
    until("what they say", told).await;
}

/// A command of 1 MiB.
fn filler(number: usize) -> Command {
    let mut filler = put_pool("filler");
    filler.comment = "x".repeat(1 << 20);
    filler.key = crate::state::Key::new(&format!("fill-{number}")).expect("printable");
    filler
}

async fn is_refused(leader: &Handle) {
    let second = Duration::from_secs(1);
    let refused = leader.propose(put_pool("refused"), second).await;
    assert!(not_proposed(&refused), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_most_disks_have_no_room_for_is_not_proposed() {
    let (nodes, disks, leader, others) = three().await;
    run_full(&nodes, &disks, &leader, &others).await;
    is_refused(&leader).await;
    let leading = nodes.leader().await;
    assert!(!others.contains(&&*leading), "no other could do better");

    others.iter().for_each(|name| disks[name].limit(None));
    put(&leader, "after").await;
    assert!(!pools(&leader).contains(&"refused".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_what_one_has_no_room_for_and_another_is_not_there_for() {
    let (mut nodes, disks, leader, others) = three().await;
    run_full(&nodes, &disks, &leader, &others[..1]).await;
    put(&leader, "stored-by-two").await;
    nodes.stop(others[1]).await;
    let silent = |node: &NodeReport| !node.is_reachable();
    until("the other to be missed", || {
        leader.nodes().iter().any(silent)
    })
    .await;
    is_refused(&leader).await;

    disks[others[0]].limit(None);
    put(&leader, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_no_room_knows_that_writes_work_and_that_it_is_behind() {
    let (nodes, disks, leader, others) = three().await;
    run_full(&nodes, &disks, &leader, &others[..1]).await;
    let full = nodes.handle(others[0]);
    // More than the leader has on the way to one that stores none of it.
    let second = Duration::from_secs(1);
    let mut filled = 100;
    let behind = loop {
        let stored = full.propose(filler(filled), LONG).await;
        stored.expect("two store it, by way of the leader");
        let led = full.confirm(LONG, second).await;
        if let Err(behind) = led.expect("the leader leads") {
            break behind;
        }
        filled += 1;
        assert!(filled < 200, "it stores what it has no room for");
    };
    assert!(
        behind.to_string().contains("behind the leader: disk full"),
        "{behind}"
    );
    assert_eq!(full.read_barrier(second).await, Err(behind));

    disks[others[0]].limit(None);
    assert_eq!(full.confirm(LONG, LONG).await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_disk_serves_and_takes_no_part() {
    let memory = Memory::new(3);
    let (a, running) = lone(&memory).await;
    put(&a, "web").await;
    running.stop().await;
    memory.kill();

    fill(&memory);
    let (a, running) = lone(&memory).await;
    until("the replica's end", || failure(&a).contains("full")).await;
    assert_eq!(pools(&a), ["web"]);
    let refused = a.propose(put_pool("refused"), LONG).await;
    assert!(not_proposed(&refused), "{refused:?}");
    running.stop().await;
    memory.kill();

    memory.limit(None);
    let (a, _running) = lone(&memory).await;
    put(&a, "after").await;
}

struct NoDisk;

impl Storage for NoDisk {
    fn write(&mut self, _: &[Batch]) -> Result<(), Error> {
        Ok(())
    }

    fn keep(&mut self, _: &checkpoint::Meta) -> Result<Slot, Error> {
        Ok(Slot::ZERO)
    }
}

/// A part that does not change.
struct Never;

impl Changes for Never {
    fn promote(&self) -> Result<Start, Hindrance> {
        unreachable!("it is a voter")
    }

    fn demote(&self) -> Result<follower::Start, Hindrance> {
        unreachable!("it is not removed")
    }
}

#[test]
fn a_panic_ends_the_replica_and_whoever_waits_is_told() {
    let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
    let group = Group::alone("a", [1; 16], [2; 16]);
    let shared = Shared::new(group, standing(&recovered), Reports::new(None));
    let shared = Arc::new(shared);
    let mut waits = shared.propose(&put_pool("web").into());
    let stranger = crate::paxos::Options {
        id: NodeId(9),
        membership: Membership {
            epoch: Epoch(2),
            voters: [NodeId(1)].into(),
        },
        heartbeat: Duration::from_millis(20),
        election_timeout: Duration::from_millis(200),
        window_entries: 1,
        window_bytes: 1,
        seed: 1,
    };
    let disk = Memory::new(4).boot().expect("a disk");
    let start = Start {
        founding: Arc::new(Founding::new(disk, shared.clone())),
        log: Log::start(Box::new(NoDisk), shared.clone()).expect("a thread"),
        shared: shared.clone(),
        options: stranger,
        recovered,
        founded: true,
        ready: None,
        checkpoints: Checkpoints::never(),
    };
    lifecycle::run(&shared, Part::Voter(start), &Never);
    let handle = Handle(shared);
    assert!(failure(&handle).contains("the membership is of epoch 2, the promise 1.0.-"));
    assert!(matches!(waits.try_recv(), Ok(Attempt::NotProposed(_))));
}
