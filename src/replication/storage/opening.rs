//! A start: finds the log and the checkpoint it goes on from, makes durable what was found, and begins a segment where
//! damage has to be bridged.

use bytes::Bytes;

use super::checkpoint;
use super::document::TEMPORARY;
use super::promise::{self, Places, Promise};
use super::record::Position;
use super::recovery::{self, Found};
use super::segment::{self, Header};
use super::wal::WalOptions;
use super::{Disk, Error, File};
use crate::bugs::{Bug, broken};
use crate::paxos::{Base, Slot};

/// A log that is ready to be written to.
pub(super) struct Opened<F, T> {
    /// The segment that is written to, and its size.
    pub(super) file: F,
    pub(super) size: u64,
    pub(super) found: Found,
    pub(super) promise: Promise,
    pub(super) places: Places<F>,
    pub(super) checkpoints: checkpoint::Found<T>,
    /// What the log begins behind, where it does not begin with slot 1.
    pub(super) start: Option<Base>,
    /// Syncs it took.
    pub(super) syncs: u64,
}

pub(super) fn open<D: Disk, T>(
    disk: &D,
    options: WalOptions,
    restore: impl FnMut(Bytes) -> Result<T, String>,
) -> Result<Opened<D::File, T>, Error> {
    let mut syncs = 1;
    clear(disk, options.again)?;
    let known = promise::load(disk)?;
    let known_synced = known.map_or(Position::default(), |promise| promise.log);
    let base = known.map_or(0, |promise| promise.base);
    let mut found = recovery::find(disk, options.initial, known_synced, base)?;
    let promised = match known {
        Some(promise) => promise.ballot,
        // A start that was cut short before the promise was made left at most an empty log.
        None if (options.create || broken(Bug::AtlasDb1504))
            && !found.open
            && found.newest <= 1
            && found.replay.entries.is_empty() =>
        {
            options.initial
        }
        None => return Err(promise::lost()),
    };
    // To have entered an epoch is to have promised its initial ballot; only the log says so, for that is one write.
    let entered = found.replay.synced.filter(|synced| synced.node.is_none());
    let promised = entered.map_or(promised, |entered| entered.max(promised));
    if found.replay.synced.is_some_and(|synced| synced > promised) {
        return Err(Error::PromiseRolledBack);
    }
    let known_checkpoint = known.map_or(Slot::ZERO, |promise| promise.checkpoint);
    let vouched = known_checkpoint.max(found.replay.decided);
    let checkpoints = checkpoint::find(disk, vouched, restore)?;
    let applied = checkpoints.applied();
    found.reach(applied);
    if let Some(meta) = checkpoints.whole.iter().find(|meta| meta.slot == applied) {
        found.rest_on(meta.base());
    }
    let start = join(&found, base, &checkpoints)?;
    let fresh = known.is_none() && found.newest == 0;
    let (file, size) = if fresh || found.open {
        if found.end.segment > 0 {
            settle(disk, &found, &mut syncs)?;
        }
        found.replay.synced = fresh.then_some(options.initial);
        found.damage = found.damage.filter(|_| !fresh);
        extend(disk, &mut found, options.segment_bytes, &mut syncs)?
    } else {
        settle(disk, &found, &mut syncs)?
    };
    let promise = Promise {
        ballot: promised,
        log: found.end,
        checkpoint: known_checkpoint.max(checkpoints.applied()),
        base,
    };
    let places = Places::open(disk, promise, &mut syncs)?;

    Ok(Opened {
        file,
        size,
        found,
        promise,
        places,
        checkpoints,
        start,
        syncs,
    })
}

/// Where the log begins that is told: behind the oldest checkpoint that it joins.
fn join<T>(
    found: &Found,
    base: u64,
    checkpoints: &checkpoint::Found<T>,
) -> Result<Option<Base>, Error> {
    let before = found.replay.start.previous();
    let nothing = base > 1 && checkpoints.applied() == Slot::ZERO;
    if before == Slot::ZERO && !nothing {
        return Ok(None);
    }
    if checkpoints.applied() < before || nothing {
        let reasons = match &checkpoints.flaws[..] {
            [] => "there is no checkpoint".to_owned(),
            flaws => flaws.join(", "),
        };
        return Err(Error::StateLost { reasons });
    }
    let joining = checkpoints.whole.iter().find(|meta| meta.slot >= before);
    Ok(joining.map(checkpoint::Meta::base))
}

/// Removes what was never given its name, but `again` nothing that is being fetched, and makes the names that are there
/// durable. (`a_log_opened_again_leaves_what_is_being_fetched`)
fn clear<D: Disk>(disk: &D, again: bool) -> Result<(), Error> {
    let names = disk
        .list()
        .map_err(Error::io("list", "the data directory"))?;
    let fetched = |name: &&String| again && checkpoint::fetched_slot(name).is_some();
    let unnamed = names.iter().filter(|name| name.ends_with(TEMPORARY));
    for name in unnamed.filter(|name| !fetched(name)) {
        disk.remove(name).map_err(Error::io("remove", name))?;
    }
    disk.sync_directory()
        .map_err(Error::io("sync", "the data directory"))
}

/// Begins a segment behind what was found: the first of a new log, or one that bridges damage.
fn extend<D: Disk>(
    disk: &D,
    found: &mut Found,
    bytes: u64,
    syncs: &mut u64,
) -> Result<(D::File, u64), Error> {
    let size = segment::sized(bytes, 0);
    let header = Header {
        index: found.newest + 1,
        previous: found.end,
        chain: found.chain,
        last: found.replay.last(),
        decided: found.replay.decided,
        synced: found.replay.synced,
        size,
    };
    let file = segment::create(disk, header, syncs)?;
    found.path.push((header.index, header.last));
    found.end = Position {
        segment: header.index,
        offset: segment::HEADER,
    };
    Ok((file, size))
}

/// Writes again what lies past the last position known to be synced, and syncs it. A torn tail becomes zeros; damage
/// stays as it is, but what is told in front of it must be durable too.
///
/// After a kill it may be in the page cache alone, and after a failed sync the kernel may think it clean.
fn settle<D: Disk>(disk: &D, found: &Found, syncs: &mut u64) -> Result<(D::File, u64), Error> {
    let name = segment::name(found.end.segment);
    let mut file = disk.open(&name).map_err(Error::io("open", &name))?;
    let size = file.size().map_err(Error::io("measure", &name))?;
    let mut record = vec![0; (found.end.offset - found.unsure) as usize];
    file.read_at(found.unsure, &mut record)
        .map_err(Error::io("read", &name))?;
    file.write_at(found.unsure, &record)
        .map_err(Error::io("write", &name))?;
    if !found.open {
        segment::zero(&mut file, found.end.offset, size).map_err(Error::io("write", &name))?;
    }
    file.sync().map_err(Error::io("sync", &name))?;
    *syncs += 1;
    Ok((file, size))
}
