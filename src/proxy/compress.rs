//! Answers made smaller on their way, for clients that take that.
//!
//! The content is compressed as it passes. Whenever the backend pauses, what was read is flushed, so nothing is held
//! back: an event of a stream arrives when it was sent.

use std::future::poll_fn;
use std::io::{self, Write};
use std::rc::Rc;
use std::task::Poll;

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::buffers::Buffer;
use super::download::Way;
use super::failure::Failure;
use super::grpc;
use super::worker::Worker;
use crate::config::policy::{Coding, Compress};
use crate::wire::body::{BodyKind, Relay};
use crate::wire::field::Known;
use crate::wire::fields::members;
use crate::wire::head::{RequestHead, ResponseHead, Version};
use crate::wire::http1::{BodyReader, Part, write_chunk};

/// Levels that keep up with a network: those of others' defaults for content that is made on the fly.
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;

/// The window of brotli is 2 to this: 256 KiB, of which an encoder keeps a few copies.
const BROTLI_WINDOW: u32 = 18;

/// Bytes that brotli takes at a time.
const BROTLI_PIECE: usize = 16 * 1024;

/// Compressed bytes from which on they are written, without waiting for a pause.
const ENOUGH: usize = 16 * 1024;

/// Fields that speak of the bytes as the backend sent them.
const OF_THE_BYTES: [&str; 5] = [
    "accept-ranges",
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
];

/// Answers compressed at a time by one thread; others pass as they are. An encoder of brotli keeps two megabytes.
const MOST: usize = 256;

/// What compresses one answer.
pub(crate) struct Encoder {
    by: By,
    _counted: Rc<()>,
}

enum By {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

/// Has `answer` say that it is compressed, if it is to be: one to a HEAD too, for it says what a GET would be told.
pub(crate) fn begin(
    policy: &Compress,
    request: &RequestHead,
    answer: &mut ResponseHead,
    worker: &Worker,
) -> Option<Encoder> {
    if !varies(policy, request, answer) {
        return None;
    }
    let fields = answer.fields_mut();
    if !says(fields.sent("vary"), b"accept-encoding") {
        let _ = fields.append("Vary", b"Accept-Encoding");
    }
    // Of a part the tag is the whole's, as it is.
    let coding = wanted(policy, request).filter(|_| answer.status() != 206)?;
    if answer.status() == 304 {
        if knows_weak(request, answer) {
            weaken(answer);
        }
        return None;
    }
    let counted = worker.compressing.clone();
    let head_only = request.method() == "HEAD";
    // One count is the thread's own, one this one's.
    if !head_only && Rc::strong_count(&counted) > MOST + 1 {
        return None;
    }
    weaken(answer);
    let fields = answer.fields_mut();
    // `identity`, if anything.
    fields.remove("content-encoding");
    OF_THE_BYTES.iter().for_each(|name| fields.remove(name));
    let _ = fields.append("Content-Encoding", coding.name().as_bytes());
    if head_only {
        // RFC 9110, 8.6: that of a GET, which is not known, or none.
        fields.skip(Known::ContentLength);
        return None;
    }
    answer.set_chunked();
    Some(Encoder {
        by: By::new(coding),
        _counted: counted,
    })
}

/// Whether the answer, or the whole one that it stands for, is another for some other client.
fn varies(policy: &Compress, request: &RequestHead, answer: &ResponseHead) -> bool {
    let fields = answer.fields();
    let status = answer.status();
    let length = match answer.body() {
        BodyKind::None if status != 304 => length_told(answer),
        BodyKind::Length(length) if status != 206 => Some(length),
        _ => None,
    };
    let content = match (answer.body(), status) {
        (_, 206 | 304) => true,
        (BodyKind::None, _) => request.method() == "HEAD" && status != 204,
        _ => fields.sent("content-range").next().is_none(),
    };
    let plain = |coding: &[u8]| coding.eq_ignore_ascii_case(b"identity");
    let mut media = fields.sent("content-type");
    let taken = match media.next() {
        Some(media) => policy.takes(media),
        // It is left out where nothing of it has changed.
        None => status == 304,
    };
    content
        && taken
        && length.is_none_or(|length| length >= policy.min_bytes)
        && fields.sent("content-encoding").all(plain)
        && !says(fields.sent("cache-control"), b"no-transform")
        && request.version() >= Version::Http11
        && !grpc::is_spoken(request)
}

/// Of an answer without a body, that of the one to a GET.
fn length_told(answer: &ResponseHead) -> Option<u64> {
    let value = answer.fields().value(Known::ContentLength)?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether the client has the compressed form of what has not changed: the tag it knows it by is the weak one.
fn knows_weak(request: &RequestHead, answer: &ResponseHead) -> bool {
    let Some(tag) = answer.fields().sent("etag").next() else {
        return false;
    };
    let known = request.fields().sent("if-none-match").flat_map(members);
    let mut weak = known.filter_map(|known| known.strip_prefix(b"W/"));
    weak.any(|known| known == tag)
}

/// Whether lists of words have this one, or `*`.
fn says<'a>(lists: impl Iterator<Item = &'a [u8]>, word: &[u8]) -> bool {
    let mut words = lists.flat_map(members);
    words.any(|one| one == b"*" || one.eq_ignore_ascii_case(word))
}

/// The coding that the client likes best; of several, the one that the policy does. None for one that wants its answer
/// as it is (RFC 9111, 5.2.1.6).
fn wanted(policy: &Compress, request: &RequestHead) -> Option<Coding> {
    if says(
        request.fields().values(Known::CacheControl),
        b"no-transform",
    ) {
        return None;
    }
    let mut best = None;
    for coding in &policy.codings {
        let quality = quality(request, coding.name());
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((*coding, quality));
        }
    }
    best.map(|(coding, _)| coding)
}

