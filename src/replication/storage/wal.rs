//! The log that is written ahead: group commit, segments, and what a start finds.
//!
//! A write of many batches is one record and one sync. The promise is raised first, in its own places: alone it is
//! always safe, a log above it never is. After a failed write or sync nothing is tried again: the kernel may have
//! dropped the dirty pages, so that a second sync would say yes to bytes that are gone.

use super::batch::{self, follow};
use super::damage::Damage;
use super::opening::{self, Opened};
use super::promise::{Places, Promise};
use super::record::{self, Position};
use super::recovery::Found;
use super::segment::{self, Header};
use super::{Disk, Error, File, Storage};
use crate::paxos::{Ballot, Batch, LogChange, Recovered, Slot};

/// How a log is opened.
#[derive(Debug, Clone, Copy)]
pub struct WalOptions {
    /// The ballot that a voter has promised before all others.
    pub initial: Ballot,
    /// Whether a log may be made where there is none: true only in a directory that holds no identity yet. A voter that
    /// lost its log and promise must not begin anew under its old name.
    pub create: bool,
    /// Bytes of a segment; one is larger only where a single write is.
    pub segment_bytes: u64,
}

impl WalOptions {
    /// The usual sizes.
    pub fn new(initial: Ballot, create: bool) -> Self {
        WalOptions {
            initial,
            create,
            segment_bytes: 8 << 20,
        }
    }
}

/// The promise and the log in one directory.
pub struct Wal<D: Disk> {
    disk: D,
    segment_bytes: u64,
    file: D::File,
    size: u64,
    end: Position,
    chain: u32,
    start: Slot,
    last: Slot,
    decided: Slot,
    synced: Option<Ballot>,
    promised: Ballot,
    places: Places<D::File>,
    damage: Option<Damage>,
    failed: bool,
    syncs: u64,
}

impl<D: Disk> Wal<D> {
    /// Finds what is durable, makes sure that it is, and tells it.
    pub fn open(disk: D, options: WalOptions) -> Result<(Self, Recovered), Error> {
        let Opened {
            file,
            size,
            found,
            promised,
            places,
            syncs,
        } = opening::open(&disk, options)?;
        let Found {
            replay,
            end,
            chain,
            damage,
            ..
        } = found;
        let wal = Wal {
            disk,
            segment_bytes: options.segment_bytes,
            file,
            size,
            end,
            chain,
            start: replay.start,
            last: replay.last(),
            decided: replay.decided,
            synced: replay.synced,
            promised,
            places,
            damage: damage.filter(|_| replay.synced.is_none()),
            failed: false,
            syncs,
        };
        let recovered = Recovered {
            promised,
            synced: replay.synced,
            decided: replay.decided.min(replay.last()),
            start: replay.start,
            entries: replay.entries,
        };
        Ok((wal, recovered))
    }

    /// What is wrong with the log, until a leader has brought it up to date.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Syncs since it was opened, of files and of the directory.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    fn try_write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        let last = match follow(self.start, self.last, batches) {
            Ok(last) => last,
            Err(reason) => panic!("broken invariant of the core: {reason}"),
        };
        let payload = batch::encode(batches);
        assert!(
            payload.len() <= record::MAX_PAYLOAD,
            "a write is bounded by the window, an adopted log by the log"
        );
        if !payload.is_empty() {
            self.make_room(record::size(payload.len()))?;
        }
        if let Some(promised) = batches.iter().filter_map(|batch| batch.promised).max() {
            self.promise(promised)?;
        }
        if payload.is_empty() {
            return Ok(());
        }
        self.append(&payload)?;
        self.last = last;
        for batch in batches {
            if let Some(LogChange::Adopt { synced, .. }) = &batch.log {
                self.synced = Some(*synced);
                self.damage = None;
            }
            self.decided = self.decided.max(batch.decided.unwrap_or_default());
        }
        assert!(
            self.synced.is_none_or(|synced| synced <= self.promised),
            "a log above the promise"
        );
        Ok(())
    }

    fn promise(&mut self, promised: Ballot) -> Result<(), Error> {
        assert!(promised >= self.promised, "a promise never falls");
        if promised > self.promised {
            self.places.store(
                Promise {
                    ballot: promised,
                    log: self.end,
                },
                &mut self.syncs,
            )?;
            self.promised = promised;
        }
        Ok(())
    }

    /// Begins a segment where the active one has no room. Where the disk has none either, nothing has changed.
    fn make_room(&mut self, wanted: u64) -> Result<(), Error> {
        if self.end.offset + wanted <= self.size {
            return Ok(());
        }
        let size = segment::sized(self.segment_bytes, wanted);
        let header = Header {
            index: self.end.segment + 1,
            previous: self.end,
            chain: self.chain,
            last: self.last,
            decided: self.decided,
            synced: self.synced,
        };
        self.file = segment::create(&self.disk, header, size, &mut self.syncs)?;
        self.size = size;
        self.end = Position {
            segment: header.index,
            offset: segment::HEADER,
        };
        // So that a segment that goes missing is missed.
        self.places.store(
            Promise {
                ballot: self.promised,
                log: self.end,
            },
            &mut self.syncs,
        )
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        let name = segment::name(self.end.segment);
        let (sectors, chain) = record::encode(self.end, self.chain, payload);
        self.file
            .write_at(self.end.offset, &sectors)
            .map_err(Error::io("write", &name))?;
        self.file.sync().map_err(Error::io("sync", &name))?;
        self.syncs += 1;
        self.chain = chain;
        self.end.offset += sectors.len() as u64;
        Ok(())
    }
}

impl<D: Disk> Storage for Wal<D> {
    fn write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        let written = self.try_write(batches);
        self.failed = written.as_ref().is_err_and(|error| !error.is_full());
        written
    }
}
