use proptest::prelude::*;

use super::super::super::block::{CONTINUATIONS, MALFORMED};
use super::super::super::frame;
use super::super::super::sieve::Share;
use super::*;

/// `:status: 200` and `:status: 103`.
const OK: &[u8] = &[0x88];
const HINTS: &[u8] = b"\x08\x03103";
const ENDS: u8 = END_HEADERS | END_STREAM;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, payload);
    bytes
}

/// What has the h2 crate reset this stream.
fn refusal(flags: u8, stream: u32, remembered: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &[remembered, MALFORMED].concat())
}

impl Answers {
    fn ask(&mut self, flags: u8, stream: u32) {
        let (length, kind) = (9, HEADERS);
        let head = Head {
            length,
            kind,
            flags,
            stream,
        };
        self.sent(head, 0);
    }
}

/// Asked on the first streams, of whose requests those of 1, 5 and 9 have ended.
fn asked() -> Answers {
    let mut answers = Answers::default();
    for stream in [1, 3, 5, 7, 9] {
        let ended = if stream % 4 == 1 { END_STREAM } else { 0 };
        answers.ask(END_HEADERS | ended, stream);
    }
    answers
}

/// What goes on of these bytes, which come at once.
fn all(answers: &mut Answers, bytes: &[u8]) -> Vec<u8> {
    let (mut left, mut passed) = (bytes.to_vec(), Vec::new());
    loop {
        let Ok(share) = answers.read(&mut left);
        passed.extend_from_slice(&left[..share.passed]);
        left.drain(..share.done);
        if share.passed == share.done {
            assert_eq!(left, [0; 0], "something is held back");
            return passed;
        }
        passed.append(&mut answers.instead);
    }
}

#[test]
fn what_keeps_the_rules_goes_on_where_it_lies() {
    let bytes = [
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, HINTS),
        frame(HEADERS, END_HEADERS, 1, OK),
        frame(DATA, 0, 1, b"part"),
        frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]),
        frame(DATA, END_STREAM, 1, b"part"),
        frame(HEADERS, END_HEADERS, 3, OK),
        frame(HEADERS, ENDS, 3, &[0x90]),
        frame(HEADERS, ENDS, 5, OK),
        frame(HEADERS, END_HEADERS, 7, OK),
        frame(RST_STREAM, 0, 7, &[0; 4]),
        frame(PING, 0, 0, &[0; 8]),
        frame(GOAWAY, 0, 0, &[0; 20]),
        frame(0xFA, 0xFF, 9, &[0; 30]),
    ]
    .concat();
    let mut answers = asked();
    let mut read = bytes.clone();
    let whole = Share {
        passed: bytes.len(),
        done: bytes.len(),
    };
    assert_eq!(answers.read(&mut read), Ok(whole));
    assert_eq!(read, bytes);
    let stages = [1, 3, 5, 7, 9].map(|stream| answers.streams.stage(stream));
    let (ended, answered) = (Stage::Ended, Stage::Answered);
    assert_eq!(stages, [ended, answered, ended, Stage::Past, Stage::Head]);
    // In any pieces nothing is held back but what is looked at as a whole.
    for size in 1..bytes.len() {
        let (mut answers, mut left, mut passed) = (asked(), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            left.extend_from_slice(piece);
            let Ok(share) = answers.read(&mut left);
            assert_eq!(share.passed, share.done);
            passed.extend(left.drain(..share.done));
            assert!(left.len() < HEAD + HINTS.len(), "{size}: {left:?}");
        }
        assert_eq!(passed, bytes, "{size}");
    }
}

#[test]
fn a_malformed_block_goes_on_as_one_that_resets_its_stream() {
    let remembered = b"\x40\x01a\x01b";
    let behind = |fields: &[u8]| [&remembered[..], fields].concat();
    let on_itself = [&[0x80, 0, 0, 1, 9], OK, remembered].concat();
    let bad = behind(b"\x00\x01a\x01\0");
    let in_pieces = [
        frame(HEADERS, 0, 1, &bad[..7]),
        frame(CONTINUATION, END_HEADERS, 1, &bad[7..]),
    ]
    .concat();
    for bytes in [
        frame(HEADERS, END_HEADERS, 1, &bad),
        frame(HEADERS, END_HEADERS, 1, &[OK, &bad].concat()),
        frame(HEADERS, END_HEADERS, 1, &behind(b"\x08\x0299")),
        frame(HEADERS, END_HEADERS, 1, &behind(OK)),
        frame(HEADERS, END_HEADERS, 1, &[OK, OK, remembered].concat()),
        frame(HEADERS, END_HEADERS, 1, &[OK, &[0x84], remembered].concat()),
        frame(HEADERS, END_HEADERS, 1, &[HINTS, &bad].concat()),
        frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, &on_itself),
        in_pieces,
    ] {
        let refused = refusal(END_HEADERS, 1, remembered);
        let mut answers = asked();
        assert_eq!(all(&mut answers, &bytes), refused, "{bytes:x?}");
        assert_eq!(answers.streams.stage(1), Stage::Past);
        let data = frame(DATA, END_STREAM, 1, b"late");
        assert_eq!(all(&mut answers, &data), data, "the crate passes it over");
    }
}

