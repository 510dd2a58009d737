//! What is known of a connection's streams: which of their requests go on, and which have ended.

use std::collections::VecDeque;

use super::super::frame::{DATA, END_STREAM, HEADERS, Head, RST_STREAM};

/// Streams that are followed to the end of their requests: more than may be open.
const UNENDED: usize = 256;

/// Streams that are remembered when they have ended, or were reset: as many as may be under way, and some more.
const ENDED: usize = 128;

/// What a frame is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It opens it, with HEADERS.
    Start,
    /// The request goes on, and it is more of that.
    Within,
    /// This side has reset the stream, and the client may not have known.
    Gone,
    /// The client has ended the request, or reset it; the answer is still under way, or was.
    Over,
    /// Both sides have ended.
    Ended,
    /// It was never there, or too long ago.
    Nowhere,
}

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The last one that was opened.
    last: u32,
    /// Those whose request has not ended, and which neither side has reset.
    unended: VecDeque<u32>,
    /// Those whose request has ended.
    ended: Recent,
    /// Those that the client has reset.
    taken_back: Recent,
    /// Those whose answer has ended.
    answered: Recent,
    /// Those that this side has reset.
    gone: Recent,
}

impl Streams {
    /// Whether the client has opened it, or left it out.
    pub(super) fn is_past(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream <= self.last
    }

    /// The first one that was not opened yet.
    pub(super) fn next(&self) -> u32 {
        self.last + 1
    }

    /// Whether its request has not ended, and this side has not reset it.
    pub(super) fn goes_on(&self, stream: u32) -> bool {
        self.unended.contains(&stream)
    }

    /// Whether it was opened and is not closed, as far as is remembered.
    pub(super) fn is_open(&self, stream: u32) -> bool {
        let is_answered = self.answered.contains(stream) || self.taken_back.contains(stream);
        let waits = self.ended.contains(stream) && !is_answered && !self.gone.contains(stream);
        waits || self.goes_on(stream)
    }

    /// Follows a frame of the client, and tells what DATA or HEADERS are to their stream.
    pub(super) fn came(&mut self, head: Head) -> Place {
        let stream = head.stream;
        let place = match head.kind {
            HEADERS if stream > self.last && stream % 2 == 1 => Place::Start,
            RST_STREAM => Place::Nowhere,
            _ if self.goes_on(stream) => Place::Within,
            _ if self.gone.contains(stream) => Place::Gone,
            _ if self.taken_back.contains(stream) => Place::Over,
            _ if !self.ended.contains(stream) => Place::Nowhere,
            _ if self.answered.contains(stream) => Place::Ended,
            _ => Place::Over,
        };
        self.follow(head, place);
        place
    }

    fn follow(&mut self, head: Head, place: Place) {
        let stream = head.stream;
        if head.kind == RST_STREAM {
            self.unended.retain(|unended| *unended != stream);
            self.taken_back.add(stream);
            return;
        }
        match (place, head.has(END_STREAM)) {
            (Place::Start, true) => self.ended.add(stream),
            (Place::Start, false) => {
                if self.unended.len() == UNENDED {
                    self.unended.pop_front();
                }
                self.unended.push_back(stream);
            }
            (Place::Within | Place::Gone | Place::Nowhere, true) => {
                self.unended.retain(|unended| *unended != stream);
                self.ended.add(stream);
            }
            _ => {}
        }
        if place == Place::Start {
            self.last = stream;
        }
    }

    /// Whether this side has reset it.
    pub(super) fn is_gone(&self, stream: u32) -> bool {
        self.gone.contains(stream)
    }

    /// Follows a frame of this side.
    pub(super) fn sent(&mut self, head: Head) {
        match head.kind {
            DATA | HEADERS if head.has(END_STREAM) => self.answered.add(head.stream),
            RST_STREAM => self.reset(head.stream),
            _ => {}
        }
    }

    /// This side resets it.
    pub(super) fn reset(&mut self, stream: u32) {
        self.unended.retain(|unended| *unended != stream);
        if !self.gone.contains(stream) {
            self.gone.add(stream);
        }
    }
}

/// The last few streams of a kind.
#[derive(Debug, Default)]
struct Recent {
    streams: Vec<u32>,
    next: usize,
}

impl Recent {
    fn add(&mut self, stream: u32) {
        match self.streams.get_mut(self.next) {
            Some(oldest) => *oldest = stream,
            None => self.streams.push(stream),
        }
        self.next = (self.next + 1) % ENDED;
    }

