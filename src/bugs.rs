//! Bugs that systems like this one had, planted here on purpose: the simulation must catch every one of them.
//!
//! Each stands where this code would have it, behind `broken`. That is `false` at compile time, and costs nothing,
//! unless the feature `bugs` is on: then the simulation plants one of them at a time, for its own thread. So the tests
//! are themselves tested. A name is that of the report, paper or release that told of the bug, or of the rule it
//! breaks.

#[cfg(feature = "bugs")]
use std::cell::Cell;

macro_rules! bugs {
    ($($name:ident: $what:literal,)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $name,)*
        }

        #[cfg(feature = "bugs")]
        impl Bug {
            /// All of them, each with what it breaks.
            pub const ALL: &[(Bug, &str)] = &[$((Bug::$name, $what),)*];
        }
    };
}

bugs! {
    // Phase 1.
    UnsyncedPromise: "a promise is told before it is durable",
    OpenRaft1220: "a higher ballot that was met is taken for promised",
    Sutra2020: "one variable for promised and accepted: a log counts as the last promise's",
    LongestLog: "phase 1 takes the longest log, whatever leader it is of",
    Neon295: "a log is synced from behind its end, not from the first difference",
    ZooKeeper4643: "a log is stamped with its new ballot first, and gets the entries apart from that",
    ZooKeeper4646: "a synced log is told accepted before it is durable",
    ConstrainedElection: "only who holds the best log itself comes to lead",
    Cloudflare2020: "who hears no leader stands without asking",
    QuorumLoss: "a leader that reaches no majority goes on",

    // Phase 2.
    LogCabin44: "votes of an old ballot are counted in a new one",
    UnsyncedAccept: "entries are accepted into a log that is not the leader's",
    ZooKeeper4925: "entries are accepted behind a hole",
    Etcd14370: "a single voter counts its vote before it is durable",
    OmniPaxos024: "what is known decided goes back on old news",
    OpenRaft559: "a checkpoint is gone on from with the conflicting end of the old log",

    // Reads and hand-overs.
    Etcd741: "a leader answers reads without asking anybody",
    Raft397: "a read is confirmed by a round begun before it",
    Etcd7331: "a leader answers reads before its own barrier is decided",
    OpenRaft1747: "a leader whose heir never takes over waits for ever",

    // Membership.
    Ongaro2015: "a second change of who votes is begun above the first",
    Etcd19557: "a voter forgets in a restart that it was promoted",
    AtlasDb1504: "a wiped voter begins anew under its old name",

    // The disk.
    OmniPaxos022: "the log is written and not synced",
    OpenRaftIoOrder: "a promise is written behind the entries that follow it",
    Fsyncgate2018: "a sync that failed is tried again",
    ZooKeeper4882: "a write that failed is passed over",
    Etcd6368: "a new segment's name is not synced",
    Fast18: "damage in the middle of the log is cut like a torn tail",
    UnnamedCheckpoint: "a peer's checkpoint is named after the log began behind it",
    EarlyRemoval: "segments are removed before the checkpoint counts",

    // Commands.
    Jetcd082: "a retried command is applied twice",
    ForgottenKeys: "a checkpoint does not hold the keys of commands",

    // Locks.
    Etcd11456: "a lock is granted to a waiter whose session has ended",
    Etcd15247: "a leader of the past ends sessions",
    RenewedWhileEnding: "a session is kept alive though its end is proposed",
    StalledLeader: "a leader that stood still takes that time for the sessions' silence",
    RequestToken: "a token is the slot of the request, not of the grant",
    Etcd15271: "a watch goes back when it is resumed",
    Etcd17529: "a watch skips what a checkpoint sums up",
}

/// Whether this bug is planted: never in what is released.
#[cfg(not(feature = "bugs"))]
pub(crate) const fn broken(_: Bug) -> bool {
    false
}

#[cfg(feature = "bugs")]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Whether this bug is planted in this thread.
#[cfg(feature = "bugs")]
pub(crate) fn broken(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// From here on this thread has this bug, or none.
#[cfg(feature = "bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}
