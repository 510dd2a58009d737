//! The drain signal.
