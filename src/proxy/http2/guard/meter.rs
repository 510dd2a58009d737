//! The frames of one connection, counted as their bytes come, and the rules kept on them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Offence;
use super::blocks::Blocks;

/// Frames that a client has free within [`WINDOW`]: pings, settings, priorities, unknown and empty ones.
const IDLE_FRAMES: u32 = 1_000;

/// As many bytes written to it earn the client another one: it may ping to measure what it receives.
const EARNS: u64 = 1_024;

/// As many bytes written to it earn the client a WINDOW_UPDATE: no frame is much shorter, and there are those who
/// acknowledge each for its stream and for the connection.
const EARNS_UPDATE: u64 = 8;

/// WINDOW_UPDATEs that a request earns: clients open windows with their streams.
const UPDATES: u64 = 2;

/// Resets within [`WINDOW`] that came [soon](SOON), beyond which they may not be more than half of the requests.
const RESETS: u32 = 200;

/// A reset that takes longer than three times this is no part of a flood: as long its stream took one of the few places that
/// its connection has, as any request does. Those that give up on what is late, all at once if need be, are honest.
const SOON: Duration = Duration::from_millis(50);

/// Streams that are followed to the end of their requests: more than may be open. Some of them the proxy has reset.
const UNENDED: usize = 256;

const WINDOW: Duration = Duration::from_secs(10);

/// The preface in front of the first frame.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

const FRAME_HEAD: usize = 9;

/// What HEADERS are to their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// They open it.
    Start,
    /// Its request goes on, and they are its trailers.
    End,
    /// It was never there, or has ended: that is for the h2 crate.
    Nowhere,
}

