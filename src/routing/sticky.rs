//! Which cookie names which member of a pool: the HMAC of its id under the key that all nodes share.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::snapshot::{PoolEntry, PoolMember};
use crate::backend::Backend;
use crate::config::{Name, State, Sticky, StickyKey};

/// Characters of a cookie's value: half of an HMAC-SHA-256, in hexadecimal.
const LENGTH: usize = 32;

/// The value of a cookie.
type Value = [u8; LENGTH];

/// The cookies of a pool.
#[derive(Debug)]
pub(super) struct Cookies {
    spec: Sticky,
    /// In the order of the members.
    values: Box<[Value]>,
    members: HashMap<Value, usize>,
    by_key: HashMap<u64, usize>,
}

impl Cookies {
    pub(super) fn new(spec: &Sticky, pool: &Name, members: &[PoolMember], key: &StickyKey) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
        let values: Box<[Value]> = members
            .iter()
            .map(|member| value(&key, pool, &member.backend.id))
            .collect();
        Self {
            spec: spec.clone(),
            members: values.iter().copied().zip(0..).collect(),
            by_key: members.iter().map(|it| it.backend.key).zip(0..).collect(),
            values,
        }
    }

    /// As in a Set-Cookie field, for the member of that index.
    fn set(&self, member: usize, secure: bool) -> Option<Box<str>> {
        let value = std::str::from_utf8(self.values.get(member)?).ok()?;
        let (name, same_site) = (&self.spec.cookie, self.spec.same_site.name());
        let mut cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}");
        if let Some(age) = self.spec.max_age {
            // Writing to a String cannot fail.
            let _ = write!(cookie, "; Max-Age={}", age.as_secs().max(1));
        }
        if secure {
            cookie.push_str("; Secure");
        }
        Some(cookie.into())
    }
}

impl PoolEntry {
    /// The name of the cookie by which it keeps clients at the backend they had, if it does.
    pub fn cookie_name(&self) -> Option<&str> {
        Some(&self.cookies.as_ref()?.spec.cookie)
    }

    /// The index of the member that this value of the cookie names.
    pub fn named_by(&self, cookie: &[u8]) -> Option<usize> {
        self.cookies.as_ref()?.members.get(cookie).copied()
    }

    /// The member of that index, if a request that sticks to it may go there.
    pub fn stuck(&self, member: usize) -> Option<&Arc<Backend>> {
        let member = self.members().get(member)?;
        let takes = member.keeps_sticky() && member.backend.is_available_to_stuck();
        takes.then_some(&member.backend)
    }

    /// The Set-Cookie field for clients of the member of that index.
    pub fn cookie(&self, member: usize, secure: bool) -> Option<Box<str>> {
        self.cookies.as_ref()?.set(member, secure)
    }

    /// The index of that member, if the pool keeps clients.
    pub fn sticky_index(&self, backend: &Backend) -> Option<usize> {
        self.cookies.as_ref()?.by_key.get(&backend.key).copied()
    }
}

impl PoolMember {
    /// Whether those that stick to it may come: all but drain keeps them away as it does everybody.
    pub fn keeps_sticky(&self) -> bool {
        self.weight > 0 && self.state != State::Maint
    }
}

/// Pool and id have no NUL in them, so no two pairs are the same text.
fn value(key: &hmac::Key, pool: &Name, id: &Name) -> Value {
    let tag = hmac::sign(key, format!("{pool}\0{id}").as_bytes());
    let mut value = [0; LENGTH];
    for (digits, byte) in value.chunks_exact_mut(2).zip(tag.as_ref()) {
        digits[0] = digit(byte >> 4);
        digits[1] = digit(byte & 0xf);
    }
    value
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
}