/// How much the client likes a coding, in thousandths; 0 is not at all.
fn quality(request: &RequestHead, coding: &str) -> u32 {
    let (mut of_all, mut own) = (None, None);
    let fields = request.fields().iter();
    let lines = fields.filter(|field| field.name.eq_ignore_ascii_case(b"accept-encoding"));
    for member in lines.flat_map(|line| members(line.value)) {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
        let weight = weight.map_or(1.0, |weight| {
            let text = std::str::from_utf8(weight).unwrap_or_default();
            text.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0)
        });
        let weight = Some((weight * 1_000.0) as u32);
        if name == b"*" {
            of_all = of_all.or(weight);
        } else if name.eq_ignore_ascii_case(coding.as_bytes()) {
            own = own.or(weight);
        }
    }
    own.or(of_all).unwrap_or(0)
}

/// Two forms of one content are no longer the same byte for byte (RFC 9110, 8.8.1).
fn weaken(answer: &mut ResponseHead) {
    let strong = answer.fields().sent("etag").next();
    let strong = strong.filter(|tag| tag.starts_with(b"\""));
    if let Some(weak) = strong.map(|tag| [b"W/", tag].concat()) {
        let fields = answer.fields_mut();
        fields.remove("etag");
        // It was a valid value.
        let _ = fields.append("ETag", &weak);
    }
}

impl By {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Brotli => {
                let (piece, window) = (BROTLI_PIECE, BROTLI_WINDOW);
                let encoder = CompressorWriter::new(Vec::new(), piece, BROTLI_LEVEL, window);
                Self::Brotli(Box::new(encoder))
            }
            Coding::Gzip => {
                let encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
                Self::Gzip(Box::new(encoder))
            }
        }
    }
}

impl Encoder {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.by {
            By::Brotli(encoder) => encoder.write_all(data),
            By::Gzip(encoder) => encoder.write_all(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.by {
            By::Brotli(encoder) => encoder.flush(),
            By::Gzip(encoder) => encoder.flush(),
        }
    }

    /// What is compressed and not yet taken.
    fn made(&mut self) -> &mut Vec<u8> {
        match &mut self.by {
            By::Brotli(encoder) => encoder.get_mut(),
            By::Gzip(encoder) => encoder.get_mut(),
        }
    }

    /// The end, and all that is not yet taken.
    fn finish(self) -> io::Result<Vec<u8>> {
        match self.by {
            By::Brotli(encoder) => Ok(encoder.into_inner()),
            By::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// Passes a body of `kind` on, compressed, behind the head that is in `out`; `begun` is what came of it with its head.
/// Tells whether more than the body was read.
pub(crate) async fn stream(
    mut encoder: Encoder,
    kind: BodyKind,
    begun: &mut Buffer,
    out: &mut Vec<u8>,
    way: &mut Way<'_, '_>,
) -> Result<bool, Failure> {
    let mut head = out.len();
    let mut reader = BodyReader::response(kind);
    let mut trailers = Vec::new();
    let mut large = way.worker.large.lease();
    let later = &mut large.0;
    let mut done = take(&mut reader, begun, &mut encoder, &mut trailers)?;
    while !done {
        let there = poll_fn(|cx| Poll::Ready(way.poll_fill(later, cx))).await;
        let read = match there {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                encoder.flush().map_err(broken)?;
                let made = std::mem::take(encoder.made());
                pass(std::mem::take(&mut head), made, out, way).await?;
                way.fill(later).await?
            }
        };
        if read == 0 {
            let end = reader.end(Relay::Pass, &mut Vec::new());
            end.map_err(|_| Failure::BackendGone)?;
            break;
        }
        done = take(&mut reader, later, &mut encoder, &mut trailers)?;
        if encoder.made().len() >= ENOUGH {
            let made = std::mem::take(encoder.made());
            pass(std::mem::take(&mut head), made, out, way).await?;
        }
    }
    let rest = encoder.finish().map_err(broken)?;
    write_chunk(&rest, out);
    out.extend_from_slice(b"0\r\n");
    match trailers.is_empty() {
        true => out.extend_from_slice(b"\r\n"),
        false => out.extend_from_slice(&trailers),
    }
    way.write_body(head, out, &[]).await?;
    Ok(!begun.is_empty() || !later.is_empty())
}

/// Compresses the body's part of what is read. Tells whether that was the last.
fn take(
    reader: &mut BodyReader,
    buffer: &mut Buffer,
    encoder: &mut Encoder,
    trailers: &mut Vec<u8>,
) -> Result<bool, Failure> {
    let mut written = Ok(());
    let step = reader.advance_parts(buffer.filled(), |part| match part {
        Part::Data(run) => {
            if written.is_ok() {
                written = encoder.write(run);
            }
        }
        Part::Trailers(piece) => trailers.extend_from_slice(piece),
    });
    let step = step.map_err(Failure::Malformed)?;
    written.map_err(broken)?;
    buffer.consume(step.consumed);
    Ok(step.done)
}

/// Writes what is compressed to the client, as one chunk, behind what is in `out`: a head of so many bytes, or nothing.
async fn pass(
    head: usize,
    made: Vec<u8>,
    out: &mut Vec<u8>,
    way: &mut Way<'_, '_>,
) -> Result<(), Failure> {
    write_chunk(&made, out);
    way.write_body(head, out, &[]).await?;
    out.clear();
    Ok(())
}

/// Encoders into memory do not fail.
fn broken(_: io::Error) -> Failure {
    Failure::Stalled
}
