use proptest::prelude::*;

use super::*;

const NONE: Found = Found {
    pseudo: false,
    malformed: false,
    interim: false,
};
const PSEUDO: Found = Found {
    pseudo: true,
    ..NONE
};
const MALFORMED: Found = Found {
    malformed: true,
    ..NONE
};
const BOTH: Found = Found {
    malformed: true,
    ..PSEUDO
};
const INTERIM: Found = Found {
    interim: true,
    ..PSEUDO
};

fn requests() -> Fields {
    Fields::of(Side::Request)
}

fn answers() -> Fields {
    Fields::of(Side::Response)
}

fn read(fields: &mut Fields, block: &[u8]) -> Result<Found, Undecodable> {
    fields.read(block, &mut Vec::new())
}

fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![first];
    for text in [name, value] {
        assert!(text.len() < 127);
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

#[test]
fn the_examples_of_the_rfc_are_read_with_their_tables() {
    // RFC 7541, C.4: requests with codes, of which the later ones point to what the earlier ones added.
    let mut fields = requests();
    let blocks: [(&[u8], usize); 3] = [
        (
            &[
                0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab,
                0x90, 0xf4, 0xff,
            ],
            57,
        ),
        (
            &[
                0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf,
            ],
            110,
        ),
        (
            &[
                0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f,
                0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
            ],
            164,
        ),
    ];
    for (block, size) in blocks {
        assert_eq!(read(&mut fields, block), Ok(PSEUDO));
        assert_eq!(fields.size, size);
    }
}

#[test]
fn a_path_with_a_fragment_is_found_in_any_guise() {
    let coded = [0x04, 0x83, 0x63, 0xfe, 0xbf];
    for (block, expected) in [
        (literal(0, ":path", "/a#b"), BOTH),
        (literal(0x10, ":path", "#"), BOTH),
        (literal(0x40, ":path", "/a#b"), BOTH),
        (coded.to_vec(), BOTH),
        (literal(0, ":path", "/a"), PSEUDO),
        (literal(0, ":paths", "#"), MALFORMED),
        (literal(0, "path", "#"), NONE),
        (literal(0, "", "#"), MALFORMED),
    ] {
        assert_eq!(read(&mut requests(), &block), Ok(expected), "{block:x?}");
    }
    let mut fields = requests();
    assert_eq!(read(&mut fields, &literal(0x40, ":path", "/a#b")), Ok(BOTH));
    assert_eq!(read(&mut fields, &literal(0x40, "a", "#")), Ok(NONE));
    assert_eq!(read(&mut fields, &[0xbf]), Ok(BOTH), "what is remembered");
    assert_eq!(read(&mut fields, &[0xbe]), Ok(NONE));
    // Of its name alone, with another value.
    assert_eq!(read(&mut fields, &[0x0f, 0x30, 0x01, b'/']), Ok(PSEUDO));
}

#[test]
fn what_the_table_has_no_room_for_is_forgotten() {
    let mut fields = requests();
    read(&mut fields, &literal(0x40, ":path", "/")).unwrap();
    // 38 bytes each.
    for _ in 0..107 {
        read(&mut fields, &literal(0x40, "a", "12345")).unwrap();
    }
    let oldest = [0xff, 41];
    assert_eq!(read(&mut fields, &oldest), Ok(NONE));
    assert_eq!(fields.table.len(), 107);
    assert_eq!(read(&mut fields, &[0xff, 42]), Err(Undecodable));
    assert_eq!(
        read(&mut fields, &[0x3f, 38 + 38 - 31]),
        Ok(NONE),
        "a smaller one"
    );
    assert_eq!((fields.table.len(), fields.size), (2, 76));
    assert_eq!(read(&mut fields, &[0x20]), Ok(NONE));
    assert_eq!(read(&mut fields, &literal(0x40, "a", "")), Ok(NONE));
    assert_eq!((fields.table.len(), fields.size), (0, 0));
    assert_eq!(
        read(&mut fields, &[0x3f, 0xe2, 0x1f]),
        Err(Undecodable),
        "more than was allowed"
    );
}

#[test]
fn what_is_cut_off_or_out_of_bounds_is_undecodable() {
    for block in [
        &[0x80][..],
        &[0xff],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0x00],
        &[0xbe],
        &[0x40],
        &[0x40, 1],
        &[0x40, 1, b'a'],
        &[0x40, 1, b'a', 2, b'b'],
        &[0x40, 0x7f],
        &[0x7f, 0x20, 1, b'x'],
        // A smaller table behind a field, and a code whose padding is none.
        &[0x82, 0x20],
        &[0, 1, b'a', 0x81, 0],
    ] {
        assert_eq!(read(&mut requests(), block), Err(Undecodable), "{block:x?}");
    }
}

