//! The blocks of answers' heads: how they lie in frames, and what they take from the table of the connection.

use super::raw::*;
use super::rules::{joined, over_both};
use crate::proxy::tests::harness::*;

/// The stream of the next answer's head, and the pieces of its block: each follows the one before, and is no longer
/// than the client allows.
fn next_block(raw: &mut Raw, most: usize) -> (u32, Vec<Vec<u8>>) {
    loop {
        let (kind, mut flags, stream, payload) = raw.frame().expect("the connection goes on");
        assert!(payload.len() <= most && kind != CONTINUATION, "{kind}");
        if kind != HEADERS {
            continue;
        }
        let mut pieces = vec![payload];
        while flags & END_HEADERS == 0 {
            let (kind, more, of, payload) = raw.frame().expect("the block goes on");
            assert_eq!((kind, of), (CONTINUATION, stream), "nothing comes between");
            assert!(payload.len() <= most, "{}", payload.len());
            pieces.push(payload);
            flags = more;
        }
        return (stream, pieces);
    }
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, payload)
}

/// RFC 9113, 4.3 and 6.10.
#[test]
fn a_large_head_lies_in_frames_that_follow_each_other_and_are_no_longer_than_the_client_allows() {
    const SIZE: usize = 40_000;
    let fields: String = (0..SIZE / 1_000)
        .map(|n| format!("X-Field-{n}: {}\r\n", "~".repeat(1_000)))
        .collect();
    let backend = Scripted::always(format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhello"
    ));
    over_both(&backend, |_, connect| {
        for most in [16_384, 20_000, 1 << 20] {
            let mut raw = connect();
            let ping = frame(PING, 0, 0, [0; 8]);
            let asked = [1, 3, 5].map(|stream| joined(&[get(stream), ping.clone()]));
            raw.send(joined(&[setting(5, most), asked.concat()]));
            let mut answered = [1, 3, 5].map(|_| {
                let (stream, pieces) = next_block(&mut raw, most as usize);
                let size: usize = pieces.iter().map(Vec::len).sum();
                assert!(size > SIZE, "{size}");
                assert!(pieces.len() > SIZE / most as usize, "{most}");
                stream
            });
            answered.sort_unstable();
            assert_eq!(answered, [1, 3, 5]);
        }
    });
}

/// RFC 7541, 4.2: who has no table is told so, and given nothing by its place in one.
#[test]
fn a_client_without_a_table_is_given_nothing_from_one() {
    let backend = Scripted::always(
        "HTTP/1.1 200 OK\r\nX-Field: the same each time\r\nContent-Length: 0\r\n\r\n",
    );
    over_both(&backend, |_, connect| {
        for (size, from_the_table) in [(None, true), (Some(0), false)] {
            let mut raw = connect();
            raw.send(size.map_or_else(Vec::new, |size| setting(1, size)));
            let mut ask = |stream| {
                raw.send(get(stream));
                next_block(&mut raw, 16_384).1.concat()
            };
            let (first, second) = (ask(1), ask(3));
            assert_eq!(first[0] == 0x20, size == Some(0), "{first:x?}");
            assert_eq!(takes_from_the_table(&second), from_the_table, "{second:x?}");
        }
    });
}

/// Whether a block holds an index beyond the static table (RFC 7541, 6).
fn takes_from_the_table(mut block: &[u8]) -> bool {
    const LAST: usize = 61;
    let mut takes = false;
    while let Some(first) = block.first() {
        let (bits, strings) = match first {
            0x80.. => (7, 0),
            0x40.. => (6, 1),
            0x20.. => {
                number(&mut block, 5);
                continue;
            }
            _ => (4, 1),
        };
        let index = number(&mut block, bits);
        takes |= index > LAST;
        for _ in 0..strings + usize::from(strings > 0 && index == 0) {
            let length = number(&mut block, 7);
            block = &block[length..];
        }
    }
    takes
}

/// An integer whose first byte has so many bits of it (RFC 7541, 5.1).
fn number(block: &mut &[u8], bits: u32) -> usize {
    let mut next = || {
        let (first, rest) = block.split_first().unwrap();
        *block = rest;
        usize::from(*first)
    };
    let most = (1 << bits) - 1;
    let mut number = next() & most;
    if number == most {
        let mut shift = 0;
        loop {
            let byte = next();
            number += (byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
    }
    number
}
