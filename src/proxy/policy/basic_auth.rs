//! Whether a request shows the name and password of somebody who may use its route (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::policy::{BasicAuth, User};
use crate::wire::fields::Field;
use crate::wire::head::RequestHead;

/// Longest credentials that are looked at, decoded.
const MOST: usize = 1_024;

/// Whether it does. Takes the same time for every name and password of one length.
pub(super) fn admits(auth: &BasicAuth, request: &RequestHead) -> bool {
    let mut decoded = [0; MOST];
    let Some(encoded) = credentials(request) else {
        return false;
    };
    let Ok(length) = STANDARD.decode_slice(encoded, &mut decoded) else {
        return false;
    };
    let given = &decoded[..length];
    let Some(colon) = memchr::memchr(b':', given) else {
        return false;
    };
    let (name, password) = (&given[..colon], Sha256::digest(&given[colon + 1..]));
    let is = |user: &User| {
        user.name.as_bytes().ct_eq(name) & user.password_sha256.0[..].ct_eq(&password[..])
    };
    let known = auth.users.iter().map(is);
    known.fold(Choice::from(0), |any, one| any | one).into()
}

/// What to ask for.
pub(super) fn challenge(auth: &BasicAuth) -> String {
    format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm)
}

/// Of the one Authorization field, if it stands once and goes on to the backend.
fn credentials(request: &RequestHead) -> Option<&[u8]> {
    let named = |field: &Field<'_>| field.name.eq_ignore_ascii_case(b"authorization");
    let mut lines = request.fields().iter().filter(named);
    let (Some(only), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let (scheme, rest) = only.value.split_at_checked("Basic ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Basic ")
        .then(|| rest.trim_ascii())
}
