//! What tells messages of gRPC from others. What more that means is said by who acts on it.

/// Whether a Content-Type is one of gRPC, in any case (RFC 9110, 8.3.1). The form for browsers (`application/grpc-web`)
/// is not meant: it is HTTP like any other, without trailers and with statuses of HTTP.
pub fn is_media_type(media: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let (start, behind) = media.split_at(GRPC.len().min(media.len()));
    start.eq_ignore_ascii_case(GRPC)
        && matches!(behind.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}
