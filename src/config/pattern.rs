//! Regular expressions of a config: compiled where they are read, so that one that cannot be compiled never gets in.
//!
//! Matching takes time in the length of the text, whatever the expression (there are no back references), and an
//! expression has a bound on its compiled size. Bytes are compared, not characters: `.` is one byte.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};

use super::limits;

/// A regular expression in the syntax of the `regex` crate. Two are equal if they are written alike.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

impl Pattern {
    /// One that the whole of a text has to match; the error says what is wrong.
    pub fn whole(text: &str) -> Result<Self, String> {
        // By itself first, so that no unbalanced bracket is balanced by those around it.
        compile(text)?;
        Ok(Self {
            text: text.into(),
            regex: compile(&format!("^(?:{text})$"))?,
        })
    }

    /// One that a part of a text has to match.
    pub fn anywhere(text: &str) -> Result<Self, String> {
        Ok(Self {
            text: text.into(),
            regex: compile(text)?,
        })
    }

    /// `text` with `to` in place of the first part that matches; as it is if none does. In `to` a group is `$1` or
    /// `${name}`.
    pub fn replace<'a>(&self, text: &'a str, to: &str) -> Cow<'a, str> {
        match self.regex.replace(text.as_bytes(), to.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Cut out of ASCII, between any two bytes, is ASCII; in other text it may not fit, and nothing is replaced.
            Cow::Owned(new) => String::from_utf8(new).map_or(Cow::Borrowed(text), Cow::Owned),
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `text`, or a part of it, matches.
    pub fn fits(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    if text.len() > limits::PATTERN_BYTES {
        return Err(format!("must have at most {} bytes", limits::PATTERN_BYTES));
    }
    let built = RegexBuilder::new(text)
        .unicode(false)
        .size_limit(limits::PATTERN_SIZE)
        .dfa_size_limit(limits::PATTERN_SIZE)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too big once compiled: ask for less".to_owned(),
        error => {
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default();
            let reason = last.trim_start_matches("error: ");
            format!("must be a regular expression: {reason}")
        }
    })
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_of_a_text_has_to_match() {
        let pattern = Pattern::whole("/v[0-9]+|/old/.*").unwrap();
        for (text, fits) in [
            ("/v1", true),
            ("/v12", true),
            ("/v12/", false),
            ("x/v1", false),
            ("/old/", true),
            ("/old/a?b", true),
        ] {
            assert_eq!(pattern.fits(text.as_bytes()), fits, "{text}");
        }
        assert!(Pattern::whole("(?i)/a\\d").unwrap().fits(b"/A7"));
        assert!(Pattern::whole(".").unwrap().fits(b"\xff"));
    }

    #[test]
    fn what_is_no_expression_is_told() {
        let long = "a".repeat(limits::PATTERN_BYTES + 1);
        for (text, wrong) in [
            ("(", "must be a regular expression: unclosed group"),
            (")|(", "must be a regular expression: unopened group"),
            ("(?x)a # b", "must be a regular expression: unclosed group"),
            (
                "(a)\\1",
                "must be a regular expression: backreferences are not supported",
            ),
            ("(a{1000}){1000}", "is too big once compiled: ask for less"),
            (&long, "must have at most 1024 bytes"),
        ] {
            assert_eq!(Pattern::whole(text).unwrap_err(), wrong, "{text}");
        }
    }
}
