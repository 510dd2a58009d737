//! The frames of one connection, counted: what asks for nothing, and what is asked for and taken back.

use std::time::{Duration, Instant};

use h2::Reason;

use super::super::STREAMS;
use super::super::frame::*;
use super::Offence;
use super::streams::Place;

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

/// A reset that takes longer than three times this is no part of a flood: as long its stream took one of the few places
/// that its connection has, as any request does. Those that give up on what is late, all at once if need be, are
/// honest.
const SOON: Duration = Duration::from_millis(50);

/// Frames that may have been on their way when this side reset their stream: so many small messages fit into its
/// window.
const LATE: u32 = 1_000;

/// Streams that are opened and not reset, as far as they are counted: more than may be open.
const STANDING: usize = 256;

const WINDOW: Duration = Duration::from_secs(10);

/// Counts the frames of one connection.
#[derive(Debug)]
pub(super) struct Meter {
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
    /// Those that were answered, or reset for a reason of this side.
    answered: u32,
    /// Those that came soon, whether there was something to take back or not.
    resets: u32,
    /// Resets of this side that the client gave reason for: as cheap for it as its own.
    provoked: u32,
    /// Whether the client knows how many streams may be open.
    knows_limit: bool,
    /// Frames that may come for streams that were reset.
    late: u32,
    /// Streams that were opened and not reset.
    standing: usize,
    /// When `young` last moved on.
    turned: Instant,
    /// The streams before this one were opened [`SOON`] ago at least; those from it on, less than three times as long
    /// ago.
    young: u32,
    /// Those from this one on were opened after `turned`.
    newest: u32,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            now,
            began: now,
            idle: 0,
            earned: 0,
            earned_updates: 0,
            stream: 0,
            requests: 0,
            answered: 0,
            resets: 0,
            provoked: 0,
            knows_limit: false,
            late: 0,
            standing: 0,
            turned: now,
            young: 0,
            newest: 0,
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

    /// Takes note that a stream was reset on this side for what its client sent.
    pub(super) fn provoke(&mut self) {
        self.provoked = self.provoked.saturating_add(1);
    }

    /// Takes note that this side reset a stream whose request goes on.
    pub(super) fn expect_late(&mut self) {
        self.late = (self.late + LATE).min(STREAMS * LATE);
    }

    /// Takes note of a frame that was sent to the client, of a reset with its code.
    pub(super) fn sent(&mut self, head: Head, code: u32) {
        match head.kind {
            DATA | HEADERS if head.has(END_STREAM) => {
                self.answered = self.answered.saturating_add(1)
            }
            RST_STREAM => match Reason::from(code) {
                Reason::PROTOCOL_ERROR | Reason::FLOW_CONTROL_ERROR => self.provoke(),
                // Behind an answer; and of streams that are long gone, whose data was on its way.
                Reason::NO_ERROR | Reason::STREAM_CLOSED => {}
                // Those that are opened before the limit can be known are no fault.
                Reason::REFUSED_STREAM if self.knows_limit => self.provoke(),
                _ => self.answered = self.answered.saturating_add(1),
            },
            _ => {}
        }
    }