#[test]
fn trailers_have_no_status_and_an_interim_head_ends_nothing() {
    let mut answers = asked();
    let head = frame(HEADERS, END_HEADERS, 1, OK);
    assert_eq!(all(&mut answers, &head), head);
    let trailers = frame(HEADERS, ENDS, 1, OK);
    assert_eq!(all(&mut answers, &trailers), refusal(ENDS, 1, &[]));
    let interim = frame(HEADERS, ENDS, 3, HINTS);
    assert_eq!(all(&mut answers, &interim), refusal(ENDS, 3, &[]));
}

#[test]
fn what_comes_in_front_of_the_head_or_behind_the_end_resets_its_stream() {
    let data = |stream| frame(DATA, END_STREAM, stream, b"data");
    let mut answers = asked();
    let refused = |stream| [refusal(END_HEADERS, stream, &[]), data(stream)].concat();
    assert_eq!(all(&mut answers, &data(1)), refused(1), "in front of it");
    for stream in [3, 5] {
        let head = frame(HEADERS, ENDS, stream, OK);
        assert_eq!(all(&mut answers, &head), head);
        assert_eq!(all(&mut answers, &data(stream)), refused(stream), "behind");
        assert_eq!(all(&mut answers, &data(stream)), data(stream), "once");
    }
    for stream in [7, 9] {
        let head = frame(HEADERS, ENDS, stream, OK);
        assert_eq!(all(&mut answers, &head), head);
        assert_eq!(all(&mut answers, &head), refusal(ENDS, stream, &[]));
    }
}

#[test]
fn a_window_that_is_opened_by_nothing_resets_its_stream_or_is_passed_over() {
    let nothing = |stream| frame(WINDOW_UPDATE, 0, stream, &[0x80, 0, 0, 0]);
    let mut answers = asked();
    assert_eq!(all(&mut answers, &nothing(3)), refusal(END_HEADERS, 3, &[]));
    let mut passed_over = nothing(3);
    passed_over[KIND] = NO_KIND;
    assert_eq!(all(&mut answers, &nothing(3)), passed_over);
    for stream in [0, 2, 11] {
        assert_eq!(all(&mut answers, &nothing(stream)), nothing(stream));
    }
}

#[test]
fn what_is_late_for_a_stream_that_was_reset_goes_on_unless_it_is_malformed() {
    let mut answers = asked();
    let reset = Head {
        length: 4,
        kind: RST_STREAM,
        flags: 0,
        stream: 1,
    };
    answers.sent(reset, 8);
    let late = [
        frame(HEADERS, END_HEADERS, 1, OK),
        frame(DATA, 0, 1, b"late"),
        frame(HEADERS, ENDS, 1, &[0x90]),
    ]
    .concat();
    assert_eq!(all(&mut answers, &late), late);
    let bad = frame(HEADERS, ENDS, 1, b"\x00\x01A\x01b");
    assert_eq!(all(&mut answers, &bad), refusal(ENDS, 1, &[]));
}

