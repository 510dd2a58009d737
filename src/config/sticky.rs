//! Cookies that bring a client back to the backend it had.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::friendly;

/// By which cookie a pool keeps clients at the backend they had. Its value is an HMAC of the backend's id, so it tells
/// nobody anything and cannot be made up. A backend that is draining goes on getting those that stick to it, and so
/// does a backup while backends before it are up again; one in maintenance, of weight 0, down, ejected or at its limit
/// does not, and they get another one and its cookie. In a panic those that are down or ejected get them
/// too, and in a pool that is new the unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sticky {
    /// Its name. `synod-` and the pool's unless said.
    pub cookie: String,
    /// With which requests that other sites bring about it is sent. `lax`.
    pub same_site: SameSite,
    /// How long a browser keeps it; until it is closed unless said.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "friendly::serialize_option"
    )]
    pub max_age: Option<Duration>,
}

/// With which requests that other sites bring about a cookie is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// When its user follows a link.
    #[default]
    Lax,
    /// With none.
    Strict,
    /// With all; browsers take such cookies over TLS alone.
    None,
}

impl SameSite {
    /// As a cookie has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

/// The secret that makes the values of such cookies, the same on every node and for ever. It is drawn by the leader
/// that proposes the first config, goes through the log with it, and is shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickyKey(pub(crate) [u8; 32]);

impl fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StickyKey(..)")
    }
}
