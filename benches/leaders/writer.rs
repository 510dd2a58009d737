//! A client that writes without a pause, and when it was answered.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use synod::client::{Call, Client};
use tokio::task::JoinHandle;

use crate::nodes::{COUNT, address};

pub(crate) struct Writer {
    acknowledged: Rc<RefCell<Vec<Instant>>>,
    task: JoinHandle<()>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    /// At every node but this one, for it is about to die or to be busy handing over.
    pub(crate) fn start(but: usize) -> Self {
        let nodes = (0..COUNT).filter(|node| *node != but).map(address);
        let client = Client::new(nodes, Duration::from_secs(5)).expect("addresses");
        let acknowledged = Rc::<RefCell<Vec<Instant>>>::default();
        let seen = acknowledged.clone();
        let task = tokio::task::spawn_local(async move {
            let body = json!({"name": "written"});
            loop {
                let call = Call::new(Method::PUT, "/v1/pools/written").json(body.clone());
                if client.call(call).await.is_ok() {
                    seen.borrow_mut().push(Instant::now());
                }
            }
        });
        Self { acknowledged, task }
    }

    /// Waits for so many acknowledgements after a time.
    pub(crate) async fn wait_for(&self, count: usize, since: Instant) {
        let after = || {
            let seen = self.acknowledged.borrow();
            seen.iter().rev().take_while(|at| **at > since).count()
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while after() < count {
            assert!(Instant::now() < deadline, "no write is acknowledged");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The longest that none came since then.
    pub(crate) fn longest_pause(&self, since: Instant) -> Duration {
        let seen = self.acknowledged.borrow();
        let later = seen.iter().filter(|at| **at > since);
        let (longest, _) = later.fold((Duration::ZERO, since), |(longest, last), at| {
            (longest.max(*at - last), *at)
        });
        longest
    }
}
