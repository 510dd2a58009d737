//! The consensus core: deterministic, no IO, opaque commands.