#[test]
fn what_no_field_has_is_told_of_and_mended_as_long_as_it_was() {
    let coded = |first, text: &[u8]| [&[first, 1, b'a'][..], text].concat();
    let path = |value: &[u8]| [&[0x04, value.len() as u8][..], value].concat();
    for (block, mended) in [
        (literal(0, "Accept", "b"), literal(0, "xccept", "b")),
        (literal(0, "a b:", "c"), literal(0, "axbx", "c")),
        (literal(0, ":test", "c"), literal(0, "xtest", "c")),
        (literal(0, "a", "\0b\r\n\u{7f}"), literal(0, "a", "xbxxx")),
        (literal(0x40, "a", "\0"), literal(0x40, "a", "x")),
        (literal(0x40, "", "bc"), literal(0x40, "x", "b")),
        (literal(0, "", ""), literal(0, "x", "")),
        (
            vec![0x02, 3, b'G', b' ', b'T'],
            vec![0x02, 3, b'G', b'x', b'T'],
        ),
        (vec![0x42, 1, 0xFF], vec![0x42, 1, b'x']),
        (vec![0x02, 0], literal(0, "xxxxxxx", "")),
        (literal(0, ":method", "G T"), literal(0, ":method", "GxT")),
        (
            literal(0x40, ":status", "abc"),
            literal(0x40, ":status", "200"),
        ),
        (literal(0, ":status", "2"), literal(0, "xxxxxxx", "2")),
        (vec![0x18, 2, b'9', 0], literal(0x10, "xxxxxxx", "9x")),
        (
            vec![0x48, 3, b'0', b'9', b'9'],
            vec![0x48, 3, b'2', b'0', b'0'],
        ),
        (path(b"/\xFF"), path(b"/x")),
        // CR, and NUL, and B in a name.
        (
            coded(0, &[0x84, 0xff, 0xff, 0xff, 0xf7]),
            literal(0, "a", "x"),
        ),
        (coded(0x40, &[0x82, 0xff, 0xc7]), literal(0x40, "a", "x")),
        (vec![0x00, 0x81, 0xbb, 0x01, b'b'], literal(0, "x", "b")),
    ] {
        let around = literal(0x40, "before", "\u{e4} \tb");
        let all = [&around[..], &block, &[0x82, 0xbe]].concat();
        let mut written = vec![0x3f];
        let found = requests().read(&all, &mut written).unwrap();
        assert!(found.malformed, "{block:x?}");
        let expected = [&[0x3f], &around[..], &mended, &[0x82, 0xbe]].concat();
        assert_eq!(written, expected, "{block:x?}");
    }
    let long = "\0".repeat(300);
    let block = [&[0, 1, b'a', 0x7f, 0xad, 0x01], long.as_bytes()].concat();
    let mut written = Vec::new();
    assert_eq!(requests().read(&block, &mut written), Ok(MALFORMED));
    assert_eq!(written[..6], block[..6]);
    assert_eq!(read(&mut requests(), &written), Ok(NONE));
}

#[test]
fn what_is_mended_leaves_the_same_table() {
    let mut fields = requests();
    assert_eq!(read(&mut fields, &literal(0x40, "A", "b")), Ok(MALFORMED));
    assert_eq!(
        read(&mut fields, &[0xbe]),
        Ok(MALFORMED),
        "what is remembered"
    );
    let by_name = [0x0f, 0x2f, 0x01, b'c'];
    assert_eq!(read(&mut fields, &by_name), Ok(MALFORMED), "its name alone");
    let empty = literal(0x40, "", "");
    assert_eq!(read(&mut fields, &empty), Err(Undecodable));
}

