//! The heads of frames, on their way in and out (RFC 9113, 4.1).

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PUSH_PROMISE: u8 = 0x5;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

/// What RFC 9113, 4.1, has a receiver ignore.
pub(super) const NO_KIND: u8 = 0xFF;

/// Of SETTINGS and PING.
pub(super) const ACK: u8 = 0x1;
/// Of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

/// Bytes of the preface in front of a client's first frame.
pub(super) const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;

/// Where it has the kind.
pub(super) const KIND: usize = 3;

/// Bytes behind it at most, as nobody was told that there may be more.
pub(super) const MOST: usize = 16_384;

/// What is in front of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// The one at the start of `bytes`; none if it is not whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [high, middle, low, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD>()?;
        Some(Self {
            length: u32::from_be_bytes([0, high, middle, low]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & !(1 << 31),
        })
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes of a payload of its kind that has nothing in it but what must be.
    pub(super) fn least(self) -> usize {
        let padding = usize::from(self.has(PADDED));
        match self.kind {
            DATA => padding,
            HEADERS if self.has(WITH_PRIORITY) => padding + 5,
            HEADERS => padding,
            GOAWAY => 8,
            _ => 0,
        }
    }
}

/// Appends a frame.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Makes a frame one of no known kind, which the h2 crate passes over.
pub(super) fn hide(frame: &mut [u8]) {
    frame[KIND] = NO_KIND;
}

/// Bytes of the payload without its padding, where DATA has any. More of that than there is has the h2 crate end the
/// connection.
pub(super) fn carried(head: Head, bytes: &[u8]) -> usize {
    match (head.kind, bytes.get(HEAD)) {
        (DATA, Some(padding)) => match head.length.checked_sub(1 + usize::from(*padding)) {
            Some(data) => data,
            None => head.length,
        },
        _ => head.length,
    }
}

/// Whether this WINDOW_UPDATE has an increment of 0.
pub(super) fn adds_nothing(bytes: &[u8]) -> bool {
    matches!(bytes[HEAD..], [0 | 0x80, 0, 0, 0])
}
