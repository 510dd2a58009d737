//! The code of RFC 7541, appendix B.
//!
//! It is canonical: codes of one length are consecutive in the order of their bytes, and longer ones are greater. So
//! the lengths say all.

use super::Undecodable;

/// Bits of the code of each byte. The end of a string has the last code of [`LONGEST`] bits, and is never in one.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const LONGEST: usize = 30;

/// Codes of so many bits are looked up.
const SHORT: usize = 8;

/// All bytes by their codes.
struct Code {
    /// The bytes of each length, one length behind the other.
    bytes: [u8; 257],
    /// Where those of a length begin there.
    at: [usize; LONGEST + 2],
    /// The first code of a length.
    first: [u32; LONGEST + 2],
    /// Byte and length by the first bits; a length of 0 where the code is longer.
    short: [(u8, u8); 1 << SHORT],
}

static CODE: Code = Code::new();

impl Code {
    const fn new() -> Self {
        let mut code = Self {
            bytes: [0; 257],
            at: [0; LONGEST + 2],
            first: [0; LONGEST + 2],
            short: [(0, 0); 1 << SHORT],
        };
        let (mut length, mut count, mut next) = (1, 0, 0);
        while length <= LONGEST {
            (code.at[length], code.first[length]) = (count, next);
            let mut byte = 0;
            while byte < 256 {
                if LENGTHS[byte] as usize == length {
                    code.bytes[count] = byte as u8;
                    if length <= SHORT {
                        let mut rest = 0;
                        while rest < 1 << (SHORT - length) {
                            let bits = ((next as usize) << (SHORT - length)) + rest;
                            code.short[bits] = (byte as u8, length as u8);
                            rest += 1;
                        }
                    }
                    (count, next) = (count + 1, next + 1);
                }
                byte += 1;
            }
            length += 1;
            next <<= 1;
        }
        (code.at[length], code.first[length]) = (count, next);
        code
    }

    /// The byte in front of `bits`, from the highest on, and the length of its code; none if there is no whole one
    /// among the first `has`.
    fn next(&self, bits: u64, has: usize) -> Option<(u8, usize)> {
        let (byte, length) = self.short[(bits >> (64 - SHORT)) as usize];
        if length > 0 {
            return (usize::from(length) <= has).then_some((byte, length.into()));
        }
        for length in SHORT + 1..=LONGEST.min(has) {
            let code = (bits >> (64 - length)) as u32;
            let of_this = self.at[length + 1] - self.at[length];
            let place = code.wrapping_sub(self.first[length]) as usize;
            if place < of_this {
                return Some((self.bytes[self.at[length] + place], length));
            }
        }
        None
    }
}

/// Gives each byte that `coded` stands for.
///
/// # Errors
/// When it ends with anything but padding, which is what the end of a string begins with, and shorter than a byte.
pub(super) fn decode(coded: &[u8], mut give: impl FnMut(u8)) -> Result<(), Undecodable> {
    let (mut bits, mut has) = (0_u64, 0);
    for &byte in coded {
        bits |= u64::from(byte) << (56 - has);
        has += 8;
        while let Some((byte, length)) = CODE.next(bits, has) {
            give(byte);
            bits <<= length;
            has -= length;
        }
        if has > LONGEST {
            // No code is as long.
            return Err(Undecodable);
        }
    }
    let is_padding = has < 8 && bits.leading_ones() as usize == has;
    is_padding.then_some(()).ok_or(Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        decode(coded, |byte| text.push(byte)).unwrap();
        text
    }

    #[test]
    fn the_examples_of_the_rfc_are_decoded() {
        // RFC 7541, C.4 and C.6.
        let table: [(&[u8], &str); 4] = [
            (
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (
                &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf],
                "custom-value",
            ),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04,
                    0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ];
        for (coded, text) in table {
            assert_eq!(decoded(coded), text.as_bytes());
        }
    }

    #[test]
    fn every_byte_has_the_code_of_its_length() {
        // RFC 7541, appendix B: the last codes are those of CR and of the end.
        let last = CODE.first[LONGEST] + (CODE.at[LONGEST + 1] - CODE.at[LONGEST]) as u32;
        assert_eq!(last, 0x3fff_ffff);
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xf7]), [b'\r']);
        assert_eq!(
            decoded(&[0xff, 0xa0, 0x7f]),
            [b'#', b'0'],
            "0xffa in 12 bits, 0x0 in 5, and padding"
        );
    }

    #[test]
    fn what_ends_with_anything_but_padding_is_undecodable() {
        for coded in [
            &[0xff, 0xff, 0xff, 0xff][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xff],
            &[0b0001_1000],
            &[0b0001_1111, 0xff],
        ] {
            assert_eq!(decode(coded, |_| {}), Err(Undecodable), "{coded:x?}");
        }
        assert_eq!(decoded(&[0b0001_1111]), b"a");
    }
}
