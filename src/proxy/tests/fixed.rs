//! What the sample of the settings says is fixed is what the code goes by.

use crate::proxy::http2::STREAMS;
use crate::proxy::retry::{FIRST_BACKOFF, LONGEST_BACKOFF};
use crate::wire::http1::{MAX_FIELDS, MAX_HEAD, MAX_TARGET};

const SAMPLE: &str = include_str!("../../../config/synod.toml");

/// The comment that begins so, without its marks and line breaks.
fn comment(begin: &str) -> String {
    let lines = SAMPLE.lines().skip_while(|line| !line.starts_with(begin));
    let words = lines.map_while(|line| line.strip_prefix("# "));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_the_sample_says_is_fixed_is_what_the_code_goes_by() {
    let said = format!(
        "Fixed: a head has at most {MAX_FIELDS} fields, {} KiB, and a target of {} KiB; a connection of HTTP/2 \
         {STREAMS} requests at a time; a request is tried again after {} ms at most, each next time after twice as \
         much, up to {} ms.",
        MAX_HEAD / 1024,
        MAX_TARGET / 1024,
        FIRST_BACKOFF.as_millis(),
        LONGEST_BACKOFF.as_millis(),
    );
    assert_eq!(comment("# Fixed:"), said);
}
