//! Exactly once: what became of each command, by its key, for as long as a retry may come.
