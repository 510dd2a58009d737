//! Frames on a TCP stream: length-delimited, read with a bound, written many at once.

use std::io;

use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use super::frame::{Body, Frame, MAX_BYTES};

/// What a peer may send before it said who it is.
const MAX_HELLO_BYTES: usize = 64 << 10;

/// The receiving side.
pub(super) struct Reader {
    stream: OwnedReadHalf,
    codec: LengthDelimitedCodec,
    buffer: BytesMut,
}

/// The sending side.
pub(super) struct Writer {
    stream: OwnedWriteHalf,
    codec: LengthDelimitedCodec,
    buffer: BytesMut,
}

/// Both sides of a stream that was just opened.
pub(super) fn split(stream: TcpStream) -> io::Result<(Reader, Writer)> {
    // A vote must not wait for Nagle: writes are batched here already.
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let codec = |limit| {
        LengthDelimitedCodec::builder()
            .max_frame_length(limit)
            .new_codec()
    };
    let reader = Reader {
        stream: read,
        codec: codec(MAX_HELLO_BYTES),
        buffer: BytesMut::new(),
    };
    let writer = Writer {
        stream: write,
        codec: codec(MAX_BYTES),
        buffer: BytesMut::new(),
    };
    Ok((reader, writer))
}

impl Reader {
    /// The next frame; bodies of newer builds are passed over. `None` when the peer has closed. Cancelling it loses
    /// nothing.
    pub(super) async fn next(&mut self) -> io::Result<Option<Body>> {
        loop {
            while let Some(bytes) = self.codec.decode(&mut self.buffer)? {
                if let Some(body) = Frame::decode(bytes.freeze())
                    .map_err(io::Error::other)?
                    .body
                {
                    return Ok(Some(body));
                }
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// From here on frames may be as large as they come.
    pub(super) fn trust(&mut self) {
        self.codec.set_max_frame_length(MAX_BYTES);
    }
}

impl Writer {
    /// Writes one frame.
    pub(super) async fn send(&mut self, body: impl Into<Body>) -> io::Result<()> {
        let frame = Bytes::from(Frame::from(body.into()).encode_to_vec());
        self.write(&mut vec![frame]).await
    }

    /// Writes encoded frames, leaving the vector empty.
    pub(super) async fn write(&mut self, frames: &mut Vec<Bytes>) -> io::Result<()> {
        for frame in frames.drain(..) {
            self.codec.encode(frame, &mut self.buffer)?;
        }
        self.stream.write_all_buf(&mut self.buffer).await
    }
}
