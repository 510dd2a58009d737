//! HTTP/2 from clients: by an ordinary client, by the letter of frames, and by those who mean no good.

mod answers;
mod asked;
pub(super) mod backend;
mod blocks;
mod client;
mod closed;
mod draining;
mod edges;
mod floods;
mod grpc;
mod in_step;
mod messages;
mod policies;
pub(super) mod raw;
mod ruled;
mod rules;
mod served;
mod traces;
pub(super) mod trouble;
mod troubled;
mod tunnels;
