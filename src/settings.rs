//! This node's own file: addresses, data directory, timers. Never replicated.
