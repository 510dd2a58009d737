//! Why storage refused or failed, grouped by who has to act.

use std::io;

/// What went wrong in the data directory. Display tells its own level; sources chain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The operator has to act.
    /// Another process holds the data directory.
    #[error(
        "the data directory {directory} is in use by another process{holder}; stop that one, or name another directory"
    )]
    Locked {
        /// The directory.
        directory: String,
        /// " (pid N)" when it is known.
        holder: String,
    },
    /// The next segment could not be allocated. Nothing was changed: the same write may be tried again.
    #[error(
        "the disk is full: {wanted} more bytes for the log could not be had; free some space, writes then go on"
    )]
    Full {
        /// Bytes that were asked for.
        wanted: u64,
        /// What the disk said.
        source: io::Error,
    },

    // What was stored is not there any more.
    /// No copy of the promise can be read: this voter may have promised what it no longer knows.
    #[error(
        "both copies of this node's promise are unreadable ({first}; {second}); it must not vote again: give it an empty data directory and replace it under a new identity"
    )]
    PromiseLost {
        /// What is wrong with the first copy.
        first: String,
        /// What is wrong with the second copy.
        second: String,
    },
    /// The log says more was promised than the promise's own copies do: they were rolled back.
    #[error(
        "the promise on disk is older than the log beside it: files were rolled back; give this node an empty data directory and replace it under a new identity"
    )]
    PromiseRolledBack,
    /// No checkpoint can be read, and the log behind them is all that is left.
    #[error(
        "the state is lost: {reasons}, and the log no longer holds what came before; give this node an empty data directory and replace it under a new identity; where it was the only voter, make a new group of a backup (synod restore)"
    )]
    StateLost {
        /// What is wrong with each checkpoint.
        reasons: String,
    },
    /// A file that is written whole, and replaced whole, does not read back.
    #[error(
        "{file} is damaged ({reason}); give this node an empty data directory and replace it under a new identity; where it was the only voter, make a new group of a backup (synod restore)"
    )]
    Damaged {
        /// Name within the data directory.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of a format that this build does not know.
    #[error(
        "{file} has format {found}, this build knows {known}: it was written by a newer release"
    )]
    Version {
        /// Name within the data directory.
        file: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },

    // The machine failed.
    /// An operation on the disk failed. The log refuses everything from then on.
    #[error("cannot {operation} {file}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Name within the data directory.
        file: String,
        /// What the disk said.
        source: io::Error,
    },

    // This process.
    /// An earlier write or sync failed; what is on disk is unknown until a restart.
    #[error("the log failed earlier and takes nothing more until restart")]
    Failed,
}

impl Error {
    /// The same log may take the same write later.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. })
    }

    /// There was no space for it.
    pub fn is_for_want_of_space(&self) -> bool {
        match self {
            Error::Full { .. } => true,
            Error::Io { source, .. } => out_of_space(source),
            _ => false,
        }
    }

    pub(in crate::replication) fn damaged(file: &str, reason: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    pub(in crate::replication) fn io<'a>(
        operation: &'static str,
        file: &'a str,
    ) -> impl FnOnce(io::Error) -> Error + use<'a> {
        move |source| Error::Io {
            operation,
            file: file.to_owned(),
            source,
        }
    }
}

/// Whether an operation failed for want of space.
pub(super) fn out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
