use super::super::super::block::{CONTINUATIONS, MALFORMED};
use super::super::super::sieve::Share;
use super::*;

const CANCEL: [u8; 4] = [0, 0, 0, 8];
const STREAM_CLOSED: [u8; 4] = [0, 0, 0, 5];

/// Fields of a request: `:method: GET` and `:path: /`, from the static table.
const GET: &[u8] = &[0x82, 0x84];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, payload);
    bytes
}

/// An intake behind the preface and the settings, which has read these frames.
fn behind(frames: &[Vec<u8>]) -> Intake {
    let mut intake = Intake::new(Instant::now());
    let first = [
        &[0; PREFACE],
        &frame(SETTINGS, 0, 0, &[])[..],
        &frames.concat(),
    ]
    .concat();
    assert_eq!(all(&mut intake, &first), Ok(first));
    intake.settle();
    intake
}

/// What goes on of these bytes, which come at once.
fn all(intake: &mut Intake, bytes: &[u8]) -> Result<Vec<u8>, Offence> {
    let (mut left, mut passed) = (bytes.to_vec(), Vec::new());
    loop {
        let share = intake.read(&mut left)?;
        passed.extend_from_slice(&left[..share.passed]);
        left.drain(..share.done);
        if share.passed == share.done {
            assert_eq!(left, [0; 0], "something is held back");
            return Ok(passed);
        }
        passed.append(&mut intake.instead);
    }
}

#[test]
fn frames_that_are_looked_at_are_held_back_until_they_are_whole() {
    let request = [
        frame(HEADERS, END_STREAM, 1, &GET[..1]),
        frame(CONTINUATION, 0, 1, &[]),
        frame(CONTINUATION, END_HEADERS, 1, &GET[1..]),
    ]
    .concat();
    for (bytes, from) in [
        (frame(HEADERS, END_HEADERS, 1, GET), 0),
        (request, 0),
        (frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), 0),
        (frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 64, 0]), 0),
        (frame(PING, 0, 0, &[0; 8]), HEAD),
        (frame(0xFA, 0, 0, &[0; 30]), HEAD),
    ] {
        let mut intake = behind(&[]);
        assert_eq!(intake.begun(false), None);
        for end in 0..bytes.len() {
            let share = behind(&[]).read(&mut bytes[..end].to_vec());
            let passed = if from == 0 || end < from { 0 } else { end };
            let expected = Share {
                passed,
                done: passed,
            };
            assert_eq!(share, Ok(expected), "{end} of {bytes:?}");
        }
        assert_eq!(intake.begun(true), Some(1));
        let whole = match bytes[KIND] {
            // Of several frames, one is made.
            HEADERS => frame(HEADERS, bytes[KIND + 1] | END_HEADERS, 1, GET),
            _ => bytes.clone(),
        };
        assert_eq!(all(&mut intake, &bytes), Ok(whole));
    }
}

#[test]
fn trailers_wait_until_their_stream_may_have_been_refused() {
    let mut intake = behind(&[]);
    let (head, trailers) = (
        frame(HEADERS, END_HEADERS, 1, GET),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'a', 0]),
    );
    let mut both = [&head[..], &trailers].concat();
    let share = intake.read(&mut both).unwrap();
    assert_eq!((share.done, intake.waits), (head.len(), true));
    intake.settle();
    assert_eq!(all(&mut intake, &trailers), Ok(trailers));
    assert!(!intake.waits);
}

#[test]
fn settings_are_waited_for() {
    let mut intake = Intake::new(Instant::now());
    assert_eq!(intake.read(&mut [0; PREFACE]).unwrap().passed, PREFACE);
    assert_eq!(intake.begun(false), Some(0));
    let mut ping = frame(PING, 0, 0, &[0; 8]);
    assert_eq!(intake.read(&mut ping), Err(Offence::NoSettings));
    let mut settings = frame(SETTINGS, 0, 0, &[]);
    assert_eq!(intake.read(&mut settings).unwrap().passed, HEAD);
    assert_eq!(intake.begun(false), None);
}

