//! Every hard limit of what is replicated, by name. Consensus carries a poisonous entry to every node at once,
//! so each of these is checked before a command is proposed and again, in the same words, when it is applied.

use std::time::Duration;

/// Longest name or id.
pub const NAME_BYTES: usize = 63;
/// Pools in a config.
pub const POOLS: usize = 10_000;
/// Routes in a config.
pub const ROUTES: usize = 20_000;
/// Backends in one pool.
pub const BACKENDS_PER_POOL: usize = 10_000;
/// Backends in all pools together.
pub const BACKENDS: usize = 100_000;
/// Host patterns in one route.
pub const HOSTS_PER_ROUTE: usize = 256;
/// Pools one route splits over.
pub const TARGETS_PER_ROUTE: usize = 64;
/// Longest host pattern, as DNS has it.
pub const HOST_BYTES: usize = 253;
/// Longest path in a match.
pub const PATH_BYTES: usize = 2_048;
/// Largest weight of a backend or a target.
pub const WEIGHT: u16 = u16::MAX;
/// Shortest duration a pool may ask for.
pub const SHORTEST_DURATION: Duration = Duration::from_millis(1);
/// Longest duration a pool may ask for.
pub const LONGEST_DURATION: Duration = Duration::from_hours(24);
/// Most tries of one request.
pub const ATTEMPTS: u32 = 10;
/// Largest floor of a retry budget, retries per second.
pub const BUDGET_MIN_PER_SECOND: u32 = 1_000_000;
/// Shortest interval of health checks.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Longest timeout of a health check.
pub const LONGEST_CHECK: Duration = Duration::from_mins(1);
/// Most checks in a row that a change of health may need.
pub const CHECKS_IN_A_ROW: u32 = 100;
/// Statuses and ranges of them in one health check.
pub const STATUS_RANGES: usize = 16;
/// Longest text that a health check looks for.
pub const PROBE_BODY_BYTES: usize = 1_024;

/// Operations in one transaction: as many as a config has pools and routes.
pub const OPERATIONS: usize = POOLS + ROUTES;
/// What the operations of one transaction may cost to apply, in units of about 10 ns: every node applies it, and
/// nothing else meanwhile.
pub const WORK: usize = 100_000_000;
/// One encoded command.
pub const COMMAND_BYTES: usize = 4 << 20;
/// A whole config, as canonical JSON.
pub const CONFIG_BYTES: usize = 32 << 20;
/// Faults told in one answer; the rest is counted.
pub const FAULTS: usize = 100;
/// Names listed in one answer: existing pools, referring routes.
pub const LISTED: usize = 20;
/// Longest piece of the writer's own text that an answer repeats.
pub const QUOTED_CHARS: usize = 64;

/// Longest idempotency key.
pub const KEY_BYTES: usize = 128;
/// Keys remembered.
pub const KEYS: usize = 100_000;
/// All remembered outcomes together.
pub const KEYS_BYTES: usize = 64 << 20;
/// How long a key is remembered, in state time.
pub const KEY_AGE: Duration = Duration::from_hours(24);
/// Longest author of a change.
pub const AUTHOR_BYTES: usize = 256;
/// Longest comment on a change.
pub const COMMENT_BYTES: usize = 4_096;
/// Revisions kept in history.
pub const REVISIONS: usize = 10_000;
/// All of history, as encoded.
pub const HISTORY_BYTES: usize = 64 << 20;
