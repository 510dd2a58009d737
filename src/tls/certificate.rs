//! What a certificate says of itself: its names and how long it lasts. No judgement of whether it is to be trusted.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The DNS names of a certificate, in lower case; a wildcard as `*.example.org`.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    EndEntityCert::try_from(certificate).map_or_else(
        |_| Vec::new(),
        |parsed| {
            parsed
                .valid_dns_names()
                .map(str::to_ascii_lowercase)
                .collect()
        },
    )
}

/// The DNS names of the certificate that the other end of a session has shown, if it has shown any.
pub fn dns_names_of(shown: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    let own = shown.and_then(<[_]>::first);
    own.map(dns_names).unwrap_or_default()
}

/// When a certificate ends, in seconds since 1970; none if it cannot be told.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    // RFC 5280, 4.1: Certificate { TBSCertificate { [0] version?, serial, algorithm, issuer, validity { from, to } .. }
    // .. }
    let (_, whole, _) = element(certificate)?;
    let (_, mut fields, _) = element(whole)?;
    let (tag, _, behind) = element(fields)?;
    if tag == 0xa0 {
        fields = behind;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, behind) = element(validity)?;
    let (tag, text, _) = element(behind)?;
    seconds(tag, std::str::from_utf8(text).ok()?)
}

/// Tag, contents, and what follows, of the DER element at the front.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (contents, behind) = rest.split_at_checked(length)?;
    Some((tag, contents, behind))
}

/// UTCTime (two digits of the year, RFC 5280, 4.1.2.5.1) or GeneralizedTime (four).
fn seconds(tag: u8, text: &str) -> Option<i64> {
    let full = match tag {
        0x17 if text.get(..2)? < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", &full).ok()?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(at.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn names_and_end_are_read_from_the_certificate() {
        let made = Authority::new("ca").issue(&["Shop.Example", "*.shop.example"]);
        assert_eq!(dns_names(&made.der), ["shop.example", "*.shop.example"]);
        let end = |year| {
            let made = Authority::new("ca").issue_until(&["a"], year);
            not_after(&made.der)
        };
        // Before 2050 the year has two digits.
        assert_eq!(end(2031), Some(1_924_992_000));
        assert_eq!(end(2061), Some(2_871_763_200));
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80"] {
            let der = CertificateDer::from(bytes);
            assert_eq!((dns_names(&der).len(), not_after(&der)), (0, None));
        }
    }
}