#[test]
fn empty_data_of_open_streams_is_hidden_from_h2() {
    for (stream, flags, length, hidden) in [
        (1, 0, 0, true),
        (1, END_STREAM, 0, false),
        (1, 0, 1, false),
        (3, 0, 0, false),
        (0, 0, 0, false),
    ] {
        let mut intake = behind(&[frame(HEADERS, END_HEADERS, 1, GET)]);
        let mut expected = frame(DATA, flags, stream, &vec![7; length]);
        let passed = all(&mut intake, &expected);
        if hidden {
            expected[KIND] = NO_KIND;
        }
        assert_eq!(passed, Ok(expected), "{stream} {flags} {length}");
    }
}

#[test]
fn padding_alone_is_hidden_from_h2_and_given_back() {
    let mut intake = behind(&[frame(HEADERS, END_HEADERS, 1, GET)]);
    let mut alone = frame(DATA, PADDED, 1, &[2, 0, 0]);
    let beside = frame(DATA, PADDED, 1, &[1, 7, 0]);
    assert_eq!(all(&mut intake, &beside), Ok(beside));
    assert_eq!(intake.own, [0; 0]);
    let passed = all(&mut intake, &alone);
    alone[KIND] = NO_KIND;
    assert_eq!(passed, Ok(alone));
    let update = |stream| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 3]);
    intake.pay();
    assert_eq!(intake.own, [update(1), update(0)].concat());
}

#[test]
fn what_comes_behind_the_end_of_a_stream_is_answered_from_here() {
    let over = || [frame(HEADERS, END_HEADERS | END_STREAM, 1, GET)];
    let reset = frame(RST_STREAM, 0, 1, &CANCEL);
    let answer = frame(RST_STREAM, 0, 1, &STREAM_CLOSED);
    let mut intake = behind(&over());
    let mut hidden = frame(DATA, 0, 1, b"data");
    let passed = all(&mut intake, &hidden);
    hidden[KIND] = NO_KIND;
    assert_eq!(passed, Ok([&reset[..], &hidden].concat()));
    // And only once.
    assert_eq!(all(&mut intake, &frame(DATA, 0, 1, b"data")), Ok(hidden));
    let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 8]);
    intake.pay();
    assert_eq!(intake.own, [&answer[..], &update].concat());

    let mut intake = behind(&over());
    let again = || frame(HEADERS, END_HEADERS, 1, GET);
    let malformed = frame(HEADERS, END_HEADERS, 1, MALFORMED);
    for _ in 0..2 {
        let refused = [&malformed[..], &reset].concat();
        assert_eq!(all(&mut intake, &again()), Ok(refused));
    }
    assert_eq!(intake.own, answer);
    let provoked = format!("{:?}", intake.meter);
    let once_more = frame(RST_STREAM, 0, 1, &[0, 0, 0, 1]);
    intake.sent(Head::read(&once_more).unwrap(), 1);
    assert_eq!(format!("{:?}", intake.meter), provoked, "it counts once");

    let mut intake = behind(&over());
    let answered = frame(HEADERS, END_STREAM, 1, &[]);
    intake.sent(Head::read(&answered).unwrap(), 0);
    let mut late = frame(DATA, 0, 1, b"data");
    assert_eq!(intake.read(&mut late), Err(Offence::StreamClosed));
}

#[test]
fn data_of_streams_that_are_closed_is_passed_over_and_given_back() {
    let ends = END_HEADERS | END_STREAM;
    let reset = Head::read(&frame(RST_STREAM, 0, 1, &CANCEL)).unwrap();
    let mut intake = behind(&[frame(HEADERS, END_HEADERS, 1, GET)]);
    intake.sent(reset, 2);
    let mut late = frame(DATA, END_STREAM, 1, b"data");
    let passed = all(&mut intake, &late);
    late[KIND] = NO_KIND;
    assert_eq!(passed, Ok(late));
    assert!(intake.own.is_empty() && intake.has_own());
    intake.pay();
    assert_eq!(intake.own, frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 4]));

    let mut intake = behind(&[frame(HEADERS, ends, 5, GET)]);
    let mut left_out = frame(DATA, 0, 3, b"data");
    let passed = all(&mut intake, &left_out);
    left_out[KIND] = NO_KIND;
    let reset = frame(RST_STREAM, 0, 3, &CANCEL);
    assert_eq!(passed, Ok([&reset[..], &left_out].concat()));
    assert_eq!(intake.own, frame(RST_STREAM, 0, 3, &STREAM_CLOSED));
}

