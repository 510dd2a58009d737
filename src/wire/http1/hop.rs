//! Fields that are meant for one hop only (RFC 9110, section 7.6.1).

use super::MAX_FIELDS;
use super::refusal::Reason;
use crate::wire::field::{Known, KnownSet};
use crate::wire::fields::{Fields, members};

/// Never passed on as received, whatever Connection says. The encoder writes Connection, TE, Transfer-Encoding and
/// Upgrade anew where they are due.
///
/// Proxy-Authorization is for the first proxy that asked for it, which this one never does: it is passed on, as the
/// challenge is that it answers (RFC 9110, 11.7).
pub(super) const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::FalseFraming,
    Known::Http2Settings,
    Known::Imposter,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// Fields for every recipient: a sender that names one in Connection tries to have the proxy hide it from the
/// backend (the "hop-by-hop abuse" of identity headers). Such a nomination is ignored, as RFC 9110 says of
/// Cache-Control, and the rest of the message goes on.
const END_TO_END: KnownSet = KnownSet::of(&[
    Known::Authorization,
    Known::CacheControl,
    Known::ClientCert,
    Known::ContentLength,
    Known::ContentType,
    Known::Cookie,
    Known::Date,
    Known::Expect,
    Known::Forwarded,
    Known::Host,
    Known::SetCookie,
    Known::Trailer,
    Known::Via,
    Known::XForwarded,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedProto,
    Known::XRealIp,
    Known::XRequestId,
]);

/// Skips the fields that Connection names.
pub(super) fn skip_nominated(fields: &mut Fields) -> Result<(), Reason> {
    if !fields.has(Known::Connection) {
        return Ok(());
    }
    // What nearly every sender says, if anything.
    let plain = |value: &[u8]| {
        value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
    };
    if fields.values(Known::Connection).all(plain) {
        return Ok(());
    }
    let nominates = |option: &&[u8]| match Known::of(option) {
        Known::Other => !option.eq_ignore_ascii_case(b"close"),
        known => !HOP_BY_HOP.contains(known) && !END_TO_END.contains(known),
    };
    let options = || fields.values(Known::Connection).flat_map(members);
    let (mut count, mut due) = (0, false);
    for option in options() {
        count += 1;
        due |= nominates(&option);
    }
    // Each option costs a look at each field.
    if count > MAX_FIELDS {
        return Err(Reason::TooManyOptions);
    }
    if !due {
        return Ok(());
    }
    let named: Vec<Vec<u8>> = options().filter(nominates).map(<[u8]>::to_vec).collect();
    fields.skip_where(|field| {
        named
            .iter()
            .any(|name| field.name.eq_ignore_ascii_case(name))
    });
    Ok(())
}
