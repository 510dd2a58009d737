//! Composition root: the only place that wires top-level parts.