/// Counts the frames of one connection as their bytes come.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes to pass over: the preface, or the rest of a frame.
    skip: usize,
    head: [u8; FRAME_HEAD],
    /// Bytes of `head` that have come.
    has: usize,
    /// Whether any frame has come.
    greeted: bool,
    /// Whether the last head goes on in a CONTINUATION.
    continues: bool,
    /// Frames that have come, but for CONTINUATION.
    frames: u64,
    /// When what is read now came.
    now: Instant,
    began: Instant,
    idle: u32,
    /// Bytes written that have not earned a frame yet.
    earned: u64,
    /// The same of WINDOW_UPDATEs.
    earned_updates: u64,
    /// The last stream that was opened.
    stream: u32,
    requests: u32,
    /// Those that came soon.
    resets: u32,
    /// Streams that were opened and not reset.
    standing: usize,
    /// When `young` last moved on.
    turned: Instant,
    /// The streams before this one were opened [`SOON`] ago at least; those from it on, less than three times as long ago.
    young: u32,
    /// Those from this one on were opened after `turned`.
    newest: u32,
    blocks: Blocks,
    /// What the last HEADERS is to its stream.
    place: Place,
    /// Streams whose request has not ended, as far as is known.
    unended: VecDeque<u32>,
    /// Streams whose request is malformed, as the h2 crate does not see.
    malformed: Vec<u32>,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE,
            head: [0; FRAME_HEAD],
            has: 0,
            greeted: false,
            continues: false,
            frames: 0,
            now,
            began: now,
            idle: 0,
            earned: 0,
            earned_updates: 0,
            stream: 0,
            requests: 0,
            resets: 0,
            standing: 0,
            turned: now,
            young: 0,
            newest: 0,
            blocks: Blocks::default(),
            place: Place::Nowhere,
            unended: VecDeque::new(),
            malformed: Vec::new(),
        }
    }

    /// Tells when what is read from here on came.
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = now;
        let passed = now.saturating_duration_since(self.turned);
        if passed < SOON {
            return;
        }
        let next = self.stream.saturating_add(1);
        self.young = match passed < 2 * SOON {
            true => self.newest,
            // It ticks with every read, so nothing was opened in the second half.
            false => next,
        };
        (self.turned, self.newest) = (now, next);
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        // No more than a window's worth is saved up.
        let most = EARNS * u64::from(IDLE_FRAMES);
        self.earned = (self.earned + bytes as u64).min(most);
        self.earn_updates(bytes as u64);
    }

    fn earn_updates(&mut self, bytes: u64) {
        // Whoever saves up more has them come as late as no client does.
        let most = EARNS_UPDATE * 100 * u64::from(IDLE_FRAMES);
        self.earned_updates = (self.earned_updates + bytes).min(most);
    }

    /// Of a frame's or a request's head that is not whole, or of SETTINGS that did not come yet, the number of frames
    /// ahead of it.
    pub(super) fn begun(&self) -> Option<u64> {
        let in_block = self.skip > 0 && matches!(self.head[3], HEADERS | CONTINUATION);
        let whole = self.greeted && self.has == 0 && !self.continues && !in_block;
        (!whole).then_some(self.frames)
    }

    /// Takes note that a stream was reset on this side for what its client sent: as cheap for it as to reset it itself.
    pub(super) fn reset(&mut self, streams: u32) {
        self.resets = self.resets.saturating_add(streams);
    }

    /// The streams opened since the last read whose request is malformed.
    pub(super) fn malformed(&mut self) -> &mut Vec<u32> {
        &mut self.malformed
    }

    /// Counts what is in `bytes`, which are on their way to the h2 crate.
    ///
    /// Empty DATA that ends nothing becomes a frame of no known kind, which is passed over: h2 ends a connection for the
    /// hundred and first in its whole life, and patience is measured here. One whose head comes in pieces is let be.
    ///
    /// Trailers that are malformed, as h2 does not see, lose the flag that they end their stream, which has h2 reset it.
    /// If their head is gone already, they end the connection.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Option<Offence> {
        let mut at = 0;
        // Of the last HEADERS, if they came with these bytes.
        let mut flags_at = None;
        while at < bytes.len() {
            let mut found = None;
            if self.skip > 0 {
                let n = self.skip.min(bytes.len() - at);
                self.skip -= n;
                found = self.blocks.take(&mut bytes[at..at + n], self.skip == 0);
                at += n;
            } else {
                let n = (FRAME_HEAD - self.has).min(bytes.len() - at);
                self.head[self.has..self.has + n].copy_from_slice(&bytes[at..at + n]);
                self.has += n;
                at += n;
                if self.has == FRAME_HEAD {
                    self.has = 0;
                    if let Some(offence) = self.frame() {
                        return Some(offence);
                    }
                    if n == FRAME_HEAD && self.asks_nothing_of_a_stream() {
                        bytes[at - FRAME_HEAD + KIND] = NO_KIND;
                    }
                    if self.head[KIND] == HEADERS {
                        // The stream's number, of four bytes, is between.
                        flags_at = at.checked_sub(FRAME_HEAD - FLAGS);
                    }
                    if self.skip == 0 {
                        found = self.blocks.take(&mut [], true);
                    }
                }
            }
            match found {
                Some(found) if (found.fragment || found.invalid) && self.place == Place::Start => {
                    self.malformed.push(self.stream)
                }
                Some(found) if (found.pseudo || found.invalid) && self.place == Place::End => {
                    match flags_at {
                        Some(flags) => {
                            bytes[flags] &= !END_STREAM;
                            self.reset(1);
                        }
                        None => return Some(Offence::Malformed),
                    }
                }
                // What was mended passes nowhere unnoticed.
                Some(found) if found.invalid => return Some(Offence::Malformed),
                _ => {}
            }
        }
        None
    }

    /// Whether the frame whose head has come is DATA without data, on a stream that was opened. What it is on any other
    /// is for h2 to say.
    fn asks_nothing_of_a_stream(&self) -> bool {
        let [.., kind, flags, a, b, c, d] = self.head;
        let stream = u32::from_be_bytes([a, b, c, d]);
        (kind, flags, self.skip) == (DATA, 0, 0) && stream % 2 == 1 && stream <= self.stream
    }

    /// Follows what the frame is to its stream.
    fn follow(&mut self, kind: u8, flags: u8, stream: u32) {
        let ends = flags & END_STREAM != 0;
        let opens = kind == HEADERS && stream > self.stream;
        if kind == HEADERS {
            self.place = match self.unended.contains(&stream) {
                _ if opens => Place::Start,
                true => Place::End,
                false => Place::Nowhere,
            };
        }
        if opens && !ends {
            if self.unended.len() == UNENDED {
                self.unended.pop_front();
            }
            self.unended.push_back(stream);
        } else if kind == RST_STREAM || matches!(kind, DATA | HEADERS) && ends {
            self.unended.retain(|unended| *unended != stream);
        }
    }

    /// Counts the frame whose head has come.
    fn frame(&mut self) -> Option<Offence> {
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        let stream = u32::from_be_bytes(stream) & !(1 << 31);
        self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
        if !std::mem::replace(&mut self.greeted, true) && (kind, flags & 1) != (SETTINGS, 0) {
            return Some(Offence::NoSettings);
        }
        let size = match kind {
            PRIORITY => 5,
            RST_STREAM | WINDOW_UPDATE => 4,
            PING => 8,
            _ => self.skip,
        };
        if self.skip != size {
            return Some(Offence::FrameSize);
        }
        match kind {
            CONTINUATION => self.continues &= flags & END_HEADERS == 0,
            _ => {
                self.frames += 1;
                self.continues = kind == HEADERS && flags & END_HEADERS == 0;
            }
        }
        self.blocks.begin(kind, flags);
        self.follow(kind, flags, stream);
        let (empty, ends_stream) = (self.skip == 0, flags & 1 != 0);
        match kind {
            HEADERS if stream > self.stream => {
                self.stream = stream;
                self.requests = self.requests.saturating_add(1);
                self.standing = (self.standing + 1).min(UNENDED);
                self.earn_updates(UPDATES * EARNS_UPDATE);
            }
            // Trailers: no other request, or a reset of each would pass for half of them.
            HEADERS => {}
            RST_STREAM if stream >= self.young => {
                self.resets = self.resets.saturating_add(1);
                self.standing = self.standing.saturating_sub(1);
            }
            RST_STREAM if self.standing > 0 => self.standing -= 1,
            WINDOW_UPDATE if self.earned_updates >= EARNS_UPDATE => {
                self.earned_updates -= EARNS_UPDATE;
            }
            // Each is bounded by what the h2 crate, or the client's own window, lets it be.
            DATA if !empty || ends_stream => {}
            CONTINUATION if !empty => {}
            _ if self.earned >= EARNS => self.earned -= EARNS,
            _ => self.idle = self.idle.saturating_add(1),
        }
        let flood = if self.idle > IDLE_FRAMES {
            Offence::FrameFlood
        } else if self.resets > RESETS && self.resets > self.requests / 2 {
            Offence::ResetFlood
        } else {
            return None;
        };
        if self.now.saturating_duration_since(self.began) < WINDOW {
            return Some(flood);
        }
        (self.began, self.idle, self.requests, self.resets) = (self.now, 0, 0, 0);
        None
    }
}

