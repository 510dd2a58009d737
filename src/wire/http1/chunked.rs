//! The chunked coding (RFC 9112, section 7.1): checked byte by byte, passed on as it is.
//!
//! Sizes, extensions and trailers are bounded and held to their grammar, so that the next reader cannot see other
//! chunks than this one did. Nothing is buffered; the decoder is a few dozen bytes of state.

use super::refusal::{Reason, Side};
use super::{MAX_FIELDS, MAX_HEAD};
use crate::wire::field::{Known, KnownSet};
use crate::wire::fields::{is_token_byte, is_value_byte};

/// Digits of a chunk's size: enough for 2^60 - 1 bytes.
const MAX_SIZE_DIGITS: u8 = 15;

/// Bytes of chunk extensions in one body.
const MAX_EXTENSIONS: u16 = 16 * 1024;

/// Bytes of a trailer section: as many as of a head, for gRPC has its details there.
const MAX_TRAILERS: u32 = MAX_HEAD as u32;

/// As much of a trailer's name as it takes to know it.
const NAME_KEPT: usize = 24;

/// Fields that say how a message is delimited or what this hop does: behind the body they come too late to be heeded,
/// and some readers merge them into the head. Such a message is refused.
const OF_FRAMING: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::ContentLength,
    Known::FalseFraming,
    Known::Http2Settings,
    Known::KeepAlive,
    Known::ProxyAuthenticate,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// Of a request also those that say where it goes and who sent it, which cannot be checked any more there. In an answer
/// they mean nothing: a server of gRPC that returns what it was sent has them in its trailers.
const FORBIDDEN_IN_REQUESTS: KnownSet = OF_FRAMING.with(KnownSet::of(&[
    Known::Authorization,
    Known::ClientCert,
    Known::Cookie,
    Known::Expect,
    Known::Forwarded,
    Known::Host,
    Known::Imposter,
    Known::ProxyAuthorization,
    Known::XForwarded,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedProto,
    Known::XRealIp,
]));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// Blanks before a `;`
    BeforeExtension,
    /// Behind a `;`
    ExtensionStart,
    ExtensionName,
    /// Blanks behind the name
    AfterName,
    /// Behind the `=`
    ValueStart,
    ValueToken,
    ValueQuoted,
    ValueEscape,
    ValueEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// A piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Data, without its framing.
    Data(&'a [u8]),
    /// The trailer section's next bytes; all of them together are its lines, and the blank one.
    Trailers(&'a [u8]),
}

/// Follows one chunked body.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    state: State,
    /// The size being read, then the chunk's bytes still to come.
    left: u64,
    digits: u8,
    extensions: u16,
    trailer_bytes: u32,
    trailer_count: u8,
    name: [u8; NAME_KEPT],
    name_len: u8,
    forbidden: KnownSet,
}

