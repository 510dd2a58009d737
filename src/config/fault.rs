//! What is wrong with a document: every fault at once, each with the JSON pointer of the place and what would be
//! right there. Parsing goes on after a fault, with a default in the place of what was wrong.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// RFC 6901 pointer into the document that was sent; empty for the whole of it.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.pointer.as_str() {
            "" => "(whole)",
            pointer => pointer,
        };
        write!(f, "{place}: {}", self.detail)
    }
}

/// All that is wrong with one document, in the order it was read: at most [`limits::FAULTS`], and then a last one
/// that says there are more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Exactly one.
    pub fn one(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(vec![Fault {
            pointer: pointer.into(),
            detail: detail.into(),
        }])
    }

    /// Notes one more, up to the limit.
    pub fn add(&mut self, at: &Pointer<'_>, detail: impl Into<String>) {
        let (pointer, detail) = match self.0.len().cmp(&limits::FAULTS) {
            Ordering::Less => (at.to_string(), detail.into()),
            Ordering::Equal => (
                String::new(),
                "has more faults than are told at once".to_owned(),
            ),
            Ordering::Greater => return,
        };
        self.0.push(Fault { pointer, detail });
    }

    /// Whether no more are noted.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() > limits::FAULTS
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pointers with `prefix` taken off where they have it: from a transaction to the body of its one operation.
    pub fn relative_to(mut self, prefix: &str) -> Self {
        for fault in &mut self.0 {
            if let Some(rest) = fault
                .pointer
                .strip_prefix(prefix)
                .filter(|r| r.is_empty() || r.starts_with('/'))
            {
                fault.pointer = rest.to_owned();
            }
        }
        self
    }

    /// `value` if nothing is wrong.
    pub(crate) fn or<T>(self, value: Option<T>) -> Result<T, Faults> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A place in a document, grown downwards on the stack, so that a document without faults allocates no pointer.
#[derive(Clone, Copy, Debug)]
pub enum Pointer<'a> {
    /// Text that is a pointer already.
    Root(&'a str),
    /// A field of an object.
    Field(&'a Pointer<'a>, &'a str),
    /// An element of an array.
    Index(&'a Pointer<'a>, usize),
}

impl<'a> Pointer<'a> {
    /// The field `name` here.
    pub fn field(&'a self, name: &'a str) -> Pointer<'a> {
        Pointer::Field(self, name)
    }

    /// The element `index` here.
    pub fn index(&'a self, index: usize) -> Pointer<'a> {
        Pointer::Index(self, index)
    }
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pointer::Root(text) => f.write_str(text),
            Pointer::Field(parent, name) => {
                write!(
                    f,
                    "{parent}/{}",
                    quote(name).replace('~', "~0").replace('/', "~1")
                )
            }
            Pointer::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// The writer's own text, cut where an answer would grow with it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(limits::QUOTED_CHARS).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    quoted
}
