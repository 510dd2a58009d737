//! Finds the log in a directory: which segments it runs through, what its records make, where it ends.
//!
//! Segments link backwards, so the log is: the first segment, then always the newest one that links to the one at
//! hand (an older one lies behind damage that was bridged). Each is read up to where the next one says it ended; in
//! the last one the end is looked for. Nothing is written here; `wal` acts on what is found.

use std::collections::BTreeMap;

use super::batch::{self, Replay};
use super::damage::{Damage, judge, written_end};
use super::record::{self, Flaw, Position};
use super::segment::{self, Header};
use super::window::{Pieces, Window as _};
use super::{Disk, Error};
use crate::paxos::{Ballot, Base, Slot};

/// What the segments hold.
pub(super) struct Found {
    pub(super) replay: Replay,
    /// Where the log ends, or where damage begins.
    pub(super) end: Position,
    pub(super) chain: u32,
    /// The last record, the one that may be in the page cache alone; `end` when there is none in this segment.
    pub(super) unsure: u64,
    /// The first damage met. The log goes on behind it if it was bridged.
    pub(super) damage: Option<Damage>,
    /// The damage is not bridged yet: a segment must be made that does.
    pub(super) open: bool,
    /// The greatest index that any segment has or had; 0 when there never was one.
    pub(super) newest: u64,
    /// The segments that were read, each with the last slot before it.
    pub(super) path: Vec<(u64, Slot)>,
}

/// Reads all segments from `base` on. `initial` is the ballot an empty log is synced with.
pub(super) fn find<D: Disk>(
    disk: &D,
    initial: Ballot,
    known_synced: Position,
    base: u64,
) -> Result<Found, Error> {
    let segments = segments(disk, base)?;
    let path = path(&segments, base);
    let newest = segments.keys().next_back().copied().unwrap_or_default();
    let replay = Replay {
        start: Slot(1),
        entries: Vec::new(),
        synced: Some(initial),
        decided: Slot(0),
    };
    let mut reader = Reader {
        found: Found {
            replay,
            end: Position::default(),
            chain: 0,
            unsure: 0,
            damage: None,
            open: false,
            newest,
            path: Vec::new(),
        },
    };
    if let Some(first) = path.first().filter(|_| base > 0) {
        reader.begin(first);
    }

    for (nth, header) in path.iter().enumerate() {
        if !reader.enter(header) {
            break;
        }
        let next = path.get(nth + 1);
        let last = header.index == newest;
        if !reader.read(
            disk,
            header,
            next.map(|next| next.previous.offset),
            last,
            known_synced,
        )? {
            break;
        }
    }
    let mut found = reader.found;
    if !found.open && (found.end.segment != newest || found.end < known_synced) {
        found.break_at(gap(&segments, found.end, newest));
    }
    // One that is made must have a number of its own, also where those before are lost.
    found.newest = newest.max(known_synced.segment).max(base);
    Ok(found)
}

/// Every segment file from `base` on with its header, or what is wrong with that.
fn segments<D: Disk>(
    disk: &D,
    base: u64,
) -> Result<BTreeMap<u64, Result<Header, &'static str>>, Error> {
    let names = disk
        .list()
        .map_err(Error::io("list", "the data directory"))?;
    let mut segments = BTreeMap::new();
    let needed = names.iter().filter_map(|name| segment::index(name));
    for index in needed.filter(|index| *index >= base) {
        let name = segment::name(index);
        let file = disk.open(&name).map_err(Error::io("open", &name))?;
        segments.insert(index, segment::read_header(&file, index)?);
    }
    Ok(segments)
}

/// The segments the log runs through, in order.
fn path(segments: &BTreeMap<u64, Result<Header, &'static str>>, base: u64) -> Vec<Header> {
    let mut path: Vec<Header> = Vec::new();
    if base > 0 {
        // Where `base` was lost or unreadable at an earlier start, the log goes on from nothing.
        let bridges = |header: &&Header| header.previous.segment == 0 && header.index > base;
        let first = segments.values().rev().flatten().find(bridges);
        match first.or(segments.get(&base).and_then(|header| header.as_ref().ok())) {
            Some(header) => path.push(*header),
            None => return path,
        }
    }
    loop {
        let at = path.last().map_or(0, |header| header.index);
        let follows = |header: &&Header| header.previous.segment == at && header.index > at;
        match segments.values().rev().flatten().find(follows) {
            Some(header) => path.push(*header),
            None => return path,
        }
    }
}

/// Why the log ends at `end` though more of it must have been there.
fn gap(
    segments: &BTreeMap<u64, Result<Header, &'static str>>,
    end: Position,
    newest: u64,
) -> String {
    let behind = segments.range(end.segment + 1..).next();
    match behind {
        Some((index, Err(reason))) => format!("{}: {reason}", segment::name(*index)),
        Some((index, Ok(header))) => format!(
            "{} does not follow it: {} is missing or unreadable",
            segment::name(*index),
            segment::name(header.previous.segment)
        ),
        None if newest == 0 => "there is no log, though there was one".to_owned(),
        None => "it ends here, though more of it is known to have been synced".to_owned(),
    }
}

struct Reader {
    found: Found,
}

