//! What is known of the streams of a connection to a backend: how far their answers are.

use std::collections::VecDeque;

use super::super::frame::{DATA, END_STREAM, HEADERS, Head, RST_STREAM};

/// Streams that are remembered when both sides have ended: as many as may be under way, and some more.
const ENDED: usize = 128;

/// How far the answer on a stream is when a frame of the backend comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The head of the answer is to come, or another one.
    Head,
    /// What follows that.
    Body,
    /// The answer has ended, and the request goes on.
    Answered,
    /// Both have ended.
    Ended,
    /// Either side has reset the stream, or it has ended too long ago.
    Past,
    /// Nobody has asked.
    Unasked,
}

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The last one that was opened.
    last: u32,
    /// Those that are not closed, in order: no more than the backend takes at a time.
    open: Vec<Open>,
    /// Those that have ended, the last few.
    ended: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    stream: u32,
    stage: Stage,
    /// Whether the request has ended.
    asked: bool,
}

impl Streams {
    fn find(&self, stream: u32) -> Result<usize, usize> {
        self.open.binary_search_by_key(&stream, |open| open.stream)
    }

    pub(super) fn stage(&self, stream: u32) -> Stage {
        match self.find(stream) {
            Ok(at) => self.open[at].stage,
            Err(_) if self.ended.contains(&stream) => Stage::Ended,
            Err(_) if stream % 2 == 1 && stream <= self.last => Stage::Past,
            Err(_) => Stage::Unasked,
        }
    }

    /// Follows a frame of this side.
    pub(super) fn sent(&mut self, head: Head) {
        let stream = head.stream;
        match head.kind {
            HEADERS if stream > self.last => self.open(stream, head.has(END_STREAM)),
            DATA | HEADERS if head.has(END_STREAM) => {
                let Ok(at) = self.find(stream) else { return };
                self.open[at].asked = true;
                if self.open[at].stage == Stage::Answered {
                    self.retire(at);
                }
            }
            RST_STREAM => self.close(stream),
            _ => {}
        }
    }

    /// A block has come that is good. It may answer a request of which nobody has told yet that it was sent: a write
    /// over TLS, of which parts have gone, has ended when all of it has.
    pub(super) fn heard(&mut self, stream: u32) {
        if stream % 2 == 1 && self.stage(stream) == Stage::Unasked {
            self.open(stream, false);
        }
    }

    fn open(&mut self, stream: u32, asked: bool) {
        self.last = stream;
        self.open.push(Open {
            stream,
            stage: Stage::Head,
            asked,
        });
    }

    /// The head of the answer has come.
    pub(super) fn begin(&mut self, stream: u32) {
        if let Ok(at) = self.find(stream) {
            self.open[at].stage = Stage::Body;
        }
    }

    /// The answer has ended.
    pub(super) fn end(&mut self, stream: u32) {
        if let Ok(at) = self.find(stream) {
            match self.open[at].asked {
                true => self.retire(at),
                false => self.open[at].stage = Stage::Answered,
            }
        }
    }

    fn retire(&mut self, at: usize) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(self.open.remove(at).stream);
    }

    /// Either side resets it.
    pub(super) fn close(&mut self, stream: u32) {
        match self.find(stream) {
            Ok(at) => drop(self.open.remove(at)),
            Err(_) => self.ended.retain(|ended| *ended != stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(streams: &mut Streams, kind: u8, flags: u8, stream: u32) {
        streams.sent(Head {
            length: 9,
            kind,
            flags,
            stream,
        });
    }

    #[test]
    fn a_stream_is_open_until_both_sides_have_ended_or_one_has_reset_it() {
        let mut streams = Streams::default();
        for stream in [1, 3, 5, 7] {
            assert_eq!(streams.stage(stream), Stage::Unasked);
            sent(&mut streams, HEADERS, 0, stream);
            assert_eq!(streams.stage(stream), Stage::Head);
            streams.begin(stream);
            assert_eq!(streams.stage(stream), Stage::Body);
        }
        streams.end(1);
        assert_eq!(streams.stage(1), Stage::Answered);
        sent(&mut streams, DATA, 0, 1);
        assert_eq!(streams.stage(1), Stage::Answered);
        sent(&mut streams, DATA, END_STREAM, 1);
        // As trailers.
        sent(&mut streams, HEADERS, END_STREAM, 3);
        assert_eq!(streams.stage(3), Stage::Body);
        streams.end(3);
        streams.close(5);
        sent(&mut streams, RST_STREAM, 0, 7);
        for (stream, stage) in [
            (1, Stage::Ended),
            (3, Stage::Ended),
            (5, Stage::Past),
            (7, Stage::Past),
        ] {
            assert_eq!(streams.stage(stream), stage, "{stream}");
        }
        sent(&mut streams, HEADERS, END_STREAM, 11);
        for (stream, stage) in [
            (9, Stage::Past),
            (10, Stage::Unasked),
            (11, Stage::Head),
            (13, Stage::Unasked),
            (0, Stage::Unasked),
        ] {
            assert_eq!(streams.stage(stream), stage, "{stream}");
        }
        streams.end(11);
        assert_eq!(streams.stage(11), Stage::Ended);
        streams.close(11);
        assert_eq!(streams.stage(11), Stage::Past);
        assert!(streams.open.is_empty());
    }

    #[test]
    fn an_answer_may_be_heard_of_before_its_request() {
        let mut streams = Streams::default();
        // Nobody may push: 2 is none of ours.
        for (stream, stage) in [(1, Stage::Head), (2, Stage::Unasked), (3, Stage::Head)] {
            streams.heard(stream);
            assert_eq!(streams.stage(stream), stage, "{stream}");
            streams.begin(stream);
        }
        sent(&mut streams, HEADERS, END_STREAM, 1);
        sent(&mut streams, HEADERS, 0, 3);
        for (stream, stage) in [(1, Stage::Ended), (3, Stage::Answered)] {
            assert_eq!(streams.stage(stream), Stage::Body, "{stream}");
            streams.end(stream);
            assert_eq!(streams.stage(stream), stage, "{stream}");
        }
    }

    #[test]
    fn the_last_few_that_have_ended_are_remembered() {
        let mut streams = Streams::default();
        for n in 0..=ENDED as u32 {
            sent(&mut streams, HEADERS, END_STREAM, 2 * n + 1);
            streams.end(2 * n + 1);
        }
        assert_eq!(streams.stage(1), Stage::Past);
        assert_eq!(streams.stage(3), Stage::Ended);
        assert_eq!((streams.ended.len(), streams.open.len()), (ENDED, 0));
    }
}
