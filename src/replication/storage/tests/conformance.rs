//! What every disk must do for the log.

use super::*;

/// Disks on which a process can die and start again.
trait Machine {
    type Disk: Disk;
    fn start(&self) -> Result<Self::Disk, Error>;
    /// The process has died: its values are dropped already.
    fn died(&self) {}
}

struct Real(tempfile::TempDir);

impl Machine for Real {
    type Disk = OsDisk;
    fn start(&self) -> Result<OsDisk, Error> {
        OsDisk::open(&self.0.path().join("data/node"))
    }
}

impl Machine for Memory {
    type Disk = MemoryDisk;
    fn start(&self) -> Result<MemoryDisk, Error> {
        self.boot()
    }
    fn died(&self) {
        self.crash();
    }
}

fn open<M: Machine>(machine: &M, create: bool) -> (Wal<M::Disk>, Recovered) {
    machine.died();
    let disk = machine.start().expect("nobody holds it");
    super::open(disk, create).expect("it opens")
}

/// Runs `test` on each disk; it is given what starts the process, which must be dropped before it starts again.
fn on_every_disk(test: impl Fn(&mut dyn FnMut() -> (Box<dyn Storage>, Recovered))) {
    fn starts<M: Machine>(machine: M) -> impl FnMut() -> (Box<dyn Storage>, Recovered) {
        let mut create = true;
        move || {
            let (wal, recovered) = open(&machine, std::mem::take(&mut create));
            (Box::new(wal), recovered)
        }
    }
    test(&mut starts(Real(
        tempfile::tempdir().expect("a temporary directory"),
    )));
    test(&mut starts(Memory::new(1)));
}

#[test]
fn a_log_is_cut_behind_checkpoints_and_begun_anew_behind_a_peers() {
    fn run<M: Machine>(machine: M)
    where
        M::Disk: Sync,
    {
        let start = |create| {
            machine.died();
            let disk = machine.start().expect("nobody holds it");
            let opened = Wal::open(disk.clone(), options(create), Ok).expect("it opens");
            (disk, opened)
        };
        let (disk, (mut wal, ..)) = start(true);
        led(&mut wal);
        let first = ballot(1, 1);
        for slot in 3..=60 {
            wal.write(&[append(slot, &[entry(1, &"w".repeat(900))])])
                .expect("a good disk");
            if slot % 20 == 0 {
                let content = slot.to_string().into_bytes();
                let meta = checkpoint::write(&disk, Slot(slot), first, None, &content);
                wal.keep(&meta.expect("a good disk")).expect("a good disk");
            }
        }
        assert!(wal.removed() > 0);
        drop((wal, disk));
        let (disk, (mut wal, recovered, state)) = start(false);
        let ends = |recovered: &Recovered| {
            (
                recovered.applied.0,
                recovered.start.0,
                recovered.entries.len(),
            )
        };
        assert_eq!((ends(&recovered), recovered.base), ((60, 41, 20), first));
        assert_eq!(state, Some(Bytes::from_static(b"60")));

        let body = b"of a peer";
        let meta = checkpoint::Meta {
            slot: Slot(99),
            ballot: first,
            size: body.len() as u64,
            sum: crc32c::crc32c(body),
            head: 0,
        };
        disk.receive(&meta, 0, body).expect("a good disk");
        disk.received(&meta).expect("it is whole");
        let log = LogChange::Adopt {
            base: Some(meta.base()),
            first: Slot(100),
            entries: vec![entry(2, "next")],
            synced: ballot(2, 2),
        };
        let batch = Batch {
            log: Some(log),
            ..promise(ballot(2, 2))
        };
        wal.write(&[batch]).expect("a good disk");
        drop((wal, disk));
        let (disk, (_, recovered, state)) = start(false);
        assert_eq!((ends(&recovered), recovered.base), ((99, 100, 1), first));
        assert_eq!(state, Some(Bytes::from_static(body)));
        assert_eq!(checkpoint::list(&disk).expect("a good disk"), [Slot(99)]);
        let shelved = disk.newest().expect("a good disk").expect("there is one");
        let bytes = shelved.body.read(3, 6).expect("a good disk");
        assert_eq!((shelved.meta, &bytes[..]), (meta, &b"a peer"[..]));
    }
    run(Real(tempfile::tempdir().expect("a temporary directory")));
    run(Memory::new(1));
}

#[test]
fn a_new_voter_has_promised_and_holds_nothing() {
    on_every_disk(|start| {
        assert_eq!(start().1, Recovered::empty(initial()));
        assert_eq!(start().1, Recovered::empty(initial()));
    });
}

