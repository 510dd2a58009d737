//! A request as rules see it, whichever protocol it came by.

use std::ops::ControlFlow;

/// What of a request decides where it goes.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `GET`.
    pub method: &'a str,
    /// As in the Host field or the authority.
    pub host: &'a str,
    /// As in the target, without the query.
    pub path: &'a str,
    /// Without its `?`.
    pub query: Option<&'a str>,
    /// Its header fields.
    pub headers: &'a dyn Headers,
}

/// Header fields, wherever they are kept. Only routes with a rule for a field look at them.
pub trait Headers {
    /// Shows each field, name and value, until told to stop.
    fn each<'a>(&'a self, see: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>);
}

impl Headers for Vec<(String, String)> {
    fn each<'a>(&'a self, see: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>) {
        // Stopped is stopped.
        let _ = self
            .iter()
            .try_for_each(|(name, value)| see(name.as_bytes(), value.as_bytes()));
    }
}

impl<'a> Asked<'a> {
    /// Shows the value of each line of a header field until told to stop.
    pub(super) fn each_header(&self, name: &str, see: &mut dyn FnMut(&'a [u8]) -> ControlFlow<()>) {
        self.headers.each(&mut |field, value| {
            if field.eq_ignore_ascii_case(name.as_bytes()) {
                see(value)
            } else {
                ControlFlow::Continue(())
            }
        });
    }

    /// The value of the first query parameter of that name, as written; empty if it has no `=`.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut parameters = self.query?.split('&');
        parameters.find_map(|parameter| match parameter.strip_prefix(name)? {
            "" => Some(""),
            value => value.strip_prefix('='),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parameter_of_a_name_counts_as_it_is_written() {
        let headers = Vec::new();
        let asked = |query| Asked {
            method: "GET",
            host: "",
            path: "/",
            query,
            headers: &headers,
        };
        for (query, value) in [
            (None, None),
            (Some(""), None),
            (Some("a=1&a=2"), Some("1")),
            (Some("ab=1&a"), Some("")),
            (Some("x=a&a=%31=2&"), Some("%31=2")),
            (Some("A=1&b=a=1"), None),
        ] {
            assert_eq!(asked(query).parameter("a"), value, "{query:?}");
        }
    }
}
