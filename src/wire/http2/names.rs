//! Names of fields that are known already, which need neither be read nor copied.

use http::{HeaderName, header};

use crate::wire::field::Known;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name of a field that is often passed on.
pub(super) fn of(known: Known) -> Option<HeaderName> {
    Some(match known {
        Known::Authorization => header::AUTHORIZATION,
        Known::CacheControl => header::CACHE_CONTROL,
        Known::ContentLength => header::CONTENT_LENGTH,
        Known::ContentType => header::CONTENT_TYPE,
        Known::Cookie => header::COOKIE,
        Known::Date => header::DATE,
        Known::SetCookie => header::SET_COOKIE,
        Known::Te => header::TE,
        Known::Via => header::VIA,
        Known::Traceparent => TRACEPARENT,
        Known::Tracestate => TRACESTATE,
        Known::XForwardedFor => X_FORWARDED_FOR,
        Known::XForwardedHost => X_FORWARDED_HOST,
        Known::XForwardedProto => X_FORWARDED_PROTO,
        Known::XRequestId => X_REQUEST_ID,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_name_is_that_which_was_read() {
        for name in [
            "Authorization",
            "Cache-Control",
            "Content-Length",
            "Content-Type",
            "Cookie",
            "Date",
            "Set-Cookie",
            "TE",
            "Traceparent",
            "Tracestate",
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Request-Id",
        ] {
            let read = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(of(Known::of(name.as_bytes())), Some(read));
        }
    }
}
