//! Tables of what is refused and why, and properties over all bytes.

mod chunks;
mod encoding;
mod properties;
mod requests;
mod responses;

use super::*;
use crate::wire::head::{RequestHead, ResponseHead};

/// Parses bytes that hold a whole request head.
fn request(bytes: &[u8]) -> Result<(RequestHead, usize), Refusal> {
    let mut head = RequestHead::new();
    match parse_request(bytes, &mut Scan::default(), &mut head)? {
        Parsed::Head { len } => Ok((head, len)),
        Parsed::Incomplete => panic!("incomplete: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Parses bytes that hold a whole response head, in answer to `method`.
fn response(method: &str, bytes: &[u8]) -> Result<(ResponseHead, usize), Refusal> {
    let mut head = ResponseHead::new();
    match parse_response(bytes, &mut Scan::default(), method, &mut head)? {
        Parsed::Head { len } => Ok((head, len)),
        Parsed::Incomplete => panic!("incomplete: {:?}", String::from_utf8_lossy(bytes)),
    }
}
