//! Short texts put together on the stack. Every resource that is made is written once, on every node, with all that is
//! in it.

/// Longer than any duration or socket address of IPv4.
const MOST: usize = 32;

/// A short text in the making.
pub(super) struct Short {
    bytes: [u8; MOST],
    len: usize,
}

impl Short {
    pub(super) fn new() -> Self {
        let bytes = [0; MOST];
        Self { bytes, len: 0 }
    }

    pub(super) fn push(&mut self, text: &str) {
        let end = self.len + text.len();
        self.bytes[self.len..end].copy_from_slice(text.as_bytes());
        self.len = end;
    }

    /// In decimal digits.
    pub(super) fn push_number(&mut self, number: u32) {
        let (mut digits, mut first, mut left) = ([0; 10], 10, number);
        while left > 0 || first == 10 {
            first -= 1;
            digits[first] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        let end = self.len + digits.len() - first;
        self.bytes[self.len..end].copy_from_slice(&digits[first..]);
        self.len = end;
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("whole texts were put together")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_ever() {
        for number in [0, 1, 9, 10, 999, 1_000, 65_535, u32::MAX] {
            let mut short = Short::new();
            short.push("=");
            short.push_number(number);
            assert_eq!(short.as_str(), format!("={number}"));
        }
    }
}
