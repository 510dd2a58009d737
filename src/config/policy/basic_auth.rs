//! Who may use a route, by name and password (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Longest credentials that are looked at, decoded.
const MOST: usize = 1_024;

/// What stands for a hash in answers. Written back, it leaves the hash of that user as it is.
const REDACTED: &str = "(redacted)";

/// The field of a user's hash.
const HASH: &str = "password_sha256";

/// Who may use a route, by name and password; others are asked for them with 401. The Authorization field goes on to
/// the backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BasicAuth {
    /// What the password is for, as a browser shows it. `restricted` unless said.
    pub realm: String,
    /// Who may; at least one.
    pub users: Vec<User>,
}

impl BasicAuth {
    /// Whether the value of an Authorization field shows the name and password of one of them. Takes the same time for
    /// every name and password of one length.
    pub fn admits(&self, authorization: &[u8]) -> bool {
        let mut decoded = [0; MOST];
        let Some((scheme, encoded)) = authorization.split_at_checked("Basic ".len()) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return false;
        }
        let Ok(length) = STANDARD.decode_slice(encoded.trim_ascii(), &mut decoded) else {
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
        let known = self.users.iter().map(is);
        known.fold(Choice::from(0), |any, one| any | one).into()
    }
}

/// Somebody who may use a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The name, without a colon.
    pub name: String,
    /// SHA-256 of the password. Passwords are to be random, for they are hashed once: a slow hash a request would be a
    /// way to overload.
    pub password_sha256: Hash,
}

/// SHA-256 of a secret; in hexadecimal where it is written. No answer shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(..)")
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.0.iter().map(|byte| format!("{byte:02x}"));
        serializer.serialize_str(&digits.collect::<String>())
    }
}

/// Puts a word in the place of every hash in a spec, a config or a list of changes: to be called on all that is shown.
pub fn redact(value: &mut Value) {
    each_hash(value, &|hash| REDACTED.clone_into(hash));
}

/// Puts a hash of nobody's in the place of that word, for a look at all else.
pub fn stand_in(value: &mut Value) {
    each_hash(value, &|hash| {
        if hash == REDACTED {
            *hash = "0".repeat(64);
        }
    });
}

fn each_hash(value: &mut Value, change: &impl Fn(&mut String)) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|it| each_hash(it, change)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(hash) if name == HASH => change(hash),
                    field => each_hash(field, change),
                }
            }
        }
        _ => {}
    }
}

/// Puts the hashes of `old` in the place of that word, user by user, in the spec of a route or policy.
pub(in crate::config) fn fill(spec: &mut Value, old: &BasicAuth) {
    let users = spec.pointer_mut("/basic_auth/users");
    for user in users.and_then(Value::as_array_mut).into_iter().flatten() {
        let name = user.get("name").and_then(Value::as_str);
        let known = old.users.iter().find(|known| Some(&known.name[..]) == name);
        if let Some(known) = known
            && let Some(hash) = user.get_mut(HASH).filter(|hash| *hash == REDACTED)
        {
            *hash = crate::config::spec::to_json(&known.password_sha256);
        }
    }
}
