//! The lock service's part of the state machine: sessions, and the locks they hold and wait for. Pure.
//!
//! A session lives until it is closed or a leader finds that nobody keeps it alive. A lock is there while somebody
//! holds it or waits for it, and a while longer, so that an old token is known for one. Who comes next is decided here,
//! in log order, and never by who asks again first. Time is not known here: every deadline ends by an [`Expiry`].

mod answer;
mod events;
mod events_image;
mod image;
mod lock;
mod operation;
mod table;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Refusal};
pub use events::{Events, Happened, LockEvent};
pub use lock::{Claim, Delay, Holder, Lock};
pub use operation::{Acquire, Expiry, Mode, Operation, SessionId, Subject, Term, Token};
pub use table::{Check, Locks, Session, Standing};

pub(super) use image::LocksImage;