#[test]
fn a_value_that_no_field_of_its_name_has_is_remembered_under_another() {
    for block in [
        literal(0x40, ":status", "2"),
        literal(0x40, ":method", ""),
        vec![0x48, 4, b'1', b'0', b'0', b'0'],
        vec![0x42, 0],
    ] {
        let (mut first, mut second, mut mended) = (answers(), answers(), Vec::new());
        assert_eq!(first.read(&block, &mut mended), Ok(BOTH), "{block:x?}");
        assert_eq!(read(&mut second, &mended), Ok(NONE), "{mended:x?}");
        assert_eq!(first.size, second.size, "{block:x?}");
        let by_name = [0x0f, 0x2f, 3, b'2', b'0', b'0'];
        assert_eq!(read(&mut first, &by_name), Ok(BOTH), "its name alone");
        assert_eq!(read(&mut first, &[0x88]), Ok(PSEUDO));
    }
}

#[test]
fn an_answer_has_one_status_of_three_digits_in_front_and_no_other_pseudo_header_field() {
    for (value, expected) in [
        ("200", PSEUDO),
        ("999", PSEUDO),
        ("100", INTERIM),
        ("199", INTERIM),
        ("099", BOTH),
        ("99", BOTH),
        ("1000", BOTH),
        ("", BOTH),
        ("abc", BOTH),
        ("2 0", BOTH),
        ("+20", BOTH),
    ] {
        let mut fields = answers();
        for block in [
            literal(0, ":status", value),
            literal(0x40, ":status", value),
            vec![0xbe],
        ] {
            assert_eq!(read(&mut fields, &block), Ok(expected), "{value}");
        }
    }
    let status = [0x88];
    for other in [
        ":method",
        ":scheme",
        ":path",
        ":authority",
        ":protocol",
        ":status",
        ":a",
    ] {
        let value = if other == ":scheme" { "http" } else { "200" };
        let block = [&status[..], &literal(0, other, value)].concat();
        assert_eq!(read(&mut answers(), &block), Ok(BOTH), "{other}");
    }
    for block in [
        &[0x88, 0x88][..],
        &[0x90, 0x88],
        &[0x88, 0x82],
        &[0x88, 0x84],
        &[0x81],
    ] {
        assert_eq!(read(&mut answers(), block), Ok(BOTH), "{block:x?}");
    }
    assert_eq!(read(&mut answers(), &[0x88, 0x90]), Ok(PSEUDO));
    assert_eq!(read(&mut answers(), &[0x90]), Ok(NONE), "trailers");
    assert_eq!(
        read(&mut answers(), &[0x88, 0xb9]),
        Ok(BOTH),
        "transfer-encoding"
    );
}

#[test]
fn a_scheme_is_one_of_http() {
    for (value, expected) in [
        ("http", PSEUDO),
        ("https", PSEUDO),
        ("HTTP", PSEUDO),
        ("", BOTH),
        ("ftp", BOTH),
        ("httpx", BOTH),
    ] {
        let by_name = [&[0x06, value.len() as u8][..], value.as_bytes()].concat();
        for block in [literal(0, ":scheme", value), by_name] {
            let mut mended = Vec::new();
            let found = requests().read(&block, &mut mended);
            assert_eq!((found, mended), (Ok(expected), vec![]), "{value}");
        }
    }
}

#[test]
fn the_list_is_as_large_as_all_that_the_block_says() {
    let mut fields = answers();
    let block = [literal(0x40, "x", "12345"), vec![0xbe, 0xbe]].concat();
    read(&mut fields, &block).unwrap();
    assert_eq!(fields.list(), 3 * (6 + OVERHEAD));
    read(&mut fields, &[0x88, 0xbe]).unwrap();
    assert_eq!(fields.list(), 7 + 6 + 2 * OVERHEAD, "of this block alone");
}

