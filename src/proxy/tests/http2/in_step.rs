//! The h2 crate's table of fields, and that of who reads the fields of a backend before it, whatever these are.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::raw::*;
use super::trouble::answering;
use crate::proxy::tests::harness::*;
use crate::wire::http2::hpack::{Fields, Found, Side};

/// Answers, each of them perhaps malformed: fewer than a connection is left for.
const ROUNDS: usize = 400;

/// Names, values, and the index of what is remembered last.
const NAMES: [&str; 9] = [
    "a", "b-c", "Evil", "ev il", ":status", ":path", ":evil", "te", "",
];
const VALUES: [&str; 9] = [
    "", "1", "99", "200", "1000", "trailers", "a\0", "\r\n", "\u{e9}",
];
const NEWEST: u8 = 62;

/// A field: one that is remembered or not, with any name or that of another, or another as it is.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![0x40_u8, 0x40, 0x40, 0x00, 0x10]);
    let name = prop::sample::select(NAMES.to_vec());
    let value = (
        prop::sample::select(VALUES.to_vec()),
        prop_oneof![4 => Just(0), 1 => 0..2_000_usize],
    )
        .prop_map(|(value, more)| [value, &"v".repeat(more)].concat());
    let index = prop_oneof![3 => NEWEST..NEWEST + 8, 1 => 1..=0x7E_u8];
    prop_oneof![
        3 => (first, name, value.clone()).prop_map(|(first, name, value)| {
            let mut field = literal(name, value);
            field[0] = first;
            field
        }),
        1 => (index.clone(), value).prop_map(|(index, value)| {
            let value = literal("", value).split_off(2);
            // An index of less than 63 fits.
            match index {
                ..63 => [&[0x40 | index][..], &value].concat(),
                _ => [&[0x7F, index - 63][..], &value].concat(),
            }
        }),
        1 => index.prop_map(|index| vec![0x80 | index]),
    ]
}

#[test]
fn both_tables_are_the_same_behind_whatever_is_malformed() {
    let next = Arc::new(Mutex::new(Vec::new()));
    let script = next.clone();
    let backend = answering(move |peer, _, _, stream| {
        let block = script.lock().unwrap().clone();
        let ends = END_HEADERS | END_STREAM;
        peer.send(frame(HEADERS, ends, stream, block));
    });
    let proxy = Harness::with_pool(&[backend.address], json!({"protocol": "http2"}));
    let mut client = proxy.client();
    let mut ask = |block: &[u8]| {
        *next.lock().unwrap() = block.to_vec();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        status(&client.response().0)
    };
    let (mut runner, mut fields) = (TestRunner::deterministic(), Fields::of(Side::Response));
    let fields_of_a_block = prop::collection::vec(field(), 1..6);
    let mut malformed = 0;
    for round in 0..ROUNDS {
        let mut block = vec![0x88];
        let mut all = Found::default();
        for field in fields_of_a_block.new_tree(&mut runner).unwrap().current() {
            // What cannot be read ends the connection by right, and changes nothing.
            let Ok(found) = fields.read(&field, &mut Vec::new()) else {
                continue;
            };
            all.malformed |= found.malformed || found.pseudo;
            block.extend(field);
        }
        malformed += usize::from(all.malformed);
        let expected = if all.malformed { 502 } else { 200 };
        assert_eq!(ask(&block), expected, "{round}: {}", block.escape_ascii());
        // Whatever is remembered, and may be in an answer, is there.
        let mut known = vec![0x88];
        for index in NEWEST..0x7F {
            match fields.read(&[0x80 | index], &mut Vec::new()) {
                Ok(Found {
                    pseudo: false,
                    malformed: false,
                    ..
                }) => known.push(0x80 | index),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        assert_eq!(ask(&known), 200, "{round}: behind {}", block.escape_ascii());
        assert_eq!(backend.connections(), 1, "{round}");
    }
    assert!(malformed > ROUNDS / 4 && malformed < ROUNDS, "{malformed}");
}