impl Decoder {
    pub(super) fn of(side: Side) -> Self {
        Decoder {
            state: State::Size,
            left: 0,
            digits: 0,
            extensions: 0,
            trailer_bytes: 0,
            trailer_count: 0,
            name: [0; NAME_KEPT],
            name_len: 0,
            forbidden: match side {
                Side::Client => FORBIDDEN_IN_REQUESTS,
                Side::Backend => OF_FRAMING,
            },
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what belongs to the body from the start of `buffer`; tells how much that is, and each of its parts.
    pub(super) fn advance(
        &mut self,
        buffer: &[u8],
        mut part: impl FnMut(Part<'_>),
    ) -> Result<usize, Reason> {
        let mut at = 0;
        while at < buffer.len() && self.state != State::Done {
            if self.state == State::Data {
                let run = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len() - at);
                part(Part::Data(&buffer[at..at + run]));
                self.left -= run as u64;
                at += run;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let start = at;
            while at < buffer.len() && self.is_trailing() {
                self.state = self.step(buffer[at])?;
                at += 1;
            }
            if at > start {
                part(Part::Trailers(&buffer[start..at]));
                continue;
            }
            self.state = self.step(buffer[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn is_trailing(&self) -> bool {
        matches!(
            self.state,
            State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf
        )
    }

    fn step(&mut self, byte: u8) -> Result<State, Reason> {
        match self.state {
            State::Size => self.size(byte),
            State::SizeLf => match (lf(byte)?, self.left) {
                ((), 0) => Ok(State::TrailerStart),
                ((), _) => Ok(State::Data),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => {
                self.digits = 0;
                Ok(State::Size)
            }
            State::DataCr | State::DataLf => Err(Reason::BadChunkEnd),
            State::TrailerStart | State::TrailerName | State::TrailerValue => self.trailer(byte),
            State::TrailerLf => lf(byte).map(|()| State::TrailerStart),
            State::EndLf => lf(byte).map(|()| State::Done),
            State::Data | State::Done => Ok(self.state),
            _ => self.extension(byte),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Reason> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::SizeLf),
            b';' | b' ' | b'\t' if self.digits > 0 => {
                self.state = State::BeforeExtension;
                return self.extension(byte);
            }
            b'\n' if self.digits > 0 => return Err(Reason::BareLf),
            _ => return Err(Reason::BadChunkSize),
        };
        if self.digits == 0 {
            self.left = 0;
        }
        if self.digits == MAX_SIZE_DIGITS {
            return Err(Reason::BadChunkSize);
        }
        self.digits += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF`
    fn extension(&mut self, byte: u8) -> Result<State, Reason> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(Reason::ChunkExtensionTooLong);
        }
        let blank = byte == b' ' || byte == b'\t';
        match (self.state, byte) {
            (State::ValueQuoted, b'"') => Ok(State::ValueEnd),
            (State::ValueQuoted, b'\\') => Ok(State::ValueEscape),
            (State::ValueQuoted | State::ValueEscape, byte) if is_value_byte(byte) => {
                Ok(State::ValueQuoted)
            }
            (_, b'\n') => Err(Reason::BareLf),
            (State::BeforeExtension | State::AfterName, _) if blank => Ok(self.state),
            (State::ExtensionStart | State::ValueStart, _) if blank => Ok(self.state),
            (State::ExtensionName, _) if blank => Ok(State::AfterName),
            (State::ValueToken | State::ValueEnd, _) if blank => Ok(State::BeforeExtension),
            (State::ExtensionName | State::ValueToken | State::ValueEnd, b'\r') => {
                Ok(State::SizeLf)
            }
            (State::BeforeExtension | State::AfterName | State::ExtensionName, b';') => {
                Ok(State::ExtensionStart)
            }
            (State::ValueToken | State::ValueEnd, b';') => Ok(State::ExtensionStart),
            (State::ExtensionName | State::AfterName, b'=') => Ok(State::ValueStart),
            (State::ValueStart, b'"') => Ok(State::ValueQuoted),
            (State::ExtensionStart | State::ExtensionName, byte) if is_token_byte(byte) => {
                Ok(State::ExtensionName)
            }
            (State::ValueStart | State::ValueToken, byte) if is_token_byte(byte) => {
                Ok(State::ValueToken)
            }
            _ => Err(Reason::BadChunkExtension),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Reason> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MAX_TRAILERS {
            return Err(Reason::TrailersTooLarge);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart, b' ' | b'\t') => Err(Reason::FoldedField),
            (State::TrailerStart, _) if is_token_byte(byte) => {
                self.trailer_count += 1;
                if usize::from(self.trailer_count) > MAX_FIELDS {
                    return Err(Reason::TrailersTooLarge);
                }
                self.name_len = 0;
                self.keep(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => {
                let known = Known::of(&self.name[..usize::from(self.name_len)]);
                if self.forbidden.contains(known) {
                    Err(Reason::ForbiddenTrailer)
                } else {
                    Ok(State::TrailerValue)
                }
            }
            (State::TrailerName, b' ' | b'\t') => Err(Reason::SpaceBeforeColon),
            (State::TrailerName, _) if is_token_byte(byte) => {
                self.keep(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            (_, b'\n') => Err(Reason::BareLf),
            (State::TrailerValue, _) => Err(Reason::ControlByte),
            _ => Err(Reason::BadFieldName),
        }
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(usize::from(self.name_len)) {
            *place = byte;
            self.name_len += 1;
        }
    }
}

fn lf(byte: u8) -> Result<(), Reason> {
    if byte == b'\n' {
        Ok(())
    } else {
        Err(Reason::BareCr)
    }
}

/// Writes `data` as one chunk; nothing for no data, which would end the body.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[data.len() >> (4 * digit) & 0xF]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Writes the chunk that ends a body, without trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}