/// Where a frame's head has its kind and its flags.
const KIND: usize = 3;
const FLAGS: usize = 4;

const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY_FLAG: u8 = 0x20;

/// What RFC 9113, 4.1, has a receiver ignore.
const NO_KIND: u8 = 0xFF;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        frame_of(1, kind, flags, length)
    }

    fn frame_of(stream: u32, kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.resize(FRAME_HEAD + length, 0);
        bytes
    }

    /// A meter behind the preface.
    fn meter() -> Meter {
        let mut meter = Meter::new(Instant::now());
        assert_eq!(meter.read(&mut [0; PREFACE]), None);
        assert_eq!(meter.read(&mut frame(SETTINGS, 0, 0)), None);
        meter.idle = 0;
        meter
    }

    #[test]
    fn frames_that_ask_for_nothing_are_a_flood_beyond_their_bound() {
        for (kind, flags, length) in [
            (PING, 0, 8),
            (PING, 1, 8),
            (SETTINGS, 0, 0),
            (DATA, 0, 0),
            (CONTINUATION, 0, 0),
            (PRIORITY, 0, 5),
            (WINDOW_UPDATE, 0, 4),
            (0xFA, 0, 300),
        ] {
            let (mut meter, frame) = (meter(), frame(kind, flags, length));
            for _ in 0..IDLE_FRAMES {
                assert_eq!(meter.read(&mut frame.clone()), None, "{kind}");
            }
            assert_eq!(
                meter.read(&mut frame.clone()),
                Some(Offence::FrameFlood),
                "{kind}"
            );
        }
    }

    #[test]
    fn work_is_no_flood_in_pieces_of_any_size() {
        let mut meter = meter();
        for n in 0..2 * IDLE_FRAMES {
            let mut bytes = frame_of(2 * n + 1, HEADERS, 4, 30);
            bytes.extend(frame(DATA, 0, 1));
            bytes.extend(frame(DATA, 1, 0));
            bytes.extend(frame(WINDOW_UPDATE, 0, 4));
            for piece in bytes.chunks_mut(7) {
                assert_eq!(meter.read(piece), None);
            }
        }
        assert_eq!(meter.requests, 2 * IDLE_FRAMES);
    }

    #[test]
    fn what_is_sent_to_a_client_earns_it_pings() {
        let mut meter = meter();
        for _ in 0..10 * IDLE_FRAMES {
            meter.wrote(EARNS as usize);
            assert_eq!(meter.read(&mut frame(PING, 0, 8)), None);
            for _ in 0..EARNS / EARNS_UPDATE {
                assert_eq!(meter.read(&mut frame(WINDOW_UPDATE, 0, 4)), None);
            }
        }
    }

    #[test]
    fn resets_are_a_flood_when_they_are_many_and_most() {
        let mut often = meter();
        for n in 0..RESETS {
            assert_eq!(often.read(&mut frame_of(2 * n + 1, HEADERS, 4, 30)), None);
            assert_eq!(often.read(&mut frame_of(2 * n + 1, HEADERS, 5, 9)), None);
            assert_eq!(often.read(&mut frame(RST_STREAM, 0, 4)), None);
        }
        assert_eq!(
            often.read(&mut frame(RST_STREAM, 0, 4)),
            Some(Offence::ResetFlood)
        );
        let mut seldom = meter();
        for n in 0..10 * RESETS {
            assert_eq!(seldom.read(&mut frame_of(2 * n + 1, HEADERS, 5, 30)), None);
            if n % 3 == 0 {
                assert_eq!(seldom.read(&mut frame(RST_STREAM, 0, 4)), None);
            }
        }
    }

    #[test]
    fn whoever_gives_up_what_is_late_is_no_flood_however_much_it_is() {
        let mut meter = meter();
        let mut now = meter.now;
        for round in 0..10 {
            let streams = || (0..100).map(|n| 200 * round + 2 * n + 1);
            for stream in streams() {
                let mut request = frame_of(stream, HEADERS, 5, 30);
                assert_eq!(meter.read(&mut request), None);
            }
            now += 2 * SOON;
            meter.tick(now);
            for stream in streams() {
                let mut reset = frame_of(stream, RST_STREAM, 0, 4);
                assert_eq!(meter.read(&mut reset), None, "{round}");
            }
        }
        assert_eq!(meter.idle, 0);
        for _ in 0..IDLE_FRAMES {
            let mut again = frame_of(1, RST_STREAM, 0, 4);
            assert_eq!(meter.read(&mut again), None);
        }
        let mut again = frame_of(1, RST_STREAM, 0, 4);
        assert_eq!(meter.read(&mut again), Some(Offence::FrameFlood));
    }

    #[test]
    fn what_was_opened_just_now_is_young_whenever_the_clock_turns() {
        for early in 0..=10 {
            let mut meter = meter();
            let mut now = meter.now + early * SOON / 10;
            meter.tick(now);
            assert_eq!(meter.read(&mut frame(HEADERS, 5, 30)), None);
            for _ in 0..9 {
                now += SOON / 10;
                meter.tick(now);
            }
            assert_eq!(meter.read(&mut frame(RST_STREAM, 0, 4)), None);
            assert_eq!(meter.resets, 1, "{early}");
        }
    }

    #[test]
    fn a_new_window_forgets_the_old_one() {
        let mut meter = meter();
        meter.tick(meter.began + WINDOW);
        meter.idle = IDLE_FRAMES;
        assert_eq!(meter.read(&mut frame(PING, 0, 8)), None);
        assert_eq!(meter.idle, 0);
    }

    #[test]
    fn empty_data_of_open_streams_is_hidden_from_h2() {
        let mut meter = meter();
        assert_eq!(meter.read(&mut frame(HEADERS, 4, 30)), None);
        for (stream, flags, length, hidden) in [
            (1, 0, 0, true),
            (1, 1, 0, false),
            (1, 0, 1, false),
            (3, 0, 0, false),
            (0, 0, 0, false),
        ] {
            let mut bytes = frame_of(stream, DATA, flags, length);
            assert_eq!(meter.read(&mut bytes), None);
            let expected = if hidden { NO_KIND } else { DATA };
            assert_eq!(bytes[3], expected, "{stream} {flags} {length}");
        }
    }

    #[test]
    fn a_head_is_under_way_from_its_first_byte_to_its_last() {
        let mut meter = Meter::new(Instant::now());
        assert_eq!(meter.read(&mut [0; PREFACE]), None);
        assert_eq!(meter.begun(), Some(0), "no SETTINGS yet");
        assert_eq!(meter.read(&mut frame(SETTINGS, 0, 0)), None);
        assert_eq!(meter.begun(), None);
        for (bytes, begun) in [
            (frame(HEADERS, 0, 30), true),
            (frame(CONTINUATION, 0, 30), true),
            (frame(CONTINUATION, END_HEADERS, 30)[..20].to_vec(), true),
            (vec![0; 19], false),
            (frame(DATA, 0, 30)[..20].to_vec(), false),
            (vec![0; 19], false),
            (vec![0], true),
        ] {
            assert_eq!(meter.read(&mut bytes.clone()), None);
            assert_eq!(meter.begun().is_some(), begun, "{bytes:?}");
        }
    }

    #[test]
    fn malformed_trailers_do_not_end_their_stream_however_they_come() {
        let path = [4, 1, b'/'];
        let trailers = |flags| {
            let mut bytes = frame_of(1, HEADERS, flags, path.len());
            bytes[FRAME_HEAD..].copy_from_slice(&path);
            bytes
        };
        let whole = trailers(END_STREAM | END_HEADERS);
        let opened = || {
            let mut meter = meter();
            let mut request = frame_of(1, HEADERS, END_HEADERS, 1);
            request[FRAME_HEAD] = 0x82;
            assert_eq!(meter.read(&mut request), None);
            assert!(meter.malformed.is_empty());
            meter
        };
        for cut in 0..whole.len() {
            let (mut meter, mut bytes) = (opened(), whole.clone());
            let (first, second) = bytes.split_at_mut(cut);
            let offences = (meter.read(first), meter.read(second));
            match cut {
                // The flags are with what is told by them.
                0..=FLAGS => {
                    assert_eq!(offences, (None, None), "{cut}");
                    assert_eq!(bytes, trailers(END_HEADERS), "{cut}");
                }
                _ => assert_eq!(offences, (None, Some(Offence::Malformed)), "{cut}"),
            }
        }
        let mut pieces = trailers(END_STREAM);
        pieces.extend(frame(CONTINUATION, END_HEADERS, 0));
        assert_eq!(opened().read(&mut pieces), None);
        assert_eq!(pieces[FLAGS], 0);
    }

    #[test]
    fn a_request_whose_path_has_a_fragment_is_told_of_in_any_pieces() {
        let mut request = frame_of(7, HEADERS, PADDED | PRIORITY_FLAG, 1 + 5 + 3 + 2);
        request[FRAME_HEAD] = 2;
        request[FRAME_HEAD + 6..FRAME_HEAD + 9].copy_from_slice(&[4, 2, b'/']);
        let mut rest = frame_of(7, CONTINUATION, END_HEADERS, 1);
        rest[FRAME_HEAD] = b'#';
        request.extend(rest);
        for size in 1..=request.len() {
            let mut meter = meter();
            for piece in request.clone().chunks_mut(size) {
                assert_eq!(meter.read(piece), None);
            }
            assert_eq!(meter.malformed, [7], "{size}");
        }
    }
}