#[test]
fn frames_for_a_client_that_reads_none_are_bounded() {
    let mut intake = behind(&[frame(HEADERS, END_HEADERS | END_STREAM, 0x1_0001, GET)]);
    let data = |n: usize| frame(DATA, 0, 2 * n as u32 + 1, b"data");
    let many = (0..UNREAD).find_map(|n| all(&mut intake, &data(n)).err());
    assert_eq!(many, Some(Offence::ResetFlood));
    assert!(intake.own.len() < 2 * UNREAD);

    let mut intake = behind(&[frame(HEADERS, END_HEADERS, 1, GET)]);
    let reset = Head::read(&frame(RST_STREAM, 0, 1, &CANCEL)).unwrap();
    intake.sent(reset, 8);
    let data = frame(DATA, 0, 1, &[0; MOST]);
    intake.own = vec![0; UNREAD + 1];
    let much = (0..100).find_map(|_| {
        intake.pay();
        all(&mut intake, &data).err()
    });
    assert_eq!(much, Some(Offence::Window));
    assert_eq!(intake.own.len(), UNREAD + 1);
}

#[test]
fn a_window_that_is_opened_by_nothing_and_a_stream_on_itself_are_answered_from_here() {
    const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];
    let on_itself = |stream: u32| {
        let payload = [&stream.to_be_bytes()[..], &[0]].concat();
        frame(PRIORITY, 0, stream, &payload)
    };
    let nothing = |stream| frame(WINDOW_UPDATE, 0, stream, &[0x80, 0, 0, 0]);
    let kinds: [&dyn Fn(u32) -> Vec<u8>; 2] = [&on_itself, &nothing];
    for (n, kind) in kinds.into_iter().enumerate() {
        let mut intake = behind(&[
            frame(HEADERS, END_HEADERS, 0x101, GET),
            frame(HEADERS, END_HEADERS | END_STREAM, 0x105, GET),
        ]);
        for stream in [0x101, 0x105] {
            let reset = frame(RST_STREAM, 0, stream, &CANCEL);
            assert_eq!(all(&mut intake, &kind(stream)), Ok(reset));
            assert_eq!(intake.own, frame(RST_STREAM, 0, stream, &PROTOCOL_ERROR));
            intake.own.clear();
        }
        // Closed, and left out.
        for stream in [0x101, 0x103] {
            let mut passed_over = kind(stream);
            passed_over[KIND] = NO_KIND;
            assert_eq!(all(&mut intake, &kind(stream)), Ok(passed_over));
        }
        assert_eq!(all(&mut intake, &kind(0)), Ok(kind(0)));
        assert_eq!(intake.own, [0; 0]);
        // Of those that are not open yet the crate must not hear that they were reset.
        for stream in [2, 0x107] {
            let (passed, told) = match n {
                0 => (vec![], frame(RST_STREAM, 0, stream, &PROTOCOL_ERROR)),
                _ => (kind(stream), vec![]),
            };
            assert_eq!(all(&mut intake, &kind(stream)), Ok(passed));
            assert_eq!(std::mem::take(&mut intake.own), told);
        }
    }
}

