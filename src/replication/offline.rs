//! A data directory without its node: what is in it, the state it holds, and a new one that goes on from a state.
//!
//! Nothing is written to a directory that is looked at: its files are read into memory, and the very recovery that a
//! start runs is run there. Whoever restores gets a *new* group of one voter: its own cluster id, so that nodes of the
//! old one refuse it, and slots far above any that the old one can have reached, for revisions and fencing tokens are
//! slots and must not come twice.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;

use super::founding;
use super::group::{Group, Member, hex};
use super::intake::Intake;
use super::lifecycle::message;
use super::log::chain;
use super::membership::FIRST_EPOCH;
use super::storage::{
    Disk, Error, File, LOCK, Memory, MemoryDisk, OsDisk, Shelf, Storage, Wal, WalOptions,
    checkpoint,
};
use crate::paxos::{Ballot, Base, Entry, Payload, Recovered, Slot};
use crate::state::{self, Applied, Machine};

/// By how much a restored group is ahead: more slots than a group decides in days, and a number that shows in every
/// revision that it was restored.
pub const LEAP: u64 = 1_000_000_000;

/// Why a directory gives no state, or takes none.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// There is nothing of a node.
    #[error("{directory} is no data directory of a node: it holds no record of a group")]
    Foreign {
        /// The directory.
        directory: String,
    },
    /// The new directory is not new.
    #[error("{directory} is not empty; name a directory that is, or that does not exist yet")]
    Taken {
        /// The directory.
        directory: String,
    },
    /// The log holds what this build cannot apply.
    #[error("slot {slot} cannot be applied: {reason}")]
    Unapplied {
        /// Which one.
        slot: u64,
        /// Why.
        reason: String,
    },
    /// The bytes are no backup.
    #[error("this is no backup to restore: {0}")]
    Backup(#[from] state::BadCheckpoint),
    /// The directory, or what is in it.
    #[error(transparent)]
    Storage(#[from] Error),
}

/// What a data directory holds.
pub struct Directory {
    /// Whose it is.
    pub identity: Identity,
    /// Names and bytes of its files.
    pub files: Vec<(String, u64)>,
    /// The slots of its checkpoints with their bytes, or what is wrong with them.
    pub checkpoints: Vec<(u64, Result<u64, String>)>,
    /// The log, or why it cannot be opened.
    pub log: Result<Log, String>,
}

/// Whose a directory is.
pub struct Identity {
    /// Of the cluster, 16 bytes in hexadecimal; none before all first voters have met.
    pub cluster: Option<String>,
    /// Of the node.
    pub name: String,
    /// Among the voters; none without a vote.
    pub id: Option<u32>,
    /// How often the node has started on it.
    pub incarnation: u64,
    /// The number of the membership.
    pub epoch: u32,
    /// Who votes: numbers, names and peer addresses.
    pub voters: Vec<(u32, String, String)>,
}

/// What a start would find.
pub struct Log {
    /// The highest ballot promised, and the one whose leader's log this is; none while damaged.
    pub promised: String,
    /// See `promised`.
    pub synced: Option<String>,
    /// What is wrong, where and how much of the log is good.
    pub damage: Option<String>,
    /// The first slot it has an entry for.
    pub start: u64,
    /// The last one.
    pub last: u64,
    /// Known decided.
    pub decided: u64,
    /// Of the newest checkpoint that a start goes on from; 0 without.
    pub checkpoint: u64,
    entries: Vec<Entry>,
    machine: Machine,
}

/// One entry of a log, for people.
pub struct Line {
    /// Where.
    pub slot: u64,
    /// The ballot it was first proposed in.
    pub ballot: String,
    /// `barrier`, `seal`, `config`, `locks`, `expiry`, or `undecodable`.
    pub kind: &'static str,
    /// Who proposed it and why, as the history has it; or what a Seal says.
    pub what: String,
    /// Bytes of it.
    pub bytes: usize,
}

/// A group that was made of a state.
pub struct Founded {
    /// Its cluster id, in hexadecimal.
    pub cluster: String,
    /// Of the config it goes on from.
    pub revision: u64,
    /// Its log goes on behind it.
    pub slot: u64,
}

/// As [`inspect`], of a directory that no node is at work on.
pub fn idle(directory: &Path) -> Result<Directory, OfflineError> {
    if !directory.join(founding::FILE).exists() {
        let directory = directory.display().to_string();
        return Err(OfflineError::Foreign { directory });
    }
    // Held while it is read.
    let _held = OsDisk::open(directory)?;
    inspect(directory)
}

/// Reads a data directory. One that a node is at work on may show what is half written as damage.
pub fn inspect(directory: &Path) -> Result<Directory, OfflineError> {
    let disk = copy(directory)?;
    let names = disk.list().map_err(Error::io("list", "the copy"))?;
    let mut files = Vec::new();
    for name in names {
        let size = disk.open(&name).and_then(|file| file.size());
        files.push((name.clone(), size.map_err(Error::io("measure", &name))?));
    }
    let Some(group) = founding::stored(&disk)? else {
        let directory = directory.display().to_string();
        return Err(OfflineError::Foreign { directory });
    };
    let mut checkpoints = Vec::new();
    for slot in checkpoint::list(&disk)? {
        let read = checkpoint::read(&disk, slot)?;
        let size = read.map(|read| read.meta.size).map_err(str::to_owned);
        checkpoints.push((slot.0, size));
    }
    Ok(Directory {
        identity: Identity::of(&group),
        files,
        checkpoints,
        log: Log::open(disk).map_err(|error| chain(&error)),
    })
}

/// The files of a directory, in memory.
fn copy(directory: &Path) -> Result<MemoryDisk, Error> {
    let shown = directory.display().to_string();
    let disk = Memory::new(0).boot()?;
    for entry in fs::read_dir(directory).map_err(Error::io("list", &shown))? {
        let entry = entry.map_err(Error::io("list", &shown))?;
        let kind = entry.file_type().map_err(Error::io("list", &shown))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !kind.is_file() || name == LOCK {
            continue;
        }
        let bytes = fs::read(entry.path()).map_err(Error::io("read", &name))?;
        let copied = disk.create(&name).and_then(|mut file| {
            file.write_at(0, &bytes)?;
            file.sync()
        });
        copied.map_err(Error::io("copy", &name))?;
    }
    disk.sync_directory().map_err(Error::io("copy", &shown))?;
    Ok(disk)
}

impl Identity {
    fn of(group: &Group) -> Self {
        let own = group.own().cloned().unwrap_or_default();
        let voter = |member: &Member| (member.id, member.name.clone(), member.address.clone());
        Self {
            cluster: (!group.cluster.is_empty()).then(|| hex(&group.cluster)),
            name: own.name,
            id: (group.follower.is_none()).then_some(group.me),
            incarnation: own.incarnation,
            epoch: group.membership().epoch.0,
            voters: group.members.iter().map(voter).collect(),
        }
    }
}

impl Log {
    fn open(disk: MemoryDisk) -> Result<Self, Error> {
        let restore = |bytes: Bytes| state::restore(&bytes).map_err(|bad| bad.to_string());
        let options = WalOptions::new(Ballot::initial(FIRST_EPOCH), false);
        let (wal, recovered, machine) = Wal::open(disk, options, restore)?;
        let Recovered {
            promised,
            synced,
            decided,
            applied,
            start,
            entries,
            ..
        } = recovered;
        Ok(Self {
            promised: promised.to_string(),
            synced: synced.map(|ballot| ballot.to_string()),
            damage: wal.damage().map(ToString::to_string),
            start: start.0,
            last: start.plus(entries.len()).previous().0,
            decided: decided.0,
            checkpoint: applied.0,
            entries,
            machine: machine.unwrap_or_default(),
        })
    }

    /// Its entries, from `slot` on.
    pub fn lines(&self, slot: u64) -> impl Iterator<Item = Line> {
        let entries = (self.start..).zip(&self.entries);
        entries
            .skip_while(move |(at, _)| *at < slot)
            .map(|(slot, entry)| Line::of(slot, entry))
    }

    /// The state after *all* of it: what is not known to be decided here may have been acknowledged by a leader that is
    /// gone. Gives how many entries that are.
    pub fn state(self) -> Result<(Machine, u64), OfflineError> {
        let mut machine = self.machine;
        for (slot, entry) in (self.start..).zip(self.entries) {
            if slot > machine.applied() {
                apply(&mut machine, slot, &entry)?;
            }
        }
        Ok((machine, self.last.saturating_sub(self.decided)))
    }
}

fn apply(machine: &mut Machine, slot: u64, entry: &Entry) -> Result<(), OfflineError> {
    let fails = |reason: String| Err(OfflineError::Unapplied { slot, reason });
    match &entry.payload {
        Payload::Barrier => machine.lead(slot, entry.ballot.into()),
        Payload::Seal(_) => machine.skip(slot),
        Payload::Command(command) => {
            let applied = catch_unwind(AssertUnwindSafe(|| machine.apply(slot, command)));
            match applied {
                Ok(Applied::UnknownLevel { level }) => {
                    return fails(format!("it needs feature level {level}: use a newer build"));
                }
                Ok(_) => {}
                Err(panic) => return fails(format!("it breaks this build: {}", message(&*panic))),
            }
        }
    }
    Ok(())
}

impl Line {
    fn of(slot: u64, entry: &Entry) -> Self {
        let (kind, what, bytes) = match &entry.payload {
            Payload::Barrier => ("barrier", String::new(), 0),
            Payload::Seal(seal) => {
                let voters: Vec<String> = seal.voters.iter().map(|id| id.0.to_string()).collect();
                let what = format!("the next voters are numbers {}", voters.join(", "));
                ("seal", what, seal.details.len())
            }
            Payload::Command(command) => match state::Command::decode(command) {
                Err(error) => ("undecodable", error.to_string(), command.len()),
                Ok(known) => {
                    let kind = match known.body {
                        state::Body::Config(_) => "config",
                        state::Body::Locks(_) => "locks",
                        state::Body::Expiry(_) => "expiry",
                    };
                    let by = [known.author, known.comment];
                    let by = by.iter().filter(|text| !text.is_empty());
                    let by: Vec<&str> = by.map(String::as_str).collect();
                    (kind, by.join(": "), command.len())
                }
            },
        };
        Self {
            slot,
            ballot: entry.ballot.to_string(),
            kind,
            what,
            bytes,
        }
    }
}

/// The state of a backup.
pub fn read_backup(bytes: &[u8]) -> Result<Machine, OfflineError> {
    Ok(state::restore(bytes)?)
}

/// Makes a data directory of a new group whose only voter is `name`, and which goes on from `machine`. Until the last
/// step a start on the directory is refused.
pub fn refound(
    directory: &Path,
    name: &str,
    mut machine: Machine,
) -> Result<Founded, OfflineError> {
    let shown = directory.display().to_string();
    let empty = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(Error::io("list", &shown)(error).into()),
    };
    if !empty {
        return Err(OfflineError::Taken { directory: shown });
    }
    let slot = (machine.applied() / LEAP + 1) * LEAP;
    machine.refound(slot);
    let disk = OsDisk::open(directory)?;
    install(&disk, Slot(slot), &machine)?;
    let group = Group::alone(name, rand::random(), rand::random());
    founding::store(&disk, &group)?;
    Ok(Founded {
        cluster: hex(&group.cluster),
        revision: machine.revision().0,
        slot,
    })
}

/// A log that begins behind a checkpoint of `machine`, as that of a follower does which was sent one.
fn install(disk: &OsDisk, slot: Slot, machine: &Machine) -> Result<(), Error> {
    let ballot = Ballot::initial(FIRST_EPOCH);
    let options = WalOptions::new(ballot, true);
    let (mut wal, empty, _) = Wal::open(disk.clone(), options, |_| Ok(()))?;
    let (content, base) = (state::checkpoint(machine), Base { slot, ballot });
    let of = checkpoint::Meta::of(base, &[], &content);
    disk.receive(&of, 0, &content)?;
    disk.received(&of)?;
    let (mut intake, ..) = Intake::new(empty);
    let behind = intake.install(base);
    wal.write(&[behind.expect("an empty log is behind every checkpoint")])
}

#[cfg(test)]
mod tests;
