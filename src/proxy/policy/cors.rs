//! Tells browsers which scripts of other origins may read an answer, and answers their preflights.

use crate::config::policy::Cors;
use crate::proxy::failure::Failure;
use crate::wire::fields::Fields;
use crate::wire::head::RequestHead;

/// Puts into `fields` what the answer is to say of the matter, whoever gives it. A preflight is answered here.
pub(super) fn rule(
    cors: &Cors,
    request: &RequestHead,
    fields: &mut Vec<(&'static str, String)>,
) -> Option<Failure> {
    let named = |name: &str| {
        request
            .fields()
            .named(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    };
    let names_method = named("access-control-request-method").is_some();
    let preflight = Cors::is_preflight(request.method(), names_method);
    let origin = named("origin");
    if !cors.is_for_all() {
        fields.push(("Vary", "Origin".to_owned()));
    }
    let origin = origin?;
    if !cors.admits(origin) {
        return preflight.then_some(Failure::OriginDenied);
    }
    let admitted = if cors.is_for_all() { "*" } else { origin };
    fields.push(("Access-Control-Allow-Origin", admitted.to_owned()));
    if cors.credentials {
        fields.push(("Access-Control-Allow-Credentials", "true".to_owned()));
    }
    if !preflight {
        if !cors.expose.is_empty() {
            fields.push(("Access-Control-Expose-Headers", cors.expose.join(", ")));
        }
        return None;
    }
    fields.push(("Access-Control-Allow-Methods", cors.methods.join(", ")));
    if !cors.headers.is_empty() {
        fields.push(("Access-Control-Allow-Headers", cors.headers.join(", ")));
    }
    fields.push(("Access-Control-Max-Age", cors.max_age.as_secs().to_string()));
    Some(Failure::Preflight)
}

/// The fields that say it.
const FIELDS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// Drops what a backend says of the matter.
pub(super) fn drop_others(answer: &mut Fields) {
    FIELDS.iter().for_each(|name| answer.remove(name));
}

/// Whether a field says anything of it.
pub(in crate::proxy) fn is_of_it(name: &str) -> bool {
    FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name))
}
