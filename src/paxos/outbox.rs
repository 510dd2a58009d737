//! Collects the outputs of one input, in order.

use super::{Message, NodeId, Output, PersistId};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: Vec<Output>,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Sends what rests on nothing that is not durable yet.
    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.send_after(to, message, None);
    }

    pub(super) fn send_after(&mut self, to: NodeId, message: Message, after: Option<PersistId>) {
        self.outputs.push(Output::Send { to, message, after });
    }

    pub(super) fn into_outputs(self) -> Vec<Output> {
        self.outputs
    }
}
