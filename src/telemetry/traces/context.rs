//! Where a request stands in a trace, as `traceparent` tells it (W3C Trace Context).

use std::num::NonZero;

/// Bytes of a `traceparent` of the version that is written here: `00-`, trace, `-`, span, `-`, flags.
pub const LENGTH: usize = 55;

/// Flags that have a meaning: the trace is recorded, and its id is random. The others are 0 on the way out.
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// Names a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceId(NonZero<u128>);

/// Names a span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanId(NonZero<u64>);

impl TraceId {
    fn random() -> Self {
        Self(NonZero::new(rand::random()).unwrap_or(NonZero::<u128>::MIN))
    }

    /// As OTLP has it.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl SpanId {
    /// One that nobody else has.
    pub fn random() -> Self {
        Self(NonZero::new(rand::random()).unwrap_or(NonZero::<u64>::MIN))
    }

    /// As OTLP has it.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

/// A span, its trace, and whether that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    flags: u8,
}

impl Context {
    /// What a field says; none if it is malformed. Of versions to come what this one knows is read.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, further) = value.split_at_checked(LENGTH)?;
        let [v1, v2, b'-', rest @ ..] = known else {
            return None;
        };
        let version = unhex(&[*v1, *v2])?;
        let fits = match version {
            0 => further.is_empty(),
            0xFF => false,
            _ => further.is_empty() || further.starts_with(b"-"),
        };
        let (trace, rest) = rest.split_at_checked(32)?;
        let (span, flags) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
        let flags = unhex(flags.strip_prefix(b"-")?)?;
        fits.then_some(Self {
            trace: TraceId(NonZero::new(unhex(trace)?)?),
            span: SpanId(NonZero::new(u64::try_from(unhex(span)?).ok()?)?),
            flags: u8::try_from(flags).ok()? & (SAMPLED | RANDOM),
        })
    }

    /// A span of this node in the trace of `parent`, or in one that begins here.
    pub fn within(parent: Option<&Self>, sampled: bool) -> Self {
        let (trace, random) = match parent {
            Some(parent) => (parent.trace, parent.flags & RANDOM),
            None => (TraceId::random(), 0),
        };
        Self {
            trace,
            span: SpanId::random(),
            flags: random | u8::from(sampled),
        }
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The field for whom `span` calls.
    pub fn field(&self, span: SpanId) -> [u8; LENGTH] {
        let mut field = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(self.trace.0.get(), &mut field[3..35]);
        hex(span.0.get().into(), &mut field[36..52]);
        hex(self.flags.into(), &mut field[53..]);
        field
    }
}

/// Of how many requests in all, which nobody who is trusted has decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// Every request.
    pub const ALL: Self = Self(1 << 32);

    /// None unless it is a number from 0 to 100.
    pub fn percent(percent: f64) -> Option<Self> {
        let whole = Self::ALL.0 as f64;
        (0.0..=100.0)
            .contains(&percent)
            .then(|| Self((percent / 100.0 * whole).round() as u64))
    }

    /// Draws for one request. By chance and not by the trace's id, which a stranger may choose.
    pub fn draw(self) -> bool {
        u64::from(rand::random::<u32>()) < self.0
    }
}

/// Digits in lower case, at most 32.
fn unhex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

fn hex(number: u128, to: &mut [u8]) {
    let last = to.len() - 1;
    for (i, digit) in to.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * (last - i))) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn parse(text: &str) -> Option<Context> {
        Context::parse(text.replace("TRACE", TRACE).as_bytes())
    }

    #[test]
    fn a_field_is_read_as_the_specification_says() {
        for (field, sampled) in [
            ("00-TRACE-00f067aa0ba902b7-01", true),
            ("00-TRACE-00f067aa0ba902b7-00", false),
            // Flags without a meaning have none.
            ("00-TRACE-00f067aa0ba902b7-ff", true),
            ("00-TRACE-00f067aa0ba902b7-fe", false),
            // A version to come may say more.
            ("01-TRACE-00f067aa0ba902b7-01", true),
            ("cc-TRACE-00f067aa0ba902b7-01-more", true),
            ("cc-TRACE-00f067aa0ba902b7-01-", true),
        ] {
            let context = parse(field).unwrap_or_else(|| panic!("{field}"));
            assert_eq!(context.is_sampled(), sampled, "{field}");
            assert_eq!(
                context.trace.to_bytes()[..2],
                [0x4b, 0xf9],
                "the first digits come first"
            );
            assert_eq!(
                context.span.to_bytes(),
                [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
            );
        }
    }

    #[test]
    fn a_malformed_field_says_nothing() {
        for field in [
            "",
            "00",
            "00-TRACE-00f067aa0ba902b7",
            "00-TRACE-00f067aa0ba902b7-",
            "00-TRACE-00f067aa0ba902b7-0",
            "00-TRACE-00f067aa0ba902b7-01-more",
            "00-TRACE-00f067aa0ba902b7-01-",
            "00-TRACE-00f067aa0ba902b7-011",
            "cc-TRACE-00f067aa0ba902b7-01.more",
            "cc-TRACE-00f067aa0ba902b7-011",
            "ff-TRACE-00f067aa0ba902b7-01",
            "0-TRACE-00f067aa0ba902b7-01",
            "0x-TRACE-00f067aa0ba902b7-01",
            "AB-TRACE-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-TRACE-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-TRACE-00F067AA0BA902B7-01",
            "00-TRACE-00f067aa0ba902b7-0A",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_TRACE_00f067aa0ba902b7_01",
            "00-TRACE-00f067aa0ba902b7-0g",
            "00-TRACE-00f067aa0ba902b7-01,",
            "00-TRACE-00f067aa0ba902b7- 1",
            "00-TRACE-00f067aa0ba902b7-+1",
        ] {
            assert_eq!(parse(field), None, "{field:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_keeps_the_trace() {
        let parent = parse("cc-TRACE-00f067aa0ba902b7-03-more").unwrap();
        for sampled in [true, false] {
            let own = Context::within(Some(&parent), sampled);
            assert_eq!(own.trace, parent.trace);
            assert_ne!(own.span, parent.span);
            let call = SpanId::random();
            let field = own.field(call);
            let expected = format!("00-{TRACE}-");
            assert!(field.starts_with(expected.as_bytes()));
            assert!(field.ends_with(if sampled { b"-03" } else { b"-02" }));
            assert_eq!(
                Context::parse(&field),
                Some(Context { span: call, ..own }),
                "{}",
                field.escape_ascii()
            );
        }
        let (one, other) = (Context::within(None, true), Context::within(None, true));
        assert_ne!(one.trace, other.trace);
    }

    #[test]
    fn a_share_is_drawn_as_often_as_it_says() {
        let drawn = |percent| {
            let share = Share::percent(percent).unwrap();
            (0..10_000).filter(|_| share.draw()).count()
        };
        assert_eq!(drawn(0.0), 0);
        assert_eq!(drawn(100.0), 10_000);
        assert_eq!(Share::percent(100.0), Some(Share::ALL));
        // Beyond seven standard deviations.
        assert!((2_200..2_800).contains(&drawn(25.0)));
        for wrong in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::percent(wrong), None, "{wrong}");
        }
    }
}
