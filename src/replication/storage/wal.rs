//! The log that is written ahead: group commit, segments, and what a start finds.
//!
//! A write of many batches is one record and one sync. The promise is raised first, in its own places: alone it is
//! always safe, a log above it never is. After a failed write or sync nothing is tried again: the kernel may have
//! dropped the dirty pages, so that a second sync would say yes to bytes that are gone.

use bytes::Bytes;

use super::batch::{self, follow};
use super::checkpoint::{self, Meta};
use super::damage::Damage;
use super::opening::{self, Opened};
use super::promise::{Places, Promise};
use super::record::{self, Position};
use super::recovery::Found;
use super::segment::{self, Header};
use super::{Disk, Error, File, Storage};
use crate::bugs::{Bug, broken};
use crate::paxos::{Ballot, Base, Batch, Entry, LogChange, Recovered, Slot};

/// Checkpoints kept: one may rot, then the log still goes on from the other.
const KEPT: usize = 2;

/// How a log is opened.
#[derive(Debug, Clone, Copy)]
pub struct WalOptions {
    /// The ballot that a voter has promised before all others.
    pub initial: Ballot,
    /// Whether a log may be made where there is none: true only in a directory that holds no identity yet. A voter that
    /// lost its log and promise must not begin anew under its old name.
    pub create: bool,
    /// Whether this process has had it open before: then a peer's checkpoint that is half here is on its way, and
    /// stays.
    pub again: bool,
    /// Bytes of a segment; one is larger only where a single write is.
    pub segment_bytes: u64,
}

impl WalOptions {
    /// The usual sizes.
    pub fn new(initial: Ballot, create: bool) -> Self {
        WalOptions {
            initial,
            create,
            again: false,
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
    /// The segments of this log, each with the last slot before it.
    segments: Vec<(u64, Slot)>,
    /// The first of them that is needed; 0: nothing was removed yet.
    base: u64,
    last: Slot,
    decided: Slot,
    synced: Option<Ballot>,
    promised: Ballot,
    places: Places<D::File>,
    /// The checkpoints that a start may go on from, the oldest first.
    kept: Vec<Meta>,
    /// The slot of the newest checkpoint that ever counted here.
    checkpoint: Slot,
    damage: Option<Damage>,
    failed: bool,
    syncs: u64,
    removed: u64,
}

impl<D: Disk> Wal<D> {
    /// Finds what is durable, makes sure that it is, and tells it. `restore` is given the content of checkpoints, the
    /// newest first, until it makes something of one.
    pub fn open<T>(
        disk: D,
        options: WalOptions,
        restore: impl FnMut(Bytes) -> Result<T, String>,
    ) -> Result<(Self, Recovered, Option<T>), Error> {
        let Opened {
            file,
            size,
            found,
            promise,
            places,
            checkpoints,
            start,
            syncs,
        } = opening::open(&disk, options, restore)?;
        for flaw in &checkpoints.flaws {
            tracing::error!("a checkpoint is of no use: {flaw}");
        }
        let applied = checkpoints.applied();
        let (succession, restored) = checkpoints
            .restored
            .map(|restored| (restored.succession, restored.state))
            .unzip();
        let Found {
            replay,
            end,
            chain,
            damage,
            path,
            ..
        } = found;
        let mut wal = Wal {
            disk,
            segment_bytes: options.segment_bytes,
            file,
            size,
            end,
            chain,
            segments: path,
            base: promise.base,
            last: replay.last(),
            decided: replay.decided,
            synced: replay.synced,
            promised: promise.ballot,
            places,
            checkpoint: promise.checkpoint,
            kept: checkpoints.whole,
            damage: damage.filter(|_| replay.synced.is_none()),
            failed: false,
            syncs,
            removed: 0,
        };
        wal.tidy()?;
        let last = replay.last();
        let (start, base) = match start {
            Some(base) => (base.slot.next(), base.ballot),
            None => (replay.start, options.initial),
        };
        let known = start.since(replay.start) as usize;
        let entries: Vec<Entry> = replay.entries.into_iter().skip(known).collect();
        let recovered = Recovered {
            promised: promise.ballot,
            synced: replay.synced,
            decided: replay.decided.min(last).max(applied),
            applied,
            succession: succession.flatten(),
            start,
            base,
            entries,
        };
        Ok((wal, recovered, restored))
    }

    /// What is wrong with the log, until a leader has brought it up to date.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Syncs since it was opened, of files and of the directory.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Segments removed since it was opened.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    fn try_write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        let last = match follow(self.last, batches) {
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
        let mut installed = None;
        if !broken(Bug::UnnamedCheckpoint) {
            installed = self.name_installed(batches)?;
        }
        if payload.is_empty() {
            return Ok(());
        }
        if broken(Bug::ZooKeeper4643) {
            self.append(&batch::encode(&stamps(batches)))?;
        }
        self.append(&payload)?;
        if broken(Bug::UnnamedCheckpoint) {
            installed = self.name_installed(batches)?;
        }
        if broken(Bug::OpenRaftIoOrder) {
            self.mark()?;
        }
        self.last = last;
        for batch in batches {
            if let Some(LogChange::Adopt { synced, .. }) = &batch.log {
                self.synced = Some(*synced);
                self.damage = None;
                if synced.node.is_none() {
                    self.promised = self.promised.max(*synced);
                }
            }
            if let Some(base) = base_of(batch) {
                self.decided = self.decided.max(base.slot);
            }
            self.decided = self.decided.max(batch.decided.unwrap_or_default());
        }
        if let Some(meta) = installed {
            self.go_on_behind(meta)?;
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
            self.promised = promised;
            if !broken(Bug::OpenRaftIoOrder) {
                self.mark()?;
            }
        }
        Ok(())
    }

    /// Makes durable, in both places, what this log has come to.
    fn mark(&mut self) -> Result<(), Error> {
        let promise = Promise {
            ballot: self.promised,
            log: self.end,
            checkpoint: self.checkpoint,
            base: self.base,
        };
        self.places.store(promise, &mut self.syncs)
    }

    /// The order is what makes it safe: the file has its name before it is vouched for, and nothing is removed before
    /// that is durable. (`a_crash_at_any_step_leaves_the_old_or_the_new_one`)
    ///
    /// The log goes as far as the older checkpoint: what lies between the two is there for slow voters, and for a start
    /// on which the newer one has rotted. (`what_the_older_checkpoint_sums_up_is_removed`)
    fn try_keep(&mut self, written: &Meta) -> Result<(), Error> {
        assert!(
            written.slot <= self.last,
            "a checkpoint of slot {} of a log through {}",
            written.slot,
            self.last
        );
        if self
            .kept
            .last()
            .is_some_and(|newest| newest.slot >= written.slot)
        {
            // One of a peer has overtaken it.
            return checkpoint::discard(&self.disk, written.slot);
        }
        checkpoint::name_durably(&self.disk, written.slot)?;
        self.syncs += 1;
        self.checkpoint = self.checkpoint.max(written.slot);
        self.kept.push(*written);
        // A start may have found more, or one that rotted less.
        let spent = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..spent);
        if let [older, _] = &self.kept[..] {
            // A segment is not needed when all that the log held as the next one began is summed up.
            let summed_up = |(_, last): &&(u64, Slot)| *last <= older.slot;
            let first = self.segments.iter().rev().find(summed_up);
            self.base = first.map_or(self.base, |(index, _)| *index);
        }
        if broken(Bug::EarlyRemoval) {
            self.tidy()?;
        }
        self.mark()?;
        self.tidy()
    }

