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
    /// `None` until a lookup has ended; empty while all have failed, and never empty again.
    told: watch::Sender<Option<Arc<[IpAddr]>>>,
    turn: AtomicUsize,
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
        // The last answer is better than none.
        self.told.send_if_modified(|told| {
            let news = told.is_none() || !addresses.is_empty();
            if news {
                *told = Some(addresses);
            }
            news
        });
    }

    pub(super) fn addresses(&self) -> Arc<[IpAddr]> {
        self.told.borrow().clone().unwrap_or_default()
    }

    /// The next one in turn, once a lookup has ended; `None` while all have failed.
    pub(super) async fn next(&self) -> Option<IpAddr> {
        let mut told = self.told.subscribe();
        // The sender is in `self`, so the wait does not fail.
        let addresses = told.wait_for(Option::is_some).await.ok()?.clone()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(addresses.len())?;
        addresses.get(turn).copied()
    }
}
