//! Every hard limit of what is replicated, by name. Consensus carries a poisonous entry to every node at once,
//! so each of these is checked before a command is proposed and again, in the same words, when it is applied.

use std::time::Duration;

/// Longest name or id.
pub const NAME_BYTES: usize = 63;
/// Pools in a config.
pub const POOLS: usize = 10_000;
/// Routes in a config.
pub const ROUTES: usize = 20_000;
/// Policies in a config that routes share.
pub const POLICIES: usize = 1_000;
/// Policies that one route names.
pub const POLICIES_PER_ROUTE: usize = 16;
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
/// Methods one route takes.
pub const METHODS_PER_ROUTE: usize = 16;
/// Longest method.
pub const METHOD_BYTES: usize = 64;
/// Header fields one route asks for, and query parameters likewise.
pub const KEYS_PER_ROUTE: usize = 16;
/// Longest value of a header or query parameter in a match.
pub const VALUE_BYTES: usize = 4_096;
/// Longest regular expression.
pub const PATTERN_BYTES: usize = 1_024;
/// A compiled regular expression, in bytes.
pub const PATTERN_SIZE: usize = 64 << 10;
/// Regular expressions in a config.
pub const PATTERNS: usize = 1_000;
/// What it costs to compile one, in units of [`WORK`].
pub const PATTERN_WORK: usize = 50_000;
/// Networks that a route allows or denies, each.
pub const NETWORKS: usize = 1_024;
/// Origins, methods and header fields that scripts of other origins may use, each.
pub const CORS_WORDS: usize = 64;
/// Media types that a route compresses.
pub const MEDIA_TYPES: usize = 64;
/// Largest least size of an answer that is compressed.
pub const LEAST_COMPRESSED: u64 = 1 << 30;
/// Users of a route.
pub const USERS: usize = 64;
/// Error pages of a route.
pub const ERROR_PAGES: usize = 16;
/// Longest error page, and body that a route answers by itself.
pub const PAGE_BYTES: usize = 16 << 10;
/// Groups that a replacement refers to.
pub const GROUPS: usize = 16;
/// Header fields that a route removes, sets or adds, each.
pub const EDITS: usize = 32;
/// Longest name of a header, cookie or query parameter.
pub const KEY_NAME_BYTES: usize = 256;
/// Names that a backend's certificate may be valid for, in one pool.
pub const EXPECTED_NAMES: usize = 32;
/// Longest text of a pool's certificate authorities.
pub const AUTHORITY_BYTES: usize = 64 << 10;
/// Largest weight of a backend or a target.
pub const WEIGHT: u16 = u16::MAX;
/// Largest limit of requests in flight.
pub const IN_FLIGHT: u32 = 1_000_000;
/// Most places in the queue of a pool.
pub const QUEUE: u32 = 100_000;
/// Most requests in a rate.
pub const RATE: u32 = 1_000_000_000;
/// Longest time that a rate may take to bring a burst back.
pub const LONGEST_BURST: Duration = Duration::from_hours(30 * 24);
/// Highest tier of backups.
pub const BACKUP: u8 = 9;
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
/// Most requests that an ejection may ask for.
pub const OUTLIER_REQUESTS: u32 = 1_000_000;
/// Statuses and ranges of them in one health check.
pub const STATUS_RANGES: usize = 16;
/// Longest name of a service that a health check asks for.
pub const SERVICE_BYTES: usize = 256;
/// Longest text that a health check looks for.
pub const PROBE_BODY_BYTES: usize = 1_024;

/// Operations in one transaction: as many as a config has resources.
pub const OPERATIONS: usize = POOLS + ROUTES + POLICIES;
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

/// Shortest lease of a session.
pub const SHORTEST_LEASE: Duration = Duration::from_secs(2);
/// Lease of a session that asks for none.
pub const LEASE: Duration = Duration::from_secs(12);
/// Longest lease of a session.
pub const LONGEST_LEASE: Duration = Duration::from_hours(1);
/// Longest lock-delay.
pub const LOCK_DELAY: Duration = Duration::from_mins(1);
/// Longest wait for a lock.
pub const LOCK_WAIT: Duration = Duration::from_hours(24);
/// Sessions at a time.
pub const SESSIONS: usize = 10_000;
/// Locks that are held or waited for, or that a lock-delay keeps, at a time.
pub const LOCKS: usize = 10_000;
/// Locks that nobody claims and whose newest token is still known.
pub const FREE_LOCKS: usize = 10_000;
/// Locks that one session holds or waits for.
pub const LOCKS_PER_SESSION: usize = 100;
/// Claims on all locks together, held and waiting.
pub const CLAIMS: usize = 20_000;
/// Largest content of a lock.
pub const CONTENT_BYTES: usize = 1_024;
/// Events of sessions and locks that are kept to be told, beside those of the newest slot.
pub const LOCK_EVENTS: usize = 10_000;
/// Deadlines that end by one command.
pub const SUBJECTS: usize = 1_000;
