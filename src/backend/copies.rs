//! Copies of requests that are under way to a pool: nobody waits for them, so their number has to have a bound, and one
//! of its own for each pool, or one that hangs would take the places of all others.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::runtime::PoolRuntime;

/// Copies under way to one pool at a time.
const MOST: u32 = 256;

/// A copy under way, until it is dropped.
#[derive(Debug)]
pub struct Copying(Arc<PoolRuntime>);

impl PoolRuntime {
    /// Begins one; `None` if there are as many as may be.
    pub fn copy(self: &Arc<Self>) -> Option<Copying> {
        let more = |under_way| (under_way < MOST).then_some(under_way + 1);
        let begun = self.copies().fetch_update(Relaxed, Relaxed, more);
        begun.is_ok().then(|| Copying(self.clone()))
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.copies().fetch_sub(1, Relaxed);
    }
}
