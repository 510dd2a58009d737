//! Copies of requests to another pool.

use serde::Serialize;

use crate::config::Name;

/// Where copies of a route's requests go. Nobody waits for them, and what is answered there is dropped. A copy is made
/// as soon as the body is there; a request whose head and body do not fit 16 KiB, or that asks to switch protocols, is
/// not copied, nor is one while 256 copies are under way to the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Its name; the pool is there, in every config that was applied.
    pub pool: Name,
    /// Of how many requests in a hundred. 100.
    pub percent: u32,
}
