//! How paths are compared. Backends differ in what they make of `/x/../admin`, `//admin`, `/%61dmin` or `/x/..;/admin`;
//! whoever is kept from `/admin` by a route must not reach it by another spelling.
//!
//! A request's path goes on in its normal form (RFC 3986, 6.2.2): without dot segments, and without escapes of what
//! needs none. Where readers differ on what that is, there is none, and it is refused. For matching, escaped slashes
//! and backslashes are slashes besides, several slashes are one, and parameters (`;v=1`) are not there; forwarded they
//! are as they came, for they may mean something. Paths in the config are compared in the same form.

use std::borrow::Cow;

/// A path that different readers take for different ones: its dot segments lead above the root, or stand beside an
/// escaped slash, a backslash, an empty segment or a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// The normal form of a path; `None` if it is that already, as nearly all are.
///
/// # Errors
/// When it has none.
pub fn normal(path: &str) -> Result<Option<String>, Ambiguous> {
    if !may_differ(path.as_bytes()) {
        return Ok(None);
    }
    let decoded = decode(path);
    let Some(below) = decoded.strip_prefix('/') else {
        return Ok(None);
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in below.split('/') {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            // What an empty segment is above, nobody agrees on.
            ".." => match kept.pop() {
                None | Some("") => return Err(Ambiguous),
                Some(_) => {}
            },
            _ if hides_dots(segment) => return Err(Ambiguous),
            _ => kept.push(segment),
        }
    }
    if ends_in_dots {
        kept.push("");
    }
    let normal = format!("/{}", kept.join("/"));
    Ok((normal != path).then_some(normal))
}

/// The form in which paths are compared, of one in its normal form.
pub fn comparable(path: &str) -> Cow<'_, str> {
    if !looks_otherwise(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    let mut form = String::with_capacity(path.len());
    let (mut rest, mut in_parameter) = (path, false);
    while let Some(first) = rest.chars().next() {
        let (is_slash, taken) = match escape(rest) {
            Some(byte) => (matches!(byte, b'/' | b'\\'), 3),
            None => (matches!(first, '/' | '\\'), first.len_utf8()),
        };
        let (next, behind) = rest.split_at(taken);
        rest = behind;
        in_parameter = !is_slash && (in_parameter || first == ';');
        match is_slash {
            true if form.ends_with('/') => {}
            true => form.push('/'),
            false if in_parameter => {}
            false if taken == 3 && first == '%' => form.push_str(&next.to_ascii_uppercase()),
            false => form.push_str(next),
        }
    }
    Cow::Owned(form)
}

/// That form of the path of a prefix, without a slash at its end.
pub(super) fn prefix(path: &str) -> Cow<'_, str> {
    match comparable(path) {
        Cow::Borrowed(form) => Cow::Borrowed(form.strip_suffix('/').unwrap_or(form)),
        Cow::Owned(mut form) => {
            if form.ends_with('/') {
                form.pop();
            }
            Cow::Owned(form)
        }
    }
}

/// Whether anything in a path is compared as something else.
fn looks_otherwise(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().any(|byte| {
        let other = matches!(byte, b'%' | b'\\' | b';') || *byte == b'/' && before == b'/';
        before = *byte;
        other
    })
}

/// Whether anything in a path hints at another normal form than itself.
fn may_differ(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().any(|byte| {
        let hint = *byte == b'%' || *byte == b'.' && matches!(before, b'/' | b'\\');
        before = *byte;
        hint
    })
}

/// Decodes what is escaped and need not be: letters, digits and `-._~` (RFC 3986, 2.3).
fn decode(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match escape(rest) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
                3
            }
            _ => {
                decoded.push('%');
                1
            }
        };
        rest = &rest[taken..];
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// The byte that `text` begins with, if that is escaped.
fn escape(text: &str) -> Option<u8> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    let digits = digits
        .bytes()
        .all(|digit| digit.is_ascii_hexdigit())
        .then_some(digits)?;
    u8::from_str_radix(digits, 16).ok()
}

/// Whether some readers find a dot segment in this one.
fn hides_dots(segment: &str) -> bool {
    let form = comparable(segment);
    form.split('/').any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_normal_form_or_none() {
        for (path, expected) in [
            ("/", Ok(None)),
            ("*", Ok(None)),
            ("/a/b.c/.d/..e/f.", Ok(None)),
            ("/a//b/", Ok(None)),
            ("/a%2Fb%2fc%20d%C3%A9", Ok(None)),
            ("/a;b=1/c", Ok(None)),
            ("/100%", Ok(None)),
            ("/a%4", Ok(None)),
            ("/%zz%\u{20ac}", Ok(None)),
            ("/%61dmin", Ok(Some("/admin"))),
            ("/%7Ea%2Db%2Ec%5f", Ok(Some("/~a-b.c_"))),
            ("/x/../admin", Ok(Some("/admin"))),
            ("/x/%2e%2E/admin", Ok(Some("/admin"))),
            ("/./admin/.", Ok(Some("/admin/"))),
            ("/a/b/..", Ok(Some("/a/"))),
            ("/a/..", Ok(Some("/"))),
            ("/..", Err(Ambiguous)),
            ("/../admin", Err(Ambiguous)),
            ("/a/../../b", Err(Ambiguous)),
            ("/a//../b", Err(Ambiguous)),
            ("/x/..%2fadmin", Err(Ambiguous)),
            ("/x%2F..", Err(Ambiguous)),
            ("/x/..%5Cadmin", Err(Ambiguous)),
            ("/x\\..\\admin", Err(Ambiguous)),
            ("/x/..;/admin", Err(Ambiguous)),
            ("/x/.;a=b/admin", Err(Ambiguous)),
        ] {
            let expected = expected.map(|normal: Option<&str>| normal.map(str::to_owned));
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    #[test]
    fn a_normal_form_is_its_own() {
        for path in ["/x/../%61", "/a/./b/..", "/%2e/%2F/%c3"] {
            let once = normal(path).unwrap().unwrap();
            assert_eq!(normal(&once), Ok(None), "{path}");
        }
    }

    #[test]
    fn paths_are_compared_without_what_readers_differ_on() {
        for (path, expected) in [
            ("/a/b/", "/a/b/"),
            ("//a///b//", "/a/b/"),
            ("/a%2fb%2F%5c\\c", "/a/b/c"),
            ("/a%c3%a9%20", "/a%C3%A9%20"),
            ("/100%", "/100%"),
            ("/admin;v=1;w/x;", "/admin/x"),
            ("/;a/admin", "/admin"),
            ("/a;b%2Fc", "/a/c"),
        ] {
            assert_eq!(comparable(path), expected, "{path}");
        }
    }
}