#[test]
fn what_ends_the_connection_is_left_to_the_crate_with_all_behind_it() {
    let bad = frame(HEADERS, END_HEADERS, 3, b"\x00\x01A\x01b");
    let mut endless = frame(HEADERS, 0, 1, OK);
    for _ in 0..=CONTINUATIONS {
        endless.extend(frame(CONTINUATION, 0, 1, &[]));
    }
    let large = [
        frame(HEADERS, 0, 1, &[0x90; MOST]),
        frame(CONTINUATION, 0, 1, &[0x90; MOST]).repeat(6),
    ]
    .concat();
    for bytes in [
        frame(HEADERS, END_HEADERS, 1, &[0x80]),
        frame(HEADERS, END_HEADERS, 1, &[0xBE]),
        frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0x88]),
        [frame(HEADERS, 0, 1, OK), frame(PING, 0, 0, &[0; 8])].concat(),
        [frame(HEADERS, 0, 1, OK), frame(CONTINUATION, 4, 3, &[])].concat(),
        frame(CONTINUATION, END_HEADERS, 1, OK),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]),
        frame(DATA, 0, 1, &[0; MOST + 1]),
        frame(HEADERS, END_HEADERS, 1, &[0x90; MOST + 1]),
        frame(HEADERS, END_HEADERS, 2, b"\x00\x01A\x01b"),
        frame(HEADERS, END_HEADERS, 11, b"\x00\x01A\x01b"),
        endless,
        large,
    ] {
        let bytes = [&bytes[..], &bad].concat();
        assert_eq!(all(&mut asked(), &bytes), bytes);
    }
    // No room for what tells the padding (6.1).
    let short = frame(DATA, PADDED, 1, &[]);
    let bytes = [frame(HEADERS, END_HEADERS, 1, OK), short].concat();
    assert_eq!(all(&mut asked(), &bytes), bytes);
    let of_no_stream = frame(DATA, 0, 0, b"data");
    let bytes = [&of_no_stream[..], &bad].concat();
    let expected = [&of_no_stream[..], &refusal(END_HEADERS, 3, &[])].concat();
    assert_eq!(all(&mut asked(), &bytes), expected);
}

#[test]
fn a_block_in_small_frames_goes_on_in_few() {
    let mut bytes = frame(HEADERS, END_STREAM, 1, OK);
    bytes.extend(frame(CONTINUATION, 0, 1, &[0x90]).repeat(20));
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
    let block = [OK, &[0x90; 20]].concat();
    let one = frame(HEADERS, ENDS, 1, &block);
    assert_eq!(all(&mut asked(), &bytes), one);
}

#[test]
fn what_the_crate_resets_by_itself_wears_the_connection_as_what_it_is_made_to_reset_does() {
    let reset = |stream| Head {
        length: 4,
        kind: RST_STREAM,
        flags: 0,
        stream,
    };
    let bad = |stream| frame(HEADERS, ENDS, stream, b"\x00\x01A\x01b");
    let mut answers = Answers::default();
    for stream in (1..10_000).step_by(2) {
        answers.ask(ENDS, stream);
        answers.sent(reset(stream), 8);
    }
    assert!(!answers.is_worn(), "who cancels is no reason");
    let mut count = 0;
    while !answers.is_worn() {
        let stream = 10_001 + 2 * count;
        answers.ask(ENDS, stream);
        all(&mut answers, &bad(stream));
        answers.sent(reset(stream), 1);
        count += 1;
    }
    assert_eq!(count, 801);
    let mut late = Answers::default();
    late.ask(ENDS, 1);
    for _ in 0..=count {
        all(&mut late, &bad(1));
    }
    assert!(late.is_worn());
}

/// Frames that a backend may send, right or wrong.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let block = prop::sample::select(vec![
        OK,
        HINTS,
        b"\x88\x40\x01a\x01b",
        b"\x88\x40\x01a\x01\0",
        b"\x40\x01A\x01b",
        b"\xbe",
        b"\x88\xbe",
        b"\x48\x0299",
        b"\x90",
        b"\x80",
    ]);
    let stream = prop::sample::select(vec![0_u32, 1, 1, 3, 3, 5, 7, 9, 11]);
    let flags = prop::sample::select(vec![END_HEADERS, ENDS, END_HEADERS, ENDS, 0, ENDS | PADDED]);
    let headers = (stream.clone(), flags, block.clone())
        .prop_map(|(stream, flags, block)| frame(HEADERS, flags, stream, block));
    let kinds = vec![DATA, DATA, CONTINUATION, RST_STREAM, WINDOW_UPDATE, PING];
    let other = (stream, prop::sample::select(kinds), 0..2_u8, 0..9_usize)
        .prop_map(|(stream, kind, flags, length)| frame(kind, flags, stream, &[0; 9][..length]));
    prop::collection::vec(prop_oneof![headers, other], 1..12)
}

proptest! {
    #[test]
    fn what_goes_on_is_the_same_in_any_pieces(frames in frames(), size in 1..40_usize) {
        let bytes = frames.concat();
        let go_on = |size: usize| {
            let (mut answers, mut left, mut passed) = (asked(), Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                left.extend_from_slice(piece);
                loop {
                    let Ok(share) = answers.read(&mut left);
                    passed.extend(left.drain(..share.done).take(share.passed));
                    if share.passed == share.done {
                        break;
                    }
                    passed.append(&mut answers.instead);
                }
            }
            (passed, left)
        };
        prop_assert_eq!(go_on(size), go_on(bytes.len()));
    }
}
