//! Names of header fields that the proxy itself has a word about, known by a number after the first look.
//!
//! A name is compared once, when the head is parsed; from then on a field is its [`Known`] and sets of fields are the
//! bits of a [`KnownSet`].

/// A header field that the proxy reads, drops or writes; all else is [`Known::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Known {
    /// Any field the proxy has no rule for.
    Other,
    /// The name of a field below with `_` for `-`, which CGI-like backends cannot tell from the real
    /// one (`X_Forwarded_For`). Never forwarded.
    Imposter,
    /// `Authorization`
    Authorization,
    /// `Cache-Control`
    CacheControl,
    /// `Client-Cert` or `Client-Cert-Chain` (RFC 9440)
    ClientCert,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Content-Type`
    ContentType,
    /// `Cookie`
    Cookie,
    /// `Date`
    Date,
    /// `Expect`
    Expect,
    /// A name that is Content-Length or Transfer-Encoding but for its marks (`Transfer_Encoding`,
    /// `Content--Length`): nobody sends it who does not want two readers to differ.
    FalseFraming,
    /// `Forwarded`
    Forwarded,
    /// `Host`
    Host,
    /// `HTTP2-Settings`
    Http2Settings,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Set-Cookie`
    SetCookie,
    /// `Synod-Min-Revision`
    SynodMinRevision,
    /// `TE`
    Te,
    /// `traceparent`
    Traceparent,
    /// `tracestate`
    Tracestate,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `Via`
    Via,
    /// Any `X-Forwarded-…` but the three below.
    XForwarded,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Real-IP`
    XRealIp,
    /// `X-Request-Id`
    XRequestId,
}

impl Known {
    /// What the field `name` is; the case of letters does not matter.
    pub fn of(name: &[u8]) -> Known {
        use Known::*;
        let Some(first) = name.first() else {
            return Other;
        };
        // Length and first letter leave one candidate.
        match (name.len(), first.to_ascii_lowercase()) {
            (2, b't') => Te.or_alike(name, b"te"),
            (3, b'v') => Via.or_alike(name, b"via"),
            (4, b'd') => Date.or_alike(name, b"date"),
            (4, b'h') => Host.or_alike(name, b"host"),
            (6, b'c') => Cookie.or_alike(name, b"cookie"),
            (6, b'e') => Expect.or_alike(name, b"expect"),
            (7, b't') => Trailer.or_alike(name, b"trailer"),
            (7, b'u') => Upgrade.or_alike(name, b"upgrade"),
            (9, b'x') => XRealIp.or_alike(name, b"x-real-ip"),
            (9, b'f') => Forwarded.or_alike(name, b"forwarded"),
            (10, b'c') => Connection.or_alike(name, b"connection"),
            (10, b'k') => KeepAlive.or_alike(name, b"keep-alive"),
            (10, b't') => Tracestate.or_alike(name, b"tracestate"),
            (11, b'c') => ClientCert.or_alike(name, b"client-cert"),
            (11, b't') => Traceparent.or_alike(name, b"traceparent"),
            (10, b's') => SetCookie.or_alike(name, b"set-cookie"),
            (12, b'c') => ContentType.or_alike(name, b"content-type"),
            (12, b'x') => XRequestId.or_alike(name, b"x-request-id"),
            (13, b'a') => Authorization.or_alike(name, b"authorization"),
            (13, b'c') => CacheControl.or_alike(name, b"cache-control"),
            (14, b'c') => ContentLength.or_alike(name, b"content-length"),
            (14, b'h') => Http2Settings.or_alike(name, b"http2-settings"),
            (15, b'x') => XForwardedFor.or_alike(name, b"x-forwarded-for"),
            (16, b'p') => ProxyConnection.or_alike(name, b"proxy-connection"),
            (16, b'x') => XForwardedHost.or_alike(name, b"x-forwarded-host"),
            (17, b'c') => ClientCert.or_alike(name, b"client-cert-chain"),
            (17, b't') => TransferEncoding.or_alike(name, b"transfer-encoding"),
            (17, b'x') => XForwardedProto.or_alike(name, b"x-forwarded-proto"),
            (18, b's') => SynodMinRevision.or_alike(name, b"synod-min-revision"),
            (18, b'p') => ProxyAuthenticate.or_alike(name, b"proxy-authenticate"),
            (19, b'p') => ProxyAuthorization.or_alike(name, b"proxy-authorization"),
            (_, b'x') => x_forwarded(name),
            _ => false_framing(name),
        }
    }

    /// This one, if `name` is `lower` in any case; else what is to be made of it. Of a length known here, so that the
    /// comparison is a few instructions.
    #[inline]
    fn or_alike<const N: usize>(self, name: &[u8], lower: &[u8; N]) -> Known {
        match <&[u8; N]>::try_from(name) {
            Ok(name) if is_in_any_case(name, lower) => self,
            _ => self.of_almost(name, lower),
        }
    }

    /// What `name` is, which has the length and the first letter of `lower` but is another.
    #[cold]
    fn of_almost(self, name: &[u8], lower: &[u8]) -> Known {
        match alike(name, lower) {
            Alike::Same => self,
            Alike::Underscored if matches!(self, Self::ContentLength | Self::TransferEncoding) => {
                Self::FalseFraming
            }
            Alike::Underscored => Self::Imposter,
            Alike::Different if name.starts_with(b"x") || name.starts_with(b"X") => {
                x_forwarded(name)
            }
            Alike::Different => false_framing(name),
        }
    }
}

/// Without a branch for a byte, so that many are compared at a time.
#[inline]
fn is_in_any_case<const N: usize>(name: &[u8; N], lower: &[u8; N]) -> bool {
    let pairs = name.iter().zip(lower);
    let differing = pairs.fold(0, |differing, (byte, lower)| {
        differing | (byte.to_ascii_lowercase() ^ lower)
    });
    differing == 0
}

fn false_framing(name: &[u8]) -> Known {
    let letters = || {
        name.iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .map(u8::to_ascii_lowercase)
    };
    let long = name.len() > "contentlengt".len();
    let framing: &[&[u8]] = &[b"contentlength", b"transferencoding"];
    if long
        && framing
            .iter()
            .any(|wanted| letters().eq(wanted.iter().copied()))
    {
        Known::FalseFraming
    } else {
        Known::Other
    }
}

/// Any other field of that family.
fn x_forwarded(name: &[u8]) -> Known {
    const PREFIX: &[u8] = b"x-forwarded-";
    match name.get(..PREFIX.len()).map(|start| alike(start, PREFIX)) {
        Some(Alike::Same) => Known::XForwarded,
        Some(Alike::Underscored) => Known::Imposter,
        _ => Known::Other,
    }
}

enum Alike {
    Same,
    Underscored,
    Different,
}

/// Compares a name with another of the same length.
fn alike(name: &[u8], wanted: &[u8]) -> Alike {
    match name.eq_ignore_ascii_case(wanted) {
        true => Alike::Same,
        false if is_alike(name, wanted) => Alike::Underscored,
        false => Alike::Different,
    }
}

/// Whether a name is another of the same length, in any case, for one who takes `_` for `-`.
pub(super) fn is_alike(name: &[u8], wanted: &[u8]) -> bool {
    let same = |(byte, wanted): (&u8, &u8)| {
        byte.eq_ignore_ascii_case(wanted) || (*byte == b'_' && *wanted == b'-')
    };
    name.iter().zip(wanted).all(same)
}

/// A set of [`Known`] fields, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u64);

impl KnownSet {
    /// The set without members.
    pub const EMPTY: KnownSet = KnownSet(0);

    /// The set of these fields.
    pub const fn of(members: &[Known]) -> KnownSet {
        let mut bits = 0;
        let mut at = 0;
        while at < members.len() {
            bits |= 1 << members[at] as u8;
            at += 1;
        }
        KnownSet(bits)
    }

    /// Whether `known` is a member.
    pub const fn contains(self, known: Known) -> bool {
        self.0 & (1 << known as u8) != 0
    }

    /// Whether the two have a member in common.
    pub const fn intersects(self, other: KnownSet) -> bool {
        self.0 & other.0 != 0
    }

    /// The members of either.
    #[must_use]
    pub const fn with(self, other: KnownSet) -> KnownSet {
        KnownSet(self.0 | other.0)
    }

    /// Makes `known` a member.
    pub fn insert(&mut self, known: Known) {
        self.0 |= 1 << known as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case() {
        for (name, known) in [
            ("Host", Known::Host),
            ("hOST", Known::Host),
            ("TE", Known::Te),
            ("content-LENGTH", Known::ContentLength),
            ("Synod-Min-Revision", Known::SynodMinRevision),
            ("X-Forwarded-Port", Known::XForwarded),
            ("X-Forwarded-", Known::XForwarded),
            ("X-Forwarde", Known::Other),
            ("Accept", Known::Other),
            ("", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn underscores_for_dashes_make_an_imposter() {
        assert_eq!(Known::of(b"X_Forwarded_For"), Known::Imposter);
        assert_eq!(Known::of(b"Host_"), Known::Other);
        assert_eq!(Known::of(b"x_forwarded_port"), Known::Imposter);
        assert_eq!(Known::of(b"my_header"), Known::Other);
    }

    #[test]
    fn framing_with_other_marks_is_false() {
        for name in [
            "Content_Length",
            "ContentLength",
            "content--length",
            "Transfer_Encoding",
            "Transfer___Encoding",
            "transfer-encoding_",
            "_Transfer-Encoding",
            "T-ransferEncoding",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::FalseFraming, "{name}");
        }
        for name in [
            "Content-Encoding",
            "X-Content-Length",
            "Content-Lengths",
            "Content-Language",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }
}