    /// Gives the checkpoint that a batch begins behind its name. A crash before the batch is durable leaves a file that
    /// nothing vouches for. (`a_peers_checkpoint_counts_with_the_batch_that_adopts_it_or_not_at_all`)
    fn name_installed(&mut self, batches: &[Batch]) -> Result<Option<Meta>, Error> {
        let Some(base) = batches.iter().filter_map(base_of).next_back() else {
            return Ok(None);
        };
        let meta = checkpoint::name_fetched(&self.disk, base.slot)?;
        self.syncs += 1;
        Ok(Some(meta))
    }

    /// The log, durably, begins behind this checkpoint: all before it is of no use any more.
    fn go_on_behind(&mut self, meta: Meta) -> Result<(), Error> {
        self.checkpoint = self.checkpoint.max(meta.slot);
        self.kept = vec![meta];
        self.base = self.end.segment;
        self.mark()?;
        self.tidy()
    }

    /// Removes the checkpoints and segments that no start would go on from. What comes back after a crash is passed
    /// over, and removed again.
    fn tidy(&mut self) -> Result<(), Error> {
        let base = self.base;
        self.segments.retain(|(index, _)| *index >= base);
        let names = self
            .disk
            .list()
            .map_err(Error::io("list", "the data directory"))?;
        let newest = self.kept.last().map_or(Slot::ZERO, |meta| meta.slot);
        let kept = |slot| self.kept.iter().any(|meta| meta.slot == slot);
        for name in &names {
            let segment = segment::index(name).is_some_and(|index| index < base);
            // What a peer's checkpoint sums up is decided here by now: it is never adopted.
            let spent = checkpoint::fetched_slot(name).is_some_and(|slot| slot <= newest)
                || checkpoint::slot(name).is_some_and(|slot| !kept(slot));
            if segment || spent {
                self.disk.remove(name).map_err(Error::io("remove", name))?;
                self.removed += u64::from(segment);
            }
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
            size,
        };
        self.file = segment::create(&self.disk, header, &mut self.syncs)?;
        self.size = size;
        self.segments.push((header.index, header.last));
        self.end = Position {
            segment: header.index,
            offset: segment::HEADER,
        };
        // So that a segment that goes missing is missed.
        self.mark()
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        let name = segment::name(self.end.segment);
        let (sectors, chain) = record::encode(self.end, self.chain, payload);
        let mut written = self.file.write_at(self.end.offset, &sectors);
        if broken(Bug::ZooKeeper4882) {
            written = Ok(());
        }
        written.map_err(Error::io("write", &name))?;
        let mut synced = match broken(Bug::OmniPaxos022) {
            true => Ok(()),
            false => self.file.sync(),
        };
        if broken(Bug::Fsyncgate2018) && synced.is_err() {
            synced = self.file.sync();
        }
        synced.map_err(Error::io("sync", &name))?;
        self.syncs += 1;
        self.chain = chain;
        self.end.offset += sectors.len() as u64;
        Ok(())
    }
}

/// What adopting a log changes but for its entries.
fn stamps(batches: &[Batch]) -> Vec<Batch> {
    let mut stamps = Vec::new();
    if let [batch] = batches
        && let Some(LogChange::Adopt { base: None, .. }) = &batch.log
    {
        let mut stamp = batch.clone();
        stamp.decided = None;
        if let Some(LogChange::Adopt { entries, .. }) = &mut stamp.log {
            entries.clear();
        }
        stamps.push(stamp);
    }
    stamps
}

/// The checkpoint that a batch begins behind.
fn base_of(batch: &Batch) -> Option<Base> {
    match batch.log {
        Some(LogChange::Adopt { base, .. }) => base,
        _ => None,
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

    fn keep(&mut self, written: &Meta) -> Result<Slot, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        let kept = self.try_keep(written);
        self.failed = kept.is_err();
        kept?;
        Ok(match &self.kept[..] {
            [older, _] => older.slot,
            _ => Slot::ZERO,
        })
    }
}
