//! `ETag`, `If-Match` and `If-None-Match`: a resource's validator is the quoted revision that last changed it.
//!
//! On a write the condition travels inside the command and is judged when the command is applied, so of two clients
//! that read the same revision exactly one wins. On a read it saves sending what the client has.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use super::problem::{Kind, Problem};
use crate::config::Revision;

/// What a write demands of the resource it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing was said.
    #[default]
    Always,
    /// `If-Match: *`
    Exists,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match` with the validators that can match; none when all were of another form.
    At(Vec<Revision>),
}

impl Condition {
    pub(super) fn of_write(headers: &HeaderMap) -> Result<Self, Problem> {
        let matches = validators(headers, IF_MATCH)?;
        let absent = validators(headers, IF_NONE_MATCH)?;
        match (matches, absent) {
            (None, None) => Ok(Self::Always),
            (Some(Validators::Any), None) => Ok(Self::Exists),
            (Some(Validators::These(revisions)), None) => Ok(Self::At(revisions)),
            (None, Some(Validators::Any)) => Ok(Self::Absent),
            (None, Some(Validators::These(_))) => {
                Err(bad(IF_NONE_MATCH, "on a write it can only be *"))
            }
            (Some(_), Some(_)) => Err(bad(IF_NONE_MATCH, "it cannot be combined with If-Match")),
        }
    }
}

/// Whether the client of a read already has this revision (RFC 9110, 13.1.2).
pub(super) fn unchanged(headers: &HeaderMap, revision: Revision) -> Result<bool, Problem> {
    Ok(match validators(headers, IF_NONE_MATCH)? {
        None => false,
        Some(Validators::Any) => true,
        Some(Validators::These(revisions)) => revisions.contains(&revision),
    })
}

pub(super) fn etag(revision: Revision) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", revision.0))
        .expect("digits and quotes are a valid header value")
}

enum Validators {
    Any,
    These(Vec<Revision>),
}

fn validators(headers: &HeaderMap, name: HeaderName) -> Result<Option<Validators>, Problem> {
    let mut revisions = Vec::new();
    let mut given = false;
    for value in headers.get_all(&name) {
        given = true;
        let value = value
            .to_str()
            .map_err(|_| bad(name.clone(), "it is not text"))?;
        for item in value
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            if item == "*" {
                return Ok(Some(Validators::Any));
            }
            let strong = item.strip_prefix("W/").unwrap_or(item);
            let Some(opaque) = strong
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
            else {
                return Err(bad(
                    name,
                    "a validator is a revision in double quotes, as ETag gave it",
                ));
            };
            // If-Match compares strongly: a weak validator, or one this server never gave, matches nothing.
            let comparable = strong.len() == item.len() || name == IF_NONE_MATCH;
            revisions.extend(opaque.parse().ok().filter(|_| comparable).map(Revision));
        }
    }
    Ok(given.then_some(Validators::These(revisions)))
}

fn bad(name: HeaderName, why: &str) -> Problem {
    Problem::new(
        Kind::Malformed,
        format!("the header {name} is wrong: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(headers: &[(HeaderName, &'static str)]) -> Option<Condition> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        Condition::of_write(&headers).ok()
    }

    #[test]
    fn a_validator_is_a_quoted_revision() {
        let at = |revisions: &[u64]| {
            Some(Condition::At(
                revisions.iter().copied().map(Revision).collect(),
            ))
        };
        assert_eq!(condition(&[]), Some(Condition::Always));
        assert_eq!(condition(&[(IF_MATCH, "\"12\"")]), at(&[12]));
        assert_eq!(condition(&[(IF_MATCH, "\"12\", \"13\"")]), at(&[12, 13]));
        assert_eq!(condition(&[(IF_MATCH, "*")]), Some(Condition::Exists));
        assert_eq!(condition(&[(IF_MATCH, "W/\"12\"")]), at(&[]));
        assert_eq!(condition(&[(IF_MATCH, "\"other\"")]), at(&[]));
        assert_eq!(condition(&[(IF_MATCH, "12")]), None);
        assert_eq!(condition(&[(IF_NONE_MATCH, "*")]), Some(Condition::Absent));
        assert_eq!(condition(&[(IF_NONE_MATCH, "\"12\"")]), None);
        assert_eq!(condition(&[(IF_NONE_MATCH, "*"), (IF_MATCH, "*")]), None);
    }
}
