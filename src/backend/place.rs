//! Where a backend is reached now: a name has addresses that come and go.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::config::Address;

/// What to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(&'a str),
}

/// The addresses of a name, as they were last told.
#[derive(Debug)]
pub(super) struct Resolved {
    told: watch::Sender<Told>,
    turn: AtomicUsize,
}

/// What lookups have told.
#[derive(Debug, Default)]
struct Told {
    /// None until the first answer, and never none again.
    addresses: Arc<[IpAddr]>,
    /// Whether a lookup has failed while there was none.
    failed: bool,
}

impl Resolved {
    /// Of `address`, if it is a name.
    pub(super) fn of(address: &Address) -> Option<Self> {
        matches!(address, Address::Name { .. }).then(|| Self {
            told: watch::Sender::default(),
            turn: AtomicUsize::new(0),
        })
    }

    pub(super) fn set(&self, addresses: Arc<[IpAddr]>) {
        self.told.send_modify(|told| match addresses.is_empty() {
            // The last answer is better than none.
            true => told.failed = told.addresses.is_empty(),
            false => (told.addresses, told.failed) = (addresses, false),
        });
    }

    pub(super) fn addresses(&self) -> Arc<[IpAddr]> {
        self.told.borrow().addresses.clone()
    }

    /// The next one in turn, once a lookup has ended; `None` while all have failed.
    pub(super) async fn next(&self) -> Option<IpAddr> {
        let mut told = self.told.subscribe();
        let asked = told.wait_for(|told| told.failed || !told.addresses.is_empty());
        // The sender is in `self`, so the wait does not fail.
        let addresses = asked.await.map(|told| told.addresses.clone()).ok()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(addresses.len())?;
        addresses.get(turn).copied()
    }
}