#[test]
fn white_space_around_a_value_is_malformed_in_any_guise() {
    for value in [" a", "a ", "\ta", "a\t", " ", " trailers"] {
        for name in ["x", "te", "set-cookie", ":path"] {
            let mut fields = requests();
            for block in [literal(0x40, name, value), vec![0xbe]] {
                let mut mended = Vec::new();
                let found = fields.read(&block, &mut mended).unwrap();
                assert!(found.malformed && mended.is_empty(), "{name}: {value:?}");
            }
        }
    }
    // In a code.
    assert_eq!(
        read(&mut answers(), &[0, 1, b'x', 0x81, 0x53]),
        Ok(MALFORMED)
    );
    for value in ["", "a b", "a\tb"] {
        let block = literal(0x40, "x", value);
        assert_eq!(read(&mut answers(), &block), Ok(NONE), "{value:?}");
    }
}

#[test]
fn what_belongs_to_a_connection_is_malformed_in_any_guise() {
    let names = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    for name in names {
        let mut fields = requests();
        for block in [
            literal(0, name, "x"),
            literal(0x40, name, ""),
            vec![0xbe],
            vec![0x0f, 0x2f, 1, b'x'],
        ] {
            assert_eq!(read(&mut fields, &block), Ok(MALFORMED), "{name}");
        }
    }
    for (value, expected) in [
        ("trailers", NONE),
        ("Trailers", MALFORMED),
        ("gzip", MALFORMED),
        ("trailers, gzip", MALFORMED),
        ("", MALFORMED),
    ] {
        let te = literal(0, "te", value);
        assert_eq!(read(&mut requests(), &te), Ok(expected), "{value}");
    }
    let by_index = [0x0f, 0x2a, 7, b'c', b'h', b'u', b'n', b'k', b'e', b'd'];
    for block in [&[0xb9][..], &by_index] {
        assert_eq!(read(&mut requests(), block), Ok(MALFORMED));
    }
    for name in ["connections", "te-", "upgrade-insecure-requests"] {
        assert_eq!(read(&mut requests(), &literal(0, name, "1")), Ok(NONE));
    }
}

#[test]
fn a_pseudo_header_field_comes_once_and_in_front_of_the_others() {
    for (block, expected) in [
        (&[0x82, 0x84, 0x86, 0x41, 1, b'x', 0x90][..], PSEUDO),
        (&[0x82, 0x83], BOTH),
        (&[0x84, 0x04, 1, b'/'], BOTH),
        (&[0x86, 0x87], BOTH),
        (&[0x41, 1, b'x', 0x01, 1, b'y'], BOTH),
        (&[0x82, 0x90, 0x84], BOTH),
        (&[0x90, 0x82], BOTH),
        (&[0x88], BOTH),
    ] {
        let found = read(&mut requests(), block);
        assert_eq!(found, Ok(expected), "{block:x?}");
    }
    let twice = literal(0, ":protocol", "a").repeat(2);
    assert_eq!(read(&mut requests(), &twice), Ok(BOTH));
}

#[test]
fn what_changes_the_table_is_told_apart() {
    let (kept, large) = (literal(0x40, "a", "b"), "v".repeat(100));
    let block = [
        &[0x20, 0x3f, 0xe1, 0x1f, 0x82][..],
        &literal(0, "c", "d"),
        &kept,
        &[0x41, 0x81, 0x1f, 0x10, 1, b'e', 0, 0xbe, 0x44, 100],
        large.as_bytes(),
        &[0x0f, 0x2f, 1, b'f'],
    ]
    .concat();
    let path = [&[0x44, 100], large.as_bytes()].concat();
    let expected: [&[u8]; 5] = [
        &[0x20],
        &[0x3f, 0xe1, 0x1f],
        &kept,
        &[0x41, 0x81, 0x1f],
        &path,
    ];
    assert_eq!(remembered(&block), expected);
    assert!(read(&mut requests(), &block).is_ok());
}

