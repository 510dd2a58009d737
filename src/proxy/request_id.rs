//! Request ids: unique without asking anybody, cheap enough for every request.

use std::cell::Cell;

/// Bytes of an id.
pub(crate) const LENGTH: usize = 32;

/// A source of ids: 64 random bits of this thread, and a count that starts at random.
#[derive(Debug)]
pub(crate) struct RequestIds {
    thread: [u8; 16],
    next: Cell<u64>,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self {
            thread: hex(rand::random()),
            next: Cell::new(rand::random()),
        }
    }

    /// The next id: 32 hexadecimal digits.
    pub(crate) fn next(&self) -> [u8; LENGTH] {
        let n = self.next.get();
        self.next.set(n.wrapping_add(1));
        let mut id = [0; LENGTH];
        id[..16].copy_from_slice(&self.thread);
        id[16..].copy_from_slice(&hex(n));
        id
    }
}

fn hex(n: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (i, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(n >> (60 - 4 * i)) as usize & 15];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_differ() {
        let (one, other) = (RequestIds::new(), RequestIds::new());
        let ids = [one.next(), one.next(), other.next()];
        assert!(ids.iter().flatten().all(u8::is_ascii_hexdigit));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert_eq!(&hex(0x0123_4567_89ab_cdef), b"0123456789abcdef");
    }
}
