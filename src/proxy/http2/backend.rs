//! A connection to a backend, whose frames are read before the h2 crate sees them: what is malformed ends its own
//! stream, and not all those that share the connection.

mod answering;
mod answers;
mod streams;

pub(crate) use answering::Answering;
