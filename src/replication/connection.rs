//! Frames on a TCP stream, or on TLS over it: length-delimited, read with a bound, written many at once.

use std::io;

use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use super::frame::{Body, Frame, MAX_BYTES};
use crate::tls::{PeerTls, Vouched};

/// What a peer may send before it said who it is.
const MAX_HELLO_BYTES: usize = 64 << 10;

/// Bytes that are made room for, so that one call reads what has come: left to itself the buffer grows by 64, and by
/// what the frame that has begun still lacks.
const READ: usize = 8 << 10;
/// With less room than this more is made.
const LEAST_READ: usize = 1 << 10;

/// The receiving side.
pub(super) struct Reader {
    stream: Box<dyn AsyncRead + Send + Sync + Unpin>,
    /// Whose certificate the other end has shown, where nodes show them.
    vouched: Option<Vouched>,
    codec: LengthDelimitedCodec,
    buffer: BytesMut,
}

/// The sending side.
pub(super) struct Writer {
    stream: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    codec: LengthDelimitedCodec,
    buffer: BytesMut,
}

/// A connection to the node at `address`.
pub(super) async fn connect(tls: Option<&PeerTls>, address: &str) -> io::Result<(Reader, Writer)> {
    // A name is resolved for each call: who restarts elsewhere is found there.
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(match tls {
        None => plain(stream),
        Some(tls) => encrypted(tls.connect(stream).await?),
    })
}

/// A connection that a node has opened.
pub(super) async fn accept(
    tls: Option<&PeerTls>,
    stream: TcpStream,
) -> io::Result<(Reader, Writer)> {
    // A vote must not wait for Nagle: writes are batched here already.
    stream.set_nodelay(true)?;
    Ok(match tls {
        None => plain(stream),
        Some(tls) => encrypted(tls.accept(stream).await?),
    })
}

fn plain(stream: TcpStream) -> (Reader, Writer) {
    let (read, write) = stream.into_split();
    halves(Box::new(read), Box::new(write), None)
}

fn encrypted((stream, vouched): (TlsStream<TcpStream>, Vouched)) -> (Reader, Writer) {
    let (read, write) = tokio::io::split(stream);
    halves(Box::new(read), Box::new(write), Some(vouched))
}

fn halves(
    read: Box<dyn AsyncRead + Send + Sync + Unpin>,
    write: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    vouched: Option<Vouched>,
) -> (Reader, Writer) {
    let codec = |limit| {
        LengthDelimitedCodec::builder()
            .max_frame_length(limit)
            .new_codec()
    };
    let reader = Reader {
        stream: read,
        vouched,
        codec: codec(MAX_HELLO_BYTES),
        buffer: BytesMut::new(),
    };
    let writer = Writer {
        stream: write,
        codec: codec(MAX_BYTES),
        buffer: BytesMut::new(),
    };
    (reader, writer)
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
            if self.buffer.capacity() - self.buffer.len() < LEAST_READ {
                self.buffer.reserve(READ);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether the other end may call itself `name`: its certificate says so, where nodes show any.
    pub(super) fn vouches(&self, name: &str) -> Result<(), String> {
        self.vouched
            .as_ref()
            .map_or(Ok(()), |vouched| vouched.is(name))
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

    /// Writes a frame that has its length before it already, without a copy.
    pub(super) async fn raw(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame).await?;
        self.stream.flush().await
    }

    /// Writes encoded frames, leaving the vector empty.
    pub(super) async fn write(&mut self, frames: &mut Vec<Bytes>) -> io::Result<()> {
        for frame in frames.drain(..) {
            self.codec.encode(frame, &mut self.buffer)?;
        }
        self.stream.write_all_buf(&mut self.buffer).await?;
        // TLS keeps what the socket did not take.
        self.stream.flush().await
    }
}