#[test]
fn what_was_written_is_recovered() {
    on_every_disk(|start| {
        let (mut wal, _) = start();
        led(&mut *wal);
        let decided = Batch {
            decided: Some(Slot(2)),
            ..append(3, &[entry(1, "two"), entry(1, "three")])
        };
        wal.write(&[decided]).expect("a good disk");
        wal.write(&[promise(ballot(4, 2))]).expect("a good disk");
        drop(wal);
        let (_, recovered) = start();
        assert_eq!(
            (recovered.promised, recovered.synced),
            (ballot(4, 2), Some(ballot(1, 1)))
        );
        assert_eq!((recovered.decided, recovered.start), (Slot(2), Slot(1)));
        assert_eq!(texts(&recovered), ["-", "one", "two", "three"]);
    });
}

#[test]
fn adopting_cuts_what_differs_and_keeps_what_does_not() {
    on_every_disk(|start| {
        let (mut wal, _) = start();
        led(&mut *wal);
        wal.write(&[append(3, &[entry(1, "lost"), entry(1, "lost")])])
            .expect("a good disk");
        let batch = Batch {
            promised: Some(ballot(2, 2)),
            ..adopt(3, &[entry(2, "kept")], ballot(2, 2))
        };
        wal.write(&[batch]).expect("a good disk");
        wal.write(&[append(4, &[entry(2, "next")])])
            .expect("a good disk");
        drop(wal);
        let (_, recovered) = start();
        assert_eq!(recovered.synced, Some(ballot(2, 2)));
        assert_eq!(texts(&recovered), ["-", "one", "kept", "next"]);
    });
}

#[test]
fn a_log_runs_through_many_segments_and_restarts() {
    on_every_disk(|start| {
        led(&mut *start().0);
        for restart in 0..5 {
            let (mut wal, recovered) = start();
            let first = recovered.entries.len() as u64 + 1;
            assert_eq!(first, 3 + 30 * restart);
            for slot in first..first + 30 {
                wal.write(&[append(slot, &[entry(1, &"x".repeat(37 * slot as usize))])])
                    .expect("a good disk");
            }
        }
        assert_eq!(texts(&start().1)[151].len(), 37 * 152);
    });
}

#[test]
fn a_write_larger_than_a_segment_gets_one_of_its_own() {
    on_every_disk(|start| {
        let large = "y".repeat(5 * SEGMENT as usize);
        let (mut wal, _) = start();
        led(&mut *wal);
        wal.write(&[
            append(3, &[entry(1, &large)]),
            append(4, &[entry(1, "after")]),
        ])
        .expect("a good disk");
        wal.write(&[append(5, &[entry(1, "last")])])
            .expect("a good disk");
        drop(wal);
        assert_eq!(texts(&start().1)[2..], [&large, "after", "last"]);
    });
}

#[test]
fn many_batches_cost_one_sync() {
    let memory = Memory::new(2);
    let (mut wal, _) = open(&memory, true);
    led(&mut wal);
    let before = (wal.syncs(), memory.syncs());
    let batches: Vec<Batch> = (3..40).map(|slot| append(slot, &[entry(1, "x")])).collect();
    wal.write(&batches).expect("a good disk");
    assert_eq!((wal.syncs(), memory.syncs()), (before.0 + 1, before.1 + 1));
    wal.write(&[Batch::default()]).expect("nothing to do");
    assert_eq!(memory.syncs(), before.1 + 1);
}

#[test]
fn one_process_holds_a_directory() {
    let real = Real(tempfile::tempdir().expect("a temporary directory"));
    let held = real.start().expect("nobody holds it");
    let refused = real.start().expect_err("it is held");
    assert!(
        refused
            .to_string()
            .contains(&format!("pid {}", std::process::id())),
        "{refused}"
    );
    drop(held);
    real.start().expect("nobody holds it any more");

    let memory = Memory::new(3);
    let _held = memory.boot().expect("nobody holds it");
    assert!(matches!(memory.boot(), Err(Error::Locked { .. })));
}

#[test]
fn a_document_is_the_old_or_the_new_one() {
    fn check<M: Machine>(machine: &M) {
        let disk = machine.start().expect("nobody holds it");
        assert!(
            document::load(&disk, "who", 1)
                .expect("no file is no error")
                .is_none()
        );
        document::store(&disk, "who", 1, b"first").expect("a good disk");
        document::store(&disk, "who", 1, b"second").expect("a good disk");
        drop(disk);
        machine.died();
        let disk = machine.start().expect("nobody holds it");
        assert_eq!(
            document::load(&disk, "who", 1)
                .expect("it verifies")
                .as_deref(),
            Some(&b"second"[..])
        );
        document::store(&disk, "who", 2, b"third").expect("a good disk");
        assert!(matches!(
            document::load(&disk, "who", 1),
            Err(Error::Version {
                found: 2,
                known: 1,
                ..
            })
        ));
    }
    check(&Real(tempfile::tempdir().expect("a temporary directory")));
    check(&Memory::new(4));
}
