//! Asking the backend for something else than the client asked for.

use std::borrow::Cow;

use serde::Serialize;

use crate::config::{PathMatch, Pattern};

/// What the backend is asked for instead of what the client asked for. The query is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Host, and port if need be, in place of the client's, which X-Forwarded-Host tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<NewPath>,
}

/// A path in place of the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum NewPath {
    /// This one.
    Full {
        /// Begins with `/`.
        full: String,
    },
    /// This in place of the prefix that the route matches by.
    Prefix {
        /// Begins with `/`.
        prefix: String,
    },
    /// This in place of the first part that matches an expression; where none does the path stays.
    Regex {
        /// May match anywhere in the path.
        regex: Pattern,
        /// With `$1` or `${name}` for what a group matched.
        to: String,
    },
}

impl NewPath {
    /// The path in place of `path`, which the route took by `matched`. Begins with `/`.
    pub fn of<'a>(&'a self, path: &'a str, matched: &PathMatch) -> Cow<'a, str> {
        match self {
            Self::Full { full } => Cow::Borrowed(full),
            Self::Prefix { prefix } => match matched.behind(path) {
                Some("") => Cow::Borrowed(prefix),
                Some(rest) => {
                    let new = prefix.strip_suffix('/').unwrap_or(prefix);
                    Cow::Owned(format!("{new}{rest}"))
                }
                None => Cow::Borrowed(path),
            },
            Self::Regex { regex, to } => match regex.replace(path, to) {
                Cow::Owned(new) if !new.starts_with('/') => Cow::Owned(format!("/{new}")),
                new => new,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        for (matched, new, path, expected) in [
            ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
            ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
            ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
            ("/foo", "/xyz", "/foo", "/xyz"),
            ("/foo", "/xyz/", "/foo", "/xyz/"),
            ("/foo", "/xyz", "/foo/", "/xyz/"),
            ("/foo", "/", "/foo", "/"),
            ("/foo", "/", "/foo/", "/"),
            ("/foo", "/", "/foo/bar", "/bar"),
            ("/", "/xyz", "/", "/xyz/"),
            ("/", "/xyz", "/a//b", "/xyz/a//b"),
            ("/", "/xyz", "*", "*"),
        ] {
            let matched = PathMatch::Prefix(matched.to_owned());
            let new = NewPath::Prefix {
                prefix: new.to_owned(),
            };
            assert_eq!(new.of(path, &matched), expected, "{matched:?} {path}");
        }
    }

    #[test]
    fn an_expression_replaces_what_it_matches_once() {
        for (regex, to, path, expected) in [
            (
                "^/users/([0-9]+)",
                "/u/$1",
                "/users/7/users/8",
                "/u/7/users/8",
            ),
            ("(?<id>[0-9]+)$", "id-${id}x", "/a/7", "/a/id-7x"),
            ("^/v1", "", "/v1", "/"),
            ("^/v1/", "", "/v1/a", "/a"),
            ("x", "y", "/a", "/a"),
        ] {
            let new = NewPath::Regex {
                regex: Pattern::anywhere(regex).unwrap(),
                to: to.to_owned(),
            };
            assert_eq!(
                new.of(path, &PathMatch::default()),
                expected,
                "{regex} {path}"
            );
        }
    }
}