    fn contains(&self, stream: u32) -> bool {
        self.streams.contains(&stream)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::frame::END_HEADERS;
    use super::*;

    fn head(kind: u8, flags: u8, stream: u32) -> Head {
        Head {
            length: 9,
            kind,
            flags,
            stream,
        }
    }

    #[test]
    fn a_frame_has_its_place_by_what_came_before() {
        let mut streams = Streams::default();
        for (kind, flags, stream, place) in [
            (DATA, 0, 1, Place::Nowhere),
            (HEADERS, END_HEADERS, 1, Place::Start),
            (DATA, 0, 1, Place::Within),
            (HEADERS, END_STREAM, 1, Place::Within),
            (DATA, 0, 1, Place::Over),
            (HEADERS, END_STREAM, 5, Place::Start),
            (HEADERS, END_STREAM, 5, Place::Over),
            (HEADERS, END_STREAM, 3, Place::Nowhere),
            (HEADERS, 0, 7, Place::Start),
            (RST_STREAM, 0, 7, Place::Nowhere),
            (DATA, 0, 7, Place::Over),
            (HEADERS, 0, 8, Place::Nowhere),
            (HEADERS, 0, 0, Place::Nowhere),
        ] {
            assert_eq!(
                streams.came(head(kind, flags, stream)),
                place,
                "{kind} {stream}"
            );
        }
        streams.sent(head(HEADERS, END_HEADERS, 1));
        assert_eq!(streams.came(head(DATA, 0, 1)), Place::Over);
        streams.sent(head(DATA, END_STREAM, 1));
        assert_eq!(streams.came(head(DATA, 0, 1)), Place::Ended);
        // What was reset may have been on its way.
        streams.came(head(RST_STREAM, 0, 1));
        assert_eq!(streams.came(head(DATA, 0, 1)), Place::Over);
    }

    #[test]
    fn a_stream_is_open_until_both_sides_have_ended_or_one_has_reset_it() {
        let mut streams = Streams::default();
        for stream in [1, 3, 5, 7] {
            assert!(!streams.is_open(stream));
            streams.came(head(HEADERS, 0, stream));
            assert!(streams.is_open(stream));
        }
        streams.came(head(DATA, END_STREAM, 1));
        assert!(streams.is_open(1));
        streams.sent(head(DATA, END_STREAM, 1));
        streams.sent(head(DATA, END_STREAM, 3));
        assert!(streams.is_open(3));
        streams.came(head(DATA, END_STREAM, 3));
        streams.came(head(RST_STREAM, 0, 5));
        streams.sent(head(RST_STREAM, 0, 7));
        for stream in [1, 3, 5, 7] {
            assert!(!streams.is_open(stream), "{stream}");
        }
    }

    #[test]
    fn what_was_on_its_way_when_this_side_reset_its_stream_is_known_as_such() {
        let mut streams = Streams::default();
        streams.came(head(HEADERS, 0, 1));
        streams.sent(head(RST_STREAM, 0, 1));
        assert_eq!(streams.came(head(DATA, 0, 1)), Place::Gone);
        assert_eq!(streams.came(head(HEADERS, END_STREAM, 1)), Place::Gone);
        assert_eq!(streams.came(head(DATA, 0, 1)), Place::Gone);
    }

    #[test]
    fn a_request_that_goes_on_is_remembered_however_many_are_reset_beside_it() {
        let mut streams = Streams::default();
        streams.came(head(HEADERS, 0, 1));
        for n in 1..=UNENDED as u32 {
            streams.came(head(HEADERS, 0, 2 * n + 1));
            streams.sent(head(RST_STREAM, 0, 2 * n + 1));
        }
        assert_eq!(streams.came(head(DATA, 0, 1)), Place::Within);
        assert_eq!(streams.unended, [1]);
        let last = 2 * UNENDED as u32 + 1;
        assert_eq!(streams.came(head(DATA, 0, last)), Place::Gone);
        assert_eq!(
            streams.came(head(DATA, 0, 3)),
            Place::Nowhere,
            "too long ago"
        );
    }

    #[test]
    fn a_request_that_goes_on_is_remembered_however_many_end_beside_it() {
        let mut streams = Streams::default();
        streams.came(head(HEADERS, 0, 1));
        for n in 1..=2 * ENDED as u32 {
            streams.came(head(HEADERS, END_STREAM, 2 * n + 1));
            streams.sent(head(DATA, END_STREAM, 2 * n + 1));
        }
        assert_eq!(streams.came(head(DATA, 0, 1)), Place::Within);
        assert_eq!(
            streams.came(head(DATA, 0, 3)),
            Place::Nowhere,
            "too long ago"
        );
        assert_eq!(
            streams.came(head(DATA, 0, 4 * ENDED as u32 + 1)),
            Place::Ended
        );
        assert_eq!(streams.ended.streams.len(), ENDED);
    }
}
