//! The Date field of the answers the proxy makes itself, formatted once a second.

use std::cell::RefCell;
use std::time::SystemTime;

/// The date as of the last refresh.
#[derive(Debug)]
pub(crate) struct HttpDate(RefCell<String>);

impl Default for HttpDate {
    fn default() -> Self {
        Self(RefCell::new(httpdate::fmt_http_date(SystemTime::now())))
    }
}

impl HttpDate {
    pub(crate) fn refresh(&self) {
        *self.0.borrow_mut() = httpdate::fmt_http_date(SystemTime::now());
    }

    /// Shows the date to `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&str) -> R) -> R {
        f(&self.0.borrow())
    }
}
