//! Durations as people write them: `"2s"`, `"500ms"`, `"1m30s"`. Whole milliseconds; one canonical form out.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Designator, Spacing, SpanParser, SpanPrinter};
use serde::Serializer;

use super::limits;
use super::short::Short;

/// What a duration must be, as faults say it.
pub(crate) const EXPECTED: &str = "must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\"";

static PARSER: SpanParser = SpanParser::new();
static PRINTER: SpanPrinter = SpanPrinter::new()
    .designator(Designator::Compact)
    .spacing(Spacing::None);

/// `None` is what [`EXPECTED`] excludes.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let signed: SignedDuration = PARSER.parse_duration(text).ok()?;
    let duration = Duration::try_from(signed).ok()?;
    let whole = duration.subsec_nanos() % 1_000_000 == 0;
    (whole && (limits::SHORTEST_DURATION..=limits::LONGEST_DURATION).contains(&duration))
        .then_some(duration)
}

/// Units of the canonical form, in milliseconds.
const UNITS: [(u32, &str); 4] = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

/// The canonical form.
pub(crate) fn print(duration: Duration) -> String {
    match usual(duration) {
        Some(text) => text.as_str().to_owned(),
        None => print_any(duration),
    }
}

/// Of a duration that [`parse`] gives.
fn usual(duration: Duration) -> Option<Short> {
    let whole = duration.subsec_nanos().is_multiple_of(1_000_000);
    let usual = limits::SHORTEST_DURATION..=limits::LONGEST_DURATION;
    if !whole || !usual.contains(&duration) {
        return None;
    }
    let mut left = u32::try_from(duration.as_millis()).ok()?;
    let mut text = Short::new();
    for (unit, name) in UNITS {
        if left >= unit {
            text.push_number(left / unit);
            text.push(name);
            left %= unit;
        }
    }
    Some(text)
}

fn print_any(duration: Duration) -> String {
    // A duration of a config is at most a day; one built by hand saturates.
    let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    PRINTER.duration_to_string(&signed)
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match usual(*duration) {
        Some(text) => serializer.serialize_str(text.as_str()),
        None => serializer.serialize_str(&print_any(*duration)),
    }
}

/// As [`serialize`], of one that is there.
pub(crate) fn serialize_option<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_printed_as_anything_is() {
        let day = limits::LONGEST_DURATION.as_millis() as u64;
        let near = [1, 1_000, 60_000, 3_600_000, day].map(|unit| unit.saturating_sub(2)..unit + 2);
        let spread = (1..day).step_by(7_919_777);
        for millis in near.into_iter().flatten().chain(spread) {
            let duration = Duration::from_millis(millis);
            assert_eq!(print(duration), print_any(duration));
        }
    }

    #[test]
    fn canonical_form_is_the_short_one() {
        for (written, printed) in [
            ("2s", "2s"),
            ("2 seconds", "2s"),
            ("500ms", "500ms"),
            ("1500ms", "1s500ms"),
            ("90s", "1m30s"),
            ("300s", "5m"),
            ("24h", "24h"),
            ("1ms", "1ms"),
        ] {
            let duration = parse(written).expect(written);
            assert_eq!(print(duration), printed);
            assert_eq!(
                parse(printed),
                Some(duration),
                "what is printed is read back"
            );
        }
    }

    #[test]
    fn what_is_no_bounded_whole_duration_is_refused() {
        for bad in [
            "",
            "2",
            "-2s",
            "0s",
            "1us",
            "1.0005s",
            "25h",
            "2d",
            "soon",
            "2s ago",
            "99999999999999999999h",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