    /// Counts a frame of the client. Those of one block are one.
    pub(super) fn came(&mut self, head: Head, place: Place) -> Result<(), Offence> {
        self.knows_limit |= head.kind == SETTINGS && head.has(ACK);
        match head.kind {
            HEADERS if place == Place::Start => {
                self.stream = head.stream;
                self.requests = self.requests.saturating_add(1);
                self.standing = (self.standing + 1).min(STANDING);
                self.earn_updates(UPDATES * EARNS_UPDATE);
            }
            DATA | HEADERS if place == Place::Gone && self.late > 0 => self.late -= 1,
            // Trailers: no other request, or a reset of each would pass for half of them.
            HEADERS if place != Place::Gone => {}
            // No stream is reset twice.
            RST_STREAM if head.stream >= self.young && self.standing > 0 => {
                self.resets = self.resets.saturating_add(1);
                self.standing -= 1;
            }
            RST_STREAM if self.standing > 0 => self.standing -= 1,
            WINDOW_UPDATE if self.earned_updates >= EARNS_UPDATE => {
                self.earned_updates -= EARNS_UPDATE;
            }
            // It is bounded by its stream's window, or ends it.
            DATA if place != Place::Gone && (head.length > 0 || head.has(END_STREAM)) => {}
            _ if self.earned >= EARNS => self.earned -= EARNS,
            _ => self.idle = self.idle.saturating_add(1),
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), Offence> {
        // Of requests that are answered nothing can be taken back.
        let unanswered = self.requests.saturating_sub(self.answered);
        let in_vain = self.resets.min(unanswered).saturating_add(self.provoked);
        let flood = if self.idle > IDLE_FRAMES {
            Offence::FrameFlood
        } else if in_vain > RESETS && in_vain > self.requests / 2 {
            Offence::ResetFlood
        } else {
            return Ok(());
        };
        if self.now.saturating_duration_since(self.began) < WINDOW {
            return Err(flood);
        }
        self.began = self.now;
        (self.idle, self.requests, self.answered) = (0, 0, 0);
        (self.resets, self.provoked) = (0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u8, flags: u8, stream: u32, length: usize) -> Head {
        Head {
            length,
            kind,
            flags,
            stream,
        }
    }

    fn meter() -> Meter {
        Meter::new(Instant::now())
    }

    impl Meter {
        fn asked(&mut self, stream: u32) {
            let request = head(HEADERS, END_HEADERS, stream, 30);
            assert_eq!(self.came(request, Place::Start), Ok(()));
        }

        fn reset(&mut self, stream: u32) -> Result<(), Offence> {
            self.came(head(RST_STREAM, 0, stream, 4), Place::Nowhere)
        }

        fn answer(&mut self, stream: u32) {
            self.sent(head(HEADERS, END_HEADERS, stream, 30), 0);
            self.sent(head(DATA, END_STREAM, stream, 30), 0);
        }
    }

    #[test]
    fn frames_that_ask_for_nothing_are_a_flood_beyond_their_bound() {
        for (kind, flags, length) in [
            (PING, 0, 8),
            (PING, ACK, 8),
            (SETTINGS, 0, 0),
            (DATA, 0, 0),
            (PRIORITY, 0, 5),
            (WINDOW_UPDATE, 0, 4),
            (0xFA, 0, 300),
        ] {
            let (mut meter, frame) = (meter(), head(kind, flags, 1, length));
            for _ in 0..IDLE_FRAMES {
                assert_eq!(meter.came(frame, Place::Within), Ok(()), "{kind}");
            }
            let flood = Err(Offence::FrameFlood);
            assert_eq!(meter.came(frame, Place::Within), flood, "{kind}");
        }
    }

    #[test]
    fn work_is_no_flood() {
        let mut meter = meter();
        for n in 0..2 * IDLE_FRAMES {
            meter.asked(2 * n + 1);
            for frame in [
                head(DATA, 0, 2 * n + 1, 1),
                head(DATA, END_STREAM, 2 * n + 1, 0),
                head(WINDOW_UPDATE, 0, 0, 4),
            ] {
                assert_eq!(meter.came(frame, Place::Within), Ok(()));
            }
        }
        assert_eq!(meter.requests, 2 * IDLE_FRAMES);
    }

    #[test]
    fn what_is_sent_to_a_client_earns_it_pings() {
        let mut meter = meter();
        for _ in 0..10 * IDLE_FRAMES {
            meter.wrote(EARNS as usize);
            let ping = head(PING, 0, 0, 8);
            assert_eq!(meter.came(ping, Place::Nowhere), Ok(()));
            for _ in 0..EARNS / EARNS_UPDATE {
                let update = head(WINDOW_UPDATE, 0, 0, 4);
                assert_eq!(meter.came(update, Place::Nowhere), Ok(()));
            }
        }
    }

    #[test]
    fn resets_are_a_flood_when_they_are_many_and_most() {
        let mut often = meter();
        for n in 0..RESETS {
            often.asked(2 * n + 1);
            let trailers = head(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, 9);
            assert_eq!(often.came(trailers, Place::Within), Ok(()));
            assert_eq!(often.reset(2 * n + 1), Ok(()));
        }
        often.asked(2 * RESETS + 1);
        assert_eq!(often.reset(2 * RESETS + 1), Err(Offence::ResetFlood));
        let mut seldom = meter();
        for n in 0..10 * RESETS {
            seldom.asked(2 * n + 1);
            if n % 3 == 0 {
                assert_eq!(seldom.reset(2 * n + 1), Ok(()));
            }
        }
    }

    #[test]
    fn what_is_answered_is_not_taken_back() {
        let mut meter = meter();
        for n in 0..10 * RESETS {
            meter.asked(2 * n + 1);
            meter.answer(2 * n + 1);
            assert_eq!(meter.reset(2 * n + 1), Ok(()));
        }
        for n in 0..RESETS {
            // Nor what was refused, or failed, here.
            meter.asked(2 * n + 1);
            meter.sent(
                head(RST_STREAM, 0, 2 * n + 1, 4),
                Reason::REFUSED_STREAM.into(),
            );
            meter.asked(2 * n + 1);
            meter.sent(
                head(RST_STREAM, 0, 2 * n + 1, 4),
                Reason::INTERNAL_ERROR.into(),
            );
        }
        for n in 0..RESETS {
            meter.asked(2 * n + 1);
            assert_eq!(meter.reset(2 * n + 1), Ok(()));
        }
    }

    #[test]
    fn resets_that_are_provoked_count_like_those_of_the_client() {
        for reason in [Reason::PROTOCOL_ERROR, Reason::FLOW_CONTROL_ERROR] {
            let mut meter = meter();
            for n in 0..RESETS {
                meter.asked(2 * n + 1);
                match n % 2 {
                    0 => meter.provoke(),
                    _ => meter.sent(head(RST_STREAM, 0, 2 * n + 1, 4), reason.into()),
                }
            }
            meter.asked(1);
            assert_eq!(meter.reset(2 * RESETS), Err(Offence::ResetFlood));
        }
        let mut meter = meter();
        let refused = Reason::REFUSED_STREAM.into();
        meter.sent(head(RST_STREAM, 0, 1, 4), refused);
        assert_eq!(meter.provoked, 0, "the limit may not be known");
        let known = meter.came(head(SETTINGS, ACK, 0, 0), Place::Nowhere);
        assert_eq!(known, Ok(()));
        meter.sent(head(RST_STREAM, 0, 1, 4), refused);
        assert_eq!(meter.provoked, 1);
        meter.provoked = 0;
        for reason in [Reason::NO_ERROR, Reason::STREAM_CLOSED, Reason::CANCEL] {
            meter.sent(head(RST_STREAM, 0, 1, 4), reason.into());
        }
        assert_eq!(meter.provoked, 0);
    }

    #[test]
    fn whoever_gives_up_what_is_late_is_no_flood_however_much_it_is() {
        let mut meter = meter();
        let mut now = meter.now;
        for round in 0..10 {
            let streams = || (0..100).map(|n| 200 * round + 2 * n + 1);
            streams().for_each(|stream| meter.asked(stream));
            now += 2 * SOON;
            meter.tick(now);
            for stream in streams() {
                assert_eq!(meter.reset(stream), Ok(()), "{round}");
            }
        }
        assert_eq!(meter.idle, 0);
        for _ in 0..IDLE_FRAMES {
            assert_eq!(meter.reset(1), Ok(()));
        }
        assert_eq!(meter.reset(1), Err(Offence::FrameFlood));
    }

    #[test]
    fn what_comes_for_streams_that_were_reset_is_a_flood_beyond_what_was_on_its_way() {
        let mut meter = meter();
        meter.expect_late();
        for frame in [head(DATA, 0, 1, 9), head(HEADERS, END_STREAM, 1, 9)] {
            for _ in 0..(LATE + IDLE_FRAMES) / 2 {
                assert_eq!(meter.came(frame, Place::Gone), Ok(()));
            }
        }
        let flood = meter.came(head(DATA, 0, 1, 9), Place::Gone);
        assert_eq!(flood, Err(Offence::FrameFlood));
    }

    #[test]
    fn no_stream_is_reset_twice() {
        let mut meter = meter();
        meter.asked(1);
        meter.answer(1);
        for _ in 0..=IDLE_FRAMES {
            assert_eq!(meter.reset(1), Ok(()));
        }
        assert_eq!(meter.reset(1), Err(Offence::FrameFlood));
    }

    #[test]
    fn what_was_opened_just_now_is_young_whenever_the_clock_turns() {
        for early in 0..=10 {
            let mut meter = meter();
            let mut now = meter.now + early * SOON / 10;
            meter.tick(now);
            meter.asked(1);
            for _ in 0..9 {
                now += SOON / 10;
                meter.tick(now);
            }
            assert_eq!(meter.reset(1), Ok(()));
            assert_eq!(meter.resets, 1, "{early}");
        }
    }

    #[test]
    fn a_new_window_forgets_the_old_one() {
        let mut meter = meter();
        meter.tick(meter.began + WINDOW);
        meter.idle = IDLE_FRAMES;
        let ping = head(PING, 0, 0, 8);
        assert_eq!(meter.came(ping, Place::Nowhere), Ok(()));
        assert_eq!(meter.idle, 0);
    }
}
