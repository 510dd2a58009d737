//! What happened, as a running hash; printed when asked for.

use std::cell::RefCell;
use std::fmt::{self, Write};

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what a panic on this thread said.
pub(crate) fn remember(panic: String) {
    PANIC.with_borrow_mut(|kept| *kept = panic);
}

/// What the last panic on this thread said.
pub(crate) fn remembered() -> String {
    PANIC.take()
}

/// The trace of one seed.
pub(crate) struct Trace {
    /// None where nobody compares it: most of a seed's time would go into the words of its trace.
    hash: Option<u64>,
    printed: bool,
}

/// What a trace is for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traced {
    pub(crate) printed: bool,
    pub(crate) hashed: bool,
}

impl Trace {
    pub(crate) fn new(Traced { printed, hashed }: Traced) -> Self {
        Trace {
            hash: hashed.then_some(0xcbf2_9ce4_8422_2325),
            printed,
        }
    }

    /// Notes an event at a time in microseconds.
    pub(crate) fn note(&mut self, now: u64, event: fmt::Arguments<'_>) {
        if let Some(hash) = &mut self.hash {
            // Formatting into a hasher cannot fail.
            let _ = write!(Hasher(hash), "{now} {event}");
        }
        if self.printed {
            println!("{:>10.3} {event}", now as f64 / 1000.0);
        }
    }

    /// Prints what follows from what is noted.
    pub(crate) fn show(&self, now: u64, event: fmt::Arguments<'_>) {
        if self.printed {
            println!("{:>10.3} {event}", now as f64 / 1000.0);
        }
    }

    /// Of all that was noted, where it is hashed.
    pub(crate) fn hash(&self) -> Option<u64> {
        self.hash
    }
}

struct Hasher<'a>(&'a mut u64);

impl Write for Hasher<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