#[test]
fn a_malformed_block_goes_on_as_one_that_resets_its_stream() {
    let ends = END_HEADERS | END_STREAM;
    // The one field is remembered, the other is not.
    let remembered = [0x44, 1, b'/'];
    let block = [&remembered[..], &[0x04, 2, b'/', b'#']].concat();
    let malformed = |block: &[u8]| frame(HEADERS, ends, 1, &[block, MALFORMED].concat());
    let padded = [&[2][..], &block, &[0; 2]].concat();
    let on_itself = [&[0x80, 0, 0, 1, 9], GET, &remembered].concat();
    let in_pieces = |at: usize| {
        [
            frame(HEADERS, END_STREAM, 1, &block[..at]),
            frame(CONTINUATION, END_HEADERS, 1, &block[at..]),
        ]
        .concat()
    };
    for bytes in [
        frame(HEADERS, ends, 1, &block),
        frame(HEADERS, ends | PADDED, 1, &padded),
        frame(HEADERS, ends | WITH_PRIORITY, 1, &on_itself),
        in_pieces(2),
        in_pieces(3),
    ] {
        let mut intake = behind(&[]);
        assert_eq!(all(&mut intake, &bytes), Ok(malformed(&remembered)));
        assert_eq!((intake.malformed(), intake.malformed()), (1, 0));
    }
    let mut intake = behind(&[frame(HEADERS, END_HEADERS, 1, GET)]);
    let trailers = all(&mut intake, &frame(HEADERS, ends, 1, &[0x82]));
    assert_eq!(trailers, Ok(malformed(&[])));
}

#[test]
fn no_frame_of_a_malformed_block_ends_between_two_fields_but_the_last() {
    // Fields of 64 bytes each, so that many a frame would end with one; then `connection`.
    let field = [&[0x40, 1, b'a', 60][..], &[b'v'; 60]].concat();
    let count = 3 * MOST / field.len();
    let block = [&field.repeat(count)[..], MALFORMED].concat();
    let mut frames = Vec::new();
    block::write(&mut frames, true, 1, &block);
    let passed = all(&mut behind(&[]), &frames).unwrap();
    let (mut rest, mut at, mut lengths) = (&passed[..], 0, Vec::new());
    while let Some(head) = Head::read(rest) {
        lengths.push(head.length);
        at += head.length;
        rest = &rest[HEAD + head.length..];
        assert!(rest.is_empty() || at % field.len() != 0, "{at}");
        assert_eq!(head.has(END_HEADERS), rest.is_empty());
    }
    assert_eq!(
        (at, &lengths[..3]),
        (block.len(), &[MOST - 1, MOST, MOST][..])
    );
}

#[test]
fn a_block_is_put_together_from_small_frames_and_bounded() {
    let mut some = frame(HEADERS, END_STREAM, 1, GET);
    for _ in 0..CONTINUATIONS {
        some.extend(frame(CONTINUATION, 0, 1, &[]));
    }
    let last = frame(CONTINUATION, END_HEADERS, 1, &[]);
    let whole = [&some[..], &last].concat();
    let one = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    assert_eq!(all(&mut behind(&[]), &whole), Ok(one));
    for (more, offence) in [
        (frame(CONTINUATION, 0, 1, &[]), Offence::FrameFlood),
        (frame(CONTINUATION, END_HEADERS, 3, &[]), Offence::Malformed),
        (frame(PING, 0, 0, &[0; 8]), Offence::Malformed),
        (
            frame(CONTINUATION, 0, 1, &[0; MOST + 1]),
            Offence::FrameSize,
        ),
        (
            frame(CONTINUATION, END_HEADERS, 1, &[0x80]),
            Offence::Undecodable,
        ),
    ] {
        let bytes = [&some[..], &more].concat();
        assert_eq!(all(&mut behind(&[]), &bytes), Err(offence));
    }
    let mut large = frame(HEADERS, END_STREAM, 1, &[0; MOST]);
    for _ in 1..BLOCK / MOST {
        large.extend(frame(CONTINUATION, 0, 1, &[0; MOST]));
    }
    assert_eq!(behind(&[]).read(&mut large.clone()).unwrap().done, 0);
    large.extend(frame(CONTINUATION, 0, 1, &[0]));
    assert_eq!(behind(&[]).read(&mut large), Err(Offence::FrameFlood));
    for (flags, payload, offence) in [
        (PADDED, &[2, 0][..], Offence::Malformed),
        (PADDED, &[], Offence::FrameSize),
        (WITH_PRIORITY, &[0; 4], Offence::FrameSize),
        (PADDED | WITH_PRIORITY, &[0; 5], Offence::FrameSize),
    ] {
        let bytes = frame(HEADERS, END_HEADERS | flags, 1, payload);
        assert_eq!(all(&mut behind(&[]), &bytes), Err(offence));
    }
}