#[test]
fn what_is_larger_than_the_table_leaves_it_empty_as_small_as_it_may_be() {
    let number = |n: usize| {
        let left = n - 127;
        [
            127,
            left as u8 | 0x80,
            (left >> 7) as u8 | 0x80,
            (left >> 14) as u8,
        ]
    };
    let text = |byte: u8, n: usize| [&number(n)[..], &vec![byte; n]].concat();
    for block in [
        [&[0x40][..], &text(b'n', 1 << 16), &[0]].concat(),
        [&[0x40, 1, b'a'][..], &text(0, 20_000)].concat(),
        [&[0x44][..], &text(0xFF, 20_000)].concat(),
    ] {
        let all = [&literal(0x40, "a", "b")[..], &block].concat();
        let (mut fields, mut mended) = (requests(), Vec::new());
        assert!(fields.read(&all, &mut mended).unwrap().malformed);
        assert!(mended.len() < TABLE + 50, "{}", mended.len());
        assert_eq!((fields.table.len(), fields.size), (0, 0));
        let mut again = requests();
        assert!(read(&mut again, &mended).is_ok());
        assert_eq!((again.table.len(), again.size), (0, 0));
    }
    let fits = [&[0][..], &text(b'n', (1 << 16) - 1), &[0]].concat();
    assert_eq!(read(&mut requests(), &fits), Ok(NONE));
}

#[test]
fn who_refers_to_an_empty_name_is_counted_with_what_was_put_in_its_place() {
    let block = [&literal(0x40, "", "a")[..], &[0x7E, 0]].concat();
    let (mut first, mut second, mut mended) = (requests(), requests(), Vec::new());
    assert!(first.read(&block, &mut mended).unwrap().malformed);
    read(&mut second, &mended).unwrap();
    assert_eq!((first.size, second.size), (66, 66));
}

/// Blocks of pieces that may follow each other, most of them well-formed.
fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = prop_oneof![
        3 => "[a-z]{0,6}",
        1 => prop::sample::select(vec!["A", "a b", "\r", "x\0", "\u{e4}", ""]).prop_map(String::from),
        1 => prop::sample::select(vec![":method", ":path", ":status", ":scheme", ":a"]).prop_map(String::from),
    ];
    let first = prop::sample::select(vec![0x40, 0x40, 0, 0x10]);
    let piece = prop_oneof![
        4 => (first, text.clone(), text.clone()).prop_map(|(first, name, value)| literal(first, &name, &value)),
        2 => (0x41..0x7F_u8, text).prop_map(|(first, value)| {
            [&[first, value.len() as u8], value.as_bytes()].concat()
        }),
        // In a code: CR, NUL and A.
        1 => prop::sample::select(vec![&[0xFF, 0xFF, 0xFF, 0xF7][..], &[0xFF, 0xC7], &[0x87]])
            .prop_map(|code| [&[0x40, 1, b'a', 0x80 | code.len() as u8], code].concat()),
        2 => (0x81..0xFF_u8).prop_map(|index| vec![index]),
    ];
    prop::collection::vec(
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat()),
        1..8,
    )
}

proptest! {
    #[test]
    fn who_reads_what_was_mended_has_the_same_table(blocks in blocks(), answers in any::<bool>()) {
        let side = if answers { Side::Response } else { Side::Request };
        let (mut first, mut second) = (Fields::of(side), Fields::of(side));
        for block in blocks {
            let mut mended = Vec::new();
            let Ok(found) = first.read(&block, &mut mended) else {
                return Ok(());
            };
            prop_assert!(mended.is_empty() || found.malformed);
            if mended.is_empty() {
                mended = block;
            }
            let mut again = Vec::new();
            let read = second.read(&mended, &mut again);
            prop_assert!(read.is_ok(), "{:x?}", mended);
            prop_assert!(found.malformed || read == Ok(found));
            prop_assert!(again.is_empty() || again == mended, "{:x?}", mended);
            let sizes = |fields: &Fields| fields.table.iter().map(|entry| entry.size).collect::<Vec<_>>();
            prop_assert_eq!(sizes(&first), sizes(&second));
        }
    }
}
