//! A request's target and the host it names, by RFC 9112, section 3.2, and RFC 3986.

use super::MAX_TARGET;
use super::refusal::Reason;
use crate::wire::head::TargetForm;

/// A target taken apart; positions count from its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) form: TargetForm,
    /// Host and port of an absolute target.
    pub(super) authority: Option<&'a str>,
    pub(super) path: usize,
    /// Where the `?` stands, or the target's length.
    pub(super) query: usize,
}

pub(super) fn parse<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Reason> {
    if target.len() > MAX_TARGET {
        return Err(Reason::TargetTooLong);
    }
    let query = memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len());
    let (before, rest) = target.as_bytes().split_at(query);
    let allowed = |byte: &u8| TARGET[usize::from(*byte)];
    let in_query = |byte: &u8| allowed(byte) || QUOTES.contains(byte);
    if !before.iter().all(allowed) || !rest.iter().all(in_query) {
        return Err(Reason::TargetByte);
    }
    if target.starts_with('/') {
        return Ok(Target {
            form: TargetForm::Origin,
            authority: None,
            path: 0,
            query,
        });
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(Target {
            form: TargetForm::Asterisk,
            authority: None,
            path: 0,
            query,
        });
    }
    let start = scheme_len(target).ok_or(Reason::BadTarget)?;
    let end = target[start..]
        .find(['/', '?'])
        .map_or(target.len(), |at| start + at);
    Ok(Target {
        form: TargetForm::Absolute,
        authority: Some(&target[start..end]),
        path: end,
        query: query.max(end),
    })
}

/// The length of `http://` or `https://`.
fn scheme_len(target: &str) -> Option<usize> {
    ["http://", "https://"]
        .iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(|scheme| scheme.len())
}

/// What may come in a query besides: people write JSON and expressions there, and curl sends them as they are.
const QUOTES: &[u8] = b"\"<>";

/// A query without them: as browsers send it, and as readers that are strict take it; none if that is as it was.
pub(super) fn without_quotes(query: &str) -> Option<String> {
    let has_some = query.bytes().any(|byte| QUOTES.contains(&byte));
    has_some.then(|| {
        let escaped = query.replace('"', "%22").replace('<', "%3C");
        escaped.replace('>', "%3E")
    })
}

/// What may stand in a target unescaped: RFC 3986, and what browsers and scripts send besides it and every server
/// takes. Not `#`: what is behind it never goes on the wire.
const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] = !matches!(byte, b'#' | b'"' | b'<' | b'>');
        byte += 1;
    }
    table
};

/// What a host's name is made of.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

/// Whether two valid authorities name one place: the case of letters and a default port left out do not matter.
pub(super) fn same_place(one: &str, other: &str, https: bool) -> bool {
    let default = if https { "443" } else { "80" };
    let split = |authority| {
        let host = host_of(authority).unwrap_or(authority);
        let port = authority[host.len()..].trim_start_matches(':');
        (host, if port.is_empty() { default } else { port })
    };
    let ((host, port), (other_host, other_port)) = (split(one), split(other));
    host.eq_ignore_ascii_case(other_host) && port == other_port
}

/// Checks host and port, and gives the host's part.
///
/// Narrower than RFC 3986: letters, digits, `-._~` or a bracketed IPv6 address. Percent-escapes and the marks that
/// the RFC lets a name hold are seen in attacks only; `a,b` would be two joined fields.
pub(super) fn host_of(authority: &str) -> Result<&str, Reason> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let close = rest.find(']').ok_or(Reason::BadHost)?;
            if rest[..close].parse::<std::net::Ipv6Addr>().is_err() {
                return Err(Reason::BadHost);
            }
            authority.split_at(close + 2)
        }
        None => {
            let end = authority.bytes().position(|byte| !NAME[byte as usize]);
            authority.split_at(end.unwrap_or(authority.len()))
        }
    };
    // Dots alone name nothing.
    let good_host = host.bytes().any(|byte| byte != b'.');
    let good_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some("") => true,
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    };
    if good_host && good_port {
        Ok(host)
    } else {
        Err(Reason::BadHost)
    }
}
