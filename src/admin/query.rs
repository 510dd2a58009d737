//! Query parameters: each known to its path, given once and of the right form, or refused; all faults at once.
//!
//! A misspelt `?dryrun=true` that was ignored would change what its sender only wanted to look at.

use std::time::Duration;

use http::Uri;

use super::problem::{Kind, Problem};
use crate::config::Fault;

/// The parameters of one request, taken one by one by the options that know them.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::at(Kind::Malformed, "?", error.body_text()))?;
        Ok(Self {
            pairs: pairs.0,
            known: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// The parameter's value, if it was given; what `parse` says against it becomes a fault.
    pub(super) fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(name);
        let at = self.pairs.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.pairs.swap_remove(at);
        if self.pairs.iter().any(|(given, _)| given == name) {
            self.pairs.retain(|(given, _)| given != name);
            self.fault(name, "is given more than once".to_owned());
            return None;
        }
        parse(&value)
            .map_err(|detail| self.fault(name, detail))
            .ok()
    }

    /// Refuses what nobody took, and what was taken but wrong.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let known = self
            .known
            .iter()
            .map(|name| format!("?{name}="))
            .collect::<Vec<_>>()
            .join(", ");
        let known = if known.is_empty() {
            "it takes none".to_owned()
        } else {
            format!("it takes {known}")
        };
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.fault(
                &name,
                format!("is not a parameter of this path and method; {known}"),
            );
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        let detail = self
            .faults
            .iter()
            .map(|f| format!("{} {}", f.pointer, f.detail))
            .collect::<Vec<_>>()
            .join("; ");
        Err(Problem::new(Kind::Malformed, detail).faults(self.faults))
    }

    fn fault(&mut self, name: &str, detail: String) {
        self.faults.push(Fault {
            pointer: format!("?{name}"),
            detail,
        });
    }
}

/// The value for a word of a list.
pub(super) fn word<T: Copy>(words: &[(&str, T)], given: &str) -> Result<T, String> {
    words
        .iter()
        .find(|(word, _)| *word == given)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let all = words
                .iter()
                .map(|(word, _)| *word)
                .collect::<Vec<_>>()
                .join(", ");
            format!("is {given:?}; it must be one of {all}")
        })
}

/// A duration with its unit, such as `5s`, `1500ms` or `1m30s`, up to `most`.
pub(super) fn duration(given: &str, most: Duration) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "is {given:?}; it must be a duration with its unit up to {}s, such as 5s",
            most.as_secs()
        )
    };
    let signed: jiff::SignedDuration = given.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(signed).map_err(|_| wrong())?;
    if duration > most {
        Err(wrong())
    } else {
        Ok(duration)
    }
}

/// A whole number in a range.
pub(super) fn number(given: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let number = given
        .parse::<u64>()
        .ok()
        .filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!(
            "is {given:?}; it must be a whole number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_known_given_once_and_of_the_right_form() {
        let faults = |query: &'static str| {
            let mut query = Query::of(&Uri::from_static(query)).ok()?;
            query.take("timeout", |given| duration(given, Duration::from_secs(60)));
            query.take("wait", |given| word(&[("applied", 1), ("none", 2)], given));
            query.finish().err().map(|problem| problem.pointers())
        };
        assert_eq!(faults("/?timeout=5s&wait=none"), None);
        assert_eq!(faults("/?timeout=1m"), None);
        assert_eq!(faults("/?timeout=61s"), Some(vec!["?timeout".to_owned()]));
        assert_eq!(faults("/?timeout=5"), Some(vec!["?timeout".to_owned()]));
        assert_eq!(
            faults("/?timeout=-5s&wait=x&z"),
            Some(vec!["?timeout".into(), "?wait".into(), "?z".into()])
        );
        assert_eq!(
            faults("/?wait=none&wait=none"),
            Some(vec!["?wait".to_owned()])
        );
    }
}
