//! `synod cert NAME...`: an authority for one cluster, and certificates for its nodes.
//!
//! For a first cluster, or one that has no authority of its own. What it writes is plain PEM; nodes take certificates
//! from anywhere else as well.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Failure;
use super::output::say;
use crate::settings::{NAME, is_name};

/// The subject of the authority: a key alone is enough to issue by it again.
const AUTHORITY: &str = "Synod cluster";
/// An authority lasts about ten years: with it every certificate of the cluster ends.
const AUTHORITY_DAYS: i64 = 3_650;
/// For clocks that are behind.
const BEFORE: i64 = 1;

/// Writes DIR/NAME.pem and DIR/NAME.key for every node, and the authority's DIR/ca.pem and DIR/ca.key if they are not
/// there yet. Nodes need ca.pem and their own two files; ca.key stays where it is safe.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Nodes, by the names they have in their settings
    #[arg(required = true, value_name = "NAME")]
    nodes: Vec<String>,
    /// Where the files are written and the authority is found
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// How long the nodes' certificates last
    #[arg(long, default_value_t = 730, value_parser = clap::value_parser!(i64).range(1..=AUTHORITY_DAYS))]
    days: i64,
    /// A further host name or IP address in them, for the admin API on the same certificate; repeatable
    #[arg(long, value_name = "HOST")]
    also: Vec<String>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    for node in &args.nodes {
        if !is_name(node) || node == "ca" {
            let why = anyhow!("`{node}` cannot be a node here; use {}, but not `ca`", NAME);
            return Err(Failure::Usage(why));
        }
    }
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the directory {}", args.out.display()))?;
    let issuer = authority(&args.out)?;
    for node in &args.nodes {
        let key = KeyPair::generate()?;
        let certificate = node_params(node, &args)?.signed_by(&key, &issuer)?;
        let file = |ending: &str| args.out.join(format!("{node}.{ending}"));
        // The key first: a certificate alone is of no use.
        write(&file("key"), &key.serialize_pem(), 0o600)?;
        write(&file("pem"), &certificate.pem(), 0o644)?;
        say(format!(
            "{} and .key: node {node}, for {} days",
            file("pem").display(),
            args.days
        ))?;
    }
    Ok(())
}

/// The authority that is there, or a new one.
fn authority(out: &Path) -> Result<Issuer<'static, KeyPair>, Failure> {
    let (certificate, key) = (out.join("ca.pem"), out.join("ca.key"));
    let params = authority_params();
    let pair = match std::fs::read_to_string(&key) {
        Ok(pem) => {
            let pair = KeyPair::from_pem(&pem)
                .with_context(|| format!("{} is no private key", key.display()))?;
            let there = std::fs::read_to_string(&certificate).with_context(|| {
                format!(
                    "{} is there, but {} cannot be read",
                    key.display(),
                    certificate.display()
                )
            })?;
            if !is_ours(&there, &pair) {
                return Err(anyhow!(
                        "{} is not an authority that `synod cert` made with {}; issue certificates with the tool it came from, \
                         or name an empty directory with --out",
                        certificate.display(),
                        key.display()
                    )
                    .into());
            }
            pair
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let pair = KeyPair::generate()?;
            let made = params.self_signed(&pair)?;
            write(&key, &pair.serialize_pem(), 0o600)?;
            write(&certificate, &made.pem(), 0o644)?;
            say(format!(
                "{} and .key: a new authority; keep the key safe",
                certificate.display()
            ))?;
            pair
        }
        Err(error) => {
            return Err(anyhow!(error)
                .context(format!("cannot read {}", key.display()))
                .into());
        }
    };
    Ok(Issuer::new(params, pair))
}

/// Whether the certificate has this key and our subject, each of which stands in it byte for byte.
fn is_ours(pem: &str, key: &KeyPair) -> bool {
    CertificateDer::from_pem_slice(pem.as_bytes()).is_ok_and(|der| {
        let holds = |bytes: &[u8]| memchr::memmem::find(&der, bytes).is_some();
        holds(key.public_key_raw()) && holds(AUTHORITY.as_bytes())
    })
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    lasting(&mut params, AUTHORITY_DAYS);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn node_params(node: &str, args: &Args) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    lasting(&mut params, args.days);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, node);
    let dns = |name: &str| -> anyhow::Result<SanType> {
        let name = name
            .try_into()
            .with_context(|| format!("`{name}` cannot stand in a certificate"))?;
        Ok(SanType::DnsName(name))
    };
    params.subject_alt_names.push(dns(node)?);
    for also in &args.also {
        params.subject_alt_names.push(match also.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => dns(also)?,
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Between nodes each is now the one that calls and now the one that is called.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn lasting(params: &mut CertificateParams, days: i64) {
    let day = |days: i64| {
        let date = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let date = date.to_zoned(jiff::tz::TimeZone::UTC).date();
        let number = |part: i8| part.unsigned_abs();
        rcgen::date_time_ymd(date.year().into(), number(date.month()), number(date.day()))
    };
    params.not_before = day(-BEFORE);
    params.not_after = day(days);
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let mut file: File = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!(
            "{} is there already; remove it if no node uses it, or name another directory with --out",
            path.display()
        ),
        _ => anyhow!(error).context(format!("cannot write {}", path.display())),
    })?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tls::{PeerOptions, PeerTls};

    fn args(out: &Path, nodes: &[&str]) -> Args {
        Args {
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            out: out.to_owned(),
            days: 30,
            also: vec!["127.0.0.1".to_owned(), "admin.example".to_owned()],
        }
    }

    fn loads(out: &Path, node: &str) -> bool {
        let file = |name: String| out.join(name);
        let options = PeerOptions {
            ca: file("ca.pem".to_owned()),
            cert: file(format!("{node}.pem")),
            key: file(format!("{node}.key")),
        };
        PeerTls::load(options, node).is_ok()
    }

    #[test]
    fn nodes_get_certificates_of_one_authority_now_and_later() {
        let out = tempfile::tempdir().unwrap();
        let out = &out.path().join("certs");
        run(args(out, &["a", "b"])).unwrap();
        let authority = std::fs::read(out.join("ca.pem")).unwrap();
        run(args(out, &["c_1.x"])).unwrap();
        assert_eq!(std::fs::read(out.join("ca.pem")).unwrap(), authority);
        for node in ["a", "b", "c_1.x"] {
            assert!(loads(out, node), "{node}");
        }
        for key in ["ca.key", "a.key"] {
            let mode = std::fs::metadata(out.join(key))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{key}");
        }
    }

    #[test]
    fn nothing_is_overwritten_and_no_other_authority_is_used() {
        let out = tempfile::tempdir().unwrap();
        let out = out.path();
        run(args(out, &["a"])).unwrap();
        let before = std::fs::read(out.join("a.key")).unwrap();
        assert!(matches!(run(args(out, &["a"])), Err(Failure::Failed(_))));
        assert_eq!(std::fs::read(out.join("a.key")).unwrap(), before);
        let other = crate::tls::testing::Authority::new("other");
        std::fs::write(out.join("ca.pem"), &other.pem).unwrap();
        assert!(matches!(run(args(out, &["b"])), Err(Failure::Failed(_))));
        for bad in ["ca", "-x", ""] {
            let refused = run(args(out, &[bad]));
            assert!(matches!(refused, Err(Failure::Usage(_))), "{bad}");
        }
    }
}