impl Reader {
    /// Begins with a segment before which others were removed: what they came to is summed up by a checkpoint.
    fn begin(&mut self, first: &Header) {
        let found = &mut self.found;
        (found.end, found.chain) = (first.previous, first.chain);
        found.replay.start = first.last.next();
        found.replay.decided = first.decided;
        found.replay.synced = first.synced;
    }

    /// Moves to the start of a segment that links to where the log stands. False where it does not continue it.
    fn enter(&mut self, header: &Header) -> bool {
        let found = &mut self.found;
        let (last, decided) = (found.replay.last(), found.replay.decided);
        let stands = match header.synced {
            Some(_) => (header.last, header.decided) == (last, decided),
            // Behind damage it may go on where a checkpoint ended, be it before an end not known to lead there.
            None => {
                let restarts = header.last == header.decided;
                (header.last >= last || restarts) && header.decided >= decided
            }
        };
        if (header.previous, header.chain) != (found.end, found.chain) || !stands {
            let name = segment::name(header.index);
            found.break_at(format!("{name} does not continue what is there"));
            return false;
        }
        if header.synced.is_none() {
            // It bridges damage: what was synced before no longer is.
            found.replay.synced = None;
            let unknown = || {
                Damage::at(
                    found.end,
                    "it was found damaged at an earlier start",
                    found.replay.last(),
                )
            };
            found.damage.get_or_insert_with(unknown);
            match header.last < last {
                true => found.replay.restart(header.last),
                false => found.replay.skip(header.last),
            }
            found.replay.decided = header.decided;
        }
        found.path.push((header.index, header.last));
        found.end = Position {
            segment: header.index,
            offset: segment::HEADER,
        };
        found.unsure = segment::HEADER;
        true
    }

    /// Reads the records of one segment up to `stop`, or to the end of the log. False where damage stops it.
    fn read<D: Disk>(
        &mut self,
        disk: &D,
        header: &Header,
        stop: Option<u64>,
        last: bool,
        known_synced: Position,
    ) -> Result<bool, Error> {
        let found = &mut self.found;
        let name = segment::name(header.index);
        let file = disk.open(&name).map_err(Error::io("open", &name))?;
        let mut window = Pieces::new(&file, &name)?;
        while stop.is_none_or(|stop| found.end.offset < stop) {
            let flaw = match record::read(&mut window, found.end, found.chain)? {
                Ok(record) => {
                    if let Err(reason) = found.take(record) {
                        found.break_at(reason.to_owned());
                        return Ok(false);
                    }
                    continue;
                }
                Err(flaw) => flaw,
            };
            let (made, is) = (header.size, window.size());
            if stop.is_none() && is < made {
                found.break_at(format!("it has {is} bytes, and was made of {made}"));
                return Ok(false);
            }
            if stop.is_none()
                && flaw == Flaw::Header
                && written_end(&mut window, found.end.offset)? == found.end.offset
            {
                return Ok(true);
            }
            let torn = if last {
                judge(&mut window, found.end, flaw, known_synced)?
            } else {
                Err(flaw.to_string())
            };
            if let Err(reason) = torn {
                found.break_at(reason);
                return Ok(false);
            }
            return Ok(true);
        }
        Ok(true)
    }
}

impl Found {
    fn take(&mut self, record: record::Record) -> Result<(), &'static str> {
        // All or nothing of a record, also where its content makes no sense.
        let batches = batch::decode(record.payload)?;
        batch::follow(self.replay.last(), &batches)?;
        for batch in batches {
            self.replay.apply(batch);
        }
        self.unsure = self.end.offset;
        self.end.offset += record.size;
        self.chain = record.chain;
        Ok(())
    }

    /// The log goes on from what was applied already. One that ends before that has lost what was synced.
    pub(super) fn reach(&mut self, applied: Slot) {
        let last = self.replay.last();
        if last >= applied {
            return;
        }
        if !self.open {
            let why = format!("it ends at slot {last}, before the checkpoint of slot {applied}");
            self.break_at(why);
        }
        self.replay.skip(applied);
        self.replay.decided = self.replay.decided.max(applied);
    }

    /// The log goes on from this checkpoint. What is left of a damaged one counts as far as it is known decided itself:
    /// a checkpoint beyond that vouches for the slots that it sums up, and not for what stands in them here. That may
    /// be a dead leader's, replaced by what is now damaged.
    /// (`what_a_dead_leader_left_is_not_what_a_checkpoint_sums_up`)
    pub(super) fn rest_on(&mut self, base: Base) {
        let whole = self.replay.synced.is_some() || base.slot <= self.replay.decided;
        let entry = self.replay.entry(base.slot);
        // An entry has its slot and ballot alone, and so has all that leads to it.
        let leads = entry.is_some_and(|entry| entry.ballot == base.ballot);
        if whole || leads || self.replay.last() == base.slot && self.replay.entries.is_empty() {
            return;
        }
        if !self.open {
            let why = format!(
                "it is not known to lead to the checkpoint of slot {}",
                base.slot
            );
            self.break_at(why);
        }
        self.replay.restart(base.slot);
        self.replay.decided = base.slot;
    }

    fn break_at(&mut self, reason: String) {
        self.damage = Some(Damage::at(self.end, reason, self.replay.last()));
        self.replay.synced = None;
        self.open = true;
    }
}
