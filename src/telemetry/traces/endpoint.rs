//! Where a collector takes traces.

use std::str::FromStr;

use http::Uri;

/// The path that collectors agree on.
const PATH: &str = "/v1/traces";

/// The URL of a collector's traces, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is asked with TLS.
    pub secure: bool,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The scheme's own if the URL names none.
    pub port: u16,
    /// Host and port as the URL has them.
    pub authority: String,
    /// Path and query; `/v1/traces` if the URL has none.
    pub path: String,
}

/// Text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL with a host")]
pub struct BadEndpoint;

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let url: Uri = text.parse().map_err(|_| BadEndpoint)?;
        let secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(BadEndpoint),
        };
        let authority = url.authority().ok_or(BadEndpoint)?;
        let host = authority.host().trim_matches(['[', ']']);
        // A name and password would be sent to nobody.
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(BadEndpoint);
        }
        let told = authority.port();
        // What stands behind the colon is no port.
        if told.is_none() && authority.as_str().len() != authority.host().len() {
            return Err(BadEndpoint);
        }
        let own = if secure { 443 } else { 80 };
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            secure,
            host: host.to_owned(),
            port: told.map_or(own, |port| port.as_u16()),
            authority: authority.to_string(),
            path: if path == "/" { PATH } else { path }.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        for (text, secure, host, port, path) in [
            (
                "http://127.0.0.1:4318/v1/traces",
                false,
                "127.0.0.1",
                4318,
                PATH,
            ),
            ("http://collector:4318", false, "collector", 4318, PATH),
            ("http://collector/", false, "collector", 80, PATH),
            (
                "https://otel.example/a/b?c=d",
                true,
                "otel.example",
                443,
                "/a/b?c=d",
            ),
            ("https://[::1]:1/x", true, "::1", 1, "/x"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            let Endpoint {
                secure: s,
                host: h,
                port: p,
                path: at,
                ..
            } = &endpoint;
            assert_eq!(
                (*s, &h[..], *p, &at[..]),
                (secure, host, port, path),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_url_of_a_collector_is_refused() {
        for text in [
            "",
            "collector:4318",
            "/v1/traces",
            "grpc://collector:4317",
            "http://",
            "http://:4318",
            "http://collector:high",
            "http://collector:",
            "http://user:secret@collector:4318",
            "http://collector:70000",
            "http://a b",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(BadEndpoint), "{text}");
        }
    }
}
