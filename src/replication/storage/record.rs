//! One record: one write of the log, whole or not there.
//!
//! A record begins on a sector and fills whole sectors. Every sector begins with a mark that is not zero, so that a
//! sector of zeros was never written, whatever a payload holds. The header has its own checksum, tells its own place
//! and carries the running chain. A record is written only when all before it is synced: a valid header at an offset
//! thus also says that the log is *known to be synced* up to that offset.

use bytes::Bytes;

use super::Error;
use super::window::Window;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
/// The content of a sector behind its mark.
const CONTENT: usize = SECTOR - 1;
const MARK: u8 = 0x5e;
const MAGIC: [u8; 4] = *b"\xc5rec";
const HEADER: usize = 36;
/// Most bytes that one write may carry.
pub(super) const MAX_PAYLOAD: usize = 1 << 30;

/// A place in the log: an offset in the segment of that index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A record that verified.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) payload: Bytes,
    /// The chain up to and with this record.
    pub(super) chain: u32,
    /// Bytes it takes on disk.
    pub(super) size: u64,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("there is no valid record header")]
    Header,
    #[error("a record ends beyond its segment")]
    Length,
    #[error("a record's payload does not match its checksum")]
    Payload,
    #[error("a record does not continue the one before")]
    Chain,
}

/// Bytes on disk of a record with a payload of `length` bytes.
pub(super) fn size(length: usize) -> u64 {
    ((HEADER + length).div_ceil(CONTENT) * SECTOR) as u64
}

/// The record for `payload` at `at`, behind a log whose chain is `chain`; and the chain with it.
pub(super) fn encode(at: Position, chain: u32, payload: &[u8]) -> (Vec<u8>, u32) {
    let sum = crc32c::crc32c(payload);
    let chain = link(chain, payload.len() as u32, sum);
    let mut content = Vec::with_capacity(HEADER + payload.len());
    content.extend_from_slice(&MAGIC);
    content.extend_from_slice(&at.segment.to_le_bytes());
    content.extend_from_slice(&at.offset.to_le_bytes());
    content.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    content.extend_from_slice(&sum.to_le_bytes());
    content.extend_from_slice(&chain.to_le_bytes());
    content.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
    content.extend_from_slice(payload);

    let mut sectors = Vec::with_capacity(size(payload.len()) as usize);
    for part in content.chunks(CONTENT) {
        sectors.push(MARK);
        sectors.extend_from_slice(part);
    }
    sectors.resize(size(payload.len()) as usize, 0);
    (sectors, chain)
}

/// Reads the record at `at`, behind a log whose chain is `chain`.
pub(super) fn read<W: Window>(
    window: &mut W,
    at: Position,
    chain: u32,
) -> Result<Result<Record, Flaw>, Error> {
    let Some(header) = header(window, at)? else {
        return Ok(Err(Flaw::Header));
    };
    let size = size(header.length as usize);
    if at.offset + size > window.size() {
        return Ok(Err(Flaw::Length));
    }
    let sectors = window.bytes(at.offset, size as usize)?;
    let Some(payload) = content(sectors, header.length as usize) else {
        return Ok(Err(Flaw::Payload));
    };
    if crc32c::crc32c(&payload) != header.sum {
        return Ok(Err(Flaw::Payload));
    }
    if link(chain, header.length, header.sum) != header.chain {
        return Ok(Err(Flaw::Chain));
    }
    Ok(Ok(Record {
        payload,
        chain: header.chain,
        size,
    }))
}

/// The length of the payload that a valid header at `at` announces; `None` when there is no such header.
pub(super) fn announced<W: Window>(window: &mut W, at: Position) -> Result<Option<usize>, Error> {
    Ok(header(window, at)?.map(|header| header.length as usize))
}

struct Header {
    length: u32,
    sum: u32,
    chain: u32,
}

fn header<W: Window>(window: &mut W, at: Position) -> Result<Option<Header>, Error> {
    if at.offset + SECTOR as u64 > window.size() {
        return Ok(None);
    }
    let sector = window.bytes(at.offset, SECTOR)?;
    let (mark, fields) = (sector[0], &sector[1..=HEADER]);
    let word = |from: usize| {
        u32::from_le_bytes([
            fields[from],
            fields[from + 1],
            fields[from + 2],
            fields[from + 3],
        ])
    };
    let long = |from: usize| u64::from(word(from)) | u64::from(word(from + 4)) << 32;
    let valid = mark == MARK
        && fields[..4] == MAGIC
        && Position {
            segment: long(4),
            offset: long(12),
        } == at
        && word(20) as usize <= MAX_PAYLOAD
        && crc32c::crc32c(&fields[..HEADER - 4]) == word(32);
    Ok(valid.then(|| Header {
        length: word(20),
        sum: word(24),
        chain: word(28),
    }))
}

/// The payload without the marks; `None` when a mark is not there.
fn content(sectors: &[u8], length: usize) -> Option<Bytes> {
    let mut content = Vec::with_capacity(sectors.len());
    for sector in sectors.chunks(SECTOR) {
        let (mark, part) = sector.split_first()?;
        if *mark != MARK {
            return None;
        }
        content.extend_from_slice(part);
    }
    let content = Bytes::from(content);
    Some(content.slice(HEADER..HEADER + length))
}

fn link(chain: u32, length: u32, sum: u32) -> u32 {
    crc32c::crc32c_append(
        crc32c::crc32c_append(chain, &length.to_le_bytes()),
        &sum.to_le_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position {
        segment: 3,
        offset: 1024,
    };

    /// A segment of 16 sectors in memory.
    struct Bare(Vec<u8>);

    impl Window for Bare {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], Error> {
            Ok(&self.0[offset as usize..offset as usize + length])
        }
    }

    fn stored(payload: &[u8]) -> Bare {
        let mut segment = vec![0; 16 * SECTOR];
        let (sectors, _) = encode(AT, 7, payload);
        segment[AT.offset as usize..AT.offset as usize + sectors.len()].copy_from_slice(&sectors);
        Bare(segment)
    }

    #[test]
    fn what_was_encoded_reads_back() {
        for length in [0, 1, CONTENT - HEADER, CONTENT - HEADER + 1, 3000] {
            let payload = vec![0; length];
            let record = read(&mut stored(&payload), AT, 7).unwrap().unwrap();
            assert_eq!((record.payload.len(), record.size), (length, size(length)));
            assert_eq!(record.chain, encode(AT, 7, &payload).1);
        }
    }

    #[test]
    fn no_written_sector_is_all_zero() {
        let (sectors, _) = encode(AT, 0, &[0; 5000]);
        assert!(
            sectors
                .chunks(SECTOR)
                .all(|sector| sector.iter().any(|byte| *byte != 0))
        );
    }

    #[test]
    fn every_flipped_bit_of_header_and_payload_is_noticed() {
        let payload = [0xab; 700];
        let used = AT.offset as usize..AT.offset as usize + SECTOR + 1 + (HEADER + 700 - CONTENT);
        for byte in used {
            let mut segment = stored(&payload);
            segment.0[byte] ^= 0x10;
            assert!(read(&mut segment, AT, 7).unwrap().is_err(), "byte {byte}");
        }
    }

    #[test]
    fn a_record_counts_only_in_its_place_and_behind_its_predecessor() {
        let mut segment = stored(b"x");
        assert_eq!(read(&mut segment, AT, 8).unwrap().unwrap_err(), Flaw::Chain);
        let other = Position { segment: 4, ..AT };
        assert_eq!(
            read(&mut segment, other, 7).unwrap().unwrap_err(),
            Flaw::Header
        );
    }
}
