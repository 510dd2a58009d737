//! Who asks, and what they may: bearers of tokens and of certificates, each with a name and a role.
//!
//! A token is 256 random bits, so its plain SHA-256 is all that need be kept: there is nothing to guess. Where nobody
//! is named everybody may do everything, which the settings allow on loopback alone.

use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::problem::{Kind, Problem};
use super::serve::Caller;

/// What somebody may do; each may what the ones before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at everything, metrics too, and try what would be.
    Viewer,
    /// Change the config and locks.
    Operator,
    /// Change the membership.
    Admin,
}

impl Role {
    /// As settings and answers name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Somebody who may ask, by the name that goes into the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// A token that is accepted.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its bearer.
    pub who: Who,
    /// What the token hashes to.
    pub sha256: [u8; 32],
}

/// All who may ask; empty: everybody may do everything.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Bearers of tokens.
    pub tokens: Vec<Token>,
    /// Bearers of certificates with their names.
    pub clients: Vec<Who>,
}

impl Access {
    /// Who sent this request, if it is to be known and they may.
    pub(super) fn admit(
        &self,
        caller: Option<&Caller>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Option<Who>, Problem> {
        if self.tokens.is_empty() && self.clients.is_empty() {
            return Ok(None);
        }
        let Some(needed) = needed(method, path) else {
            return Ok(None);
        };
        let who = match headers.get(AUTHORIZATION) {
            Some(given) => self.bearer(given).ok_or("this token is not known here"),
            None => caller
                .and_then(|caller| self.certified(caller))
                .ok_or("a token is needed: Authorization: Bearer TOKEN (SYNOD_TOKEN for the CLI)"),
        };
        let who = who.map_err(|why| {
            Problem::new(Kind::Unauthorized, why).header(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"synod\""),
            )
        })?;
        if who.role < needed {
            let (name, role, needed) = (&who.name, who.role.name(), needed.name());
            let detail = format!("`{name}` is {role}, and this is for {needed}");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        Ok(Some(who.clone()))
    }

    /// All tokens are compared, each in full: how long that takes tells nothing of them.
    fn bearer(&self, given: &HeaderValue) -> Option<&Who> {
        let given = given.as_bytes();
        let (scheme, token) = given.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        let mut found = u64::MAX;
        for (index, known) in (0u64..).zip(&self.tokens) {
            let same: Choice = known.sha256.ct_eq(&hash);
            found.conditional_assign(&index, same);
        }
        let index = usize::try_from(found).ok()?;
        self.tokens.get(index).map(|token| &token.who)
    }

    fn certified(&self, caller: &Caller) -> Option<&Who> {
        let shown = |who: &&Who| {
            let mut names = caller.names.iter();
            names.any(|name| name.eq_ignore_ascii_case(&who.name))
        };
        self.clients.iter().find(shown)
    }
}

/// Whom a request is for; none: for everybody.
fn needed(method: &Method, path: &str) -> Option<Role> {
    // What a probe and a page without a token may see: nothing of the config.
    if matches!(path, "/livez" | "/readyz" | "/openapi.json" | "/")
        || path.starts_with("/dashboard/")
    {
        return None;
    }
    let looks = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        || matches!(path, "/v1/validate" | "/v1/diff" | "/v1/explain");
    Some(match path {
        // It holds the secrets that other answers leave out.
        "/v1/backup" => Role::Admin,
        _ if looks => Role::Viewer,
        _ if path == "/v1/members" || path.starts_with("/v1/members/") => Role::Admin,
        _ => Role::Operator,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token";

    fn who(name: &str, role: Role) -> Who {
        let name = name.to_owned();
        Who { name, role }
    }

    fn access() -> Access {
        let token = |text: &str, who| Token {
            who,
            sha256: Sha256::digest(text).into(),
        };
        Access {
            tokens: vec![
                token("other", who("viewer", Role::Viewer)),
                token(TOKEN, who("deploy", Role::Operator)),
            ],
            clients: vec![who("ci.example", Role::Viewer)],
        }
    }

    fn admit(
        given: Option<&str>,
        names: &[&str],
        method: Method,
        path: &str,
    ) -> Result<Option<String>, Kind> {
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(AUTHORIZATION, given.parse().unwrap());
        }
        let caller = Caller {
            address: "10.0.0.7:1".parse().unwrap(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let admitted = access().admit(Some(&caller), &method, path, &headers);
        let admitted = admitted.map_err(|problem| problem.kind())?;
        Ok(admitted.map(|who| who.name))
    }

    #[test]
    fn a_token_or_a_certificate_says_who_asks() {
        let get = |given, names| admit(given, names, Method::GET, "/v1/config");
        let name = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(get(Some("Bearer a-token"), &[]), name("deploy"));
        assert_eq!(get(Some("bearer a-token"), &[]), name("deploy"));
        assert_eq!(get(Some("Bearer other"), &[]), name("viewer"));
        assert_eq!(get(None, &["x", "CI.example"]), name("ci.example"));
        for wrong in ["Bearer a-toke", "Bearer ", "Bearer", "Basic a-token", ""] {
            // A certificate does not make up for a wrong token.
            assert_eq!(
                get(Some(wrong), &["ci.example"]),
                Err(Kind::Unauthorized),
                "{wrong}"
            );
        }
        assert_eq!(get(None, &["x"]), Err(Kind::Unauthorized));
    }

    #[test]
    fn each_role_may_what_is_its_own() {
        for (method, path, viewer, operator) in [
            (Method::GET, "/v1/members", true, true),
            (Method::GET, "/metrics", true, true),
            (Method::GET, "/v1/watch", true, true),
            (Method::POST, "/v1/explain", true, true),
            (Method::POST, "/v1/diff", true, true),
            (Method::PUT, "/v1/pools/web", false, true),
            (Method::POST, "/v1/transactions", false, true),
            (Method::POST, "/v1/locks/deploy/acquire", false, true),
            (Method::POST, "/v1/members", false, false),
            (Method::POST, "/v1/members/transfer", false, false),
        ] {
            for (token, may) in [("Bearer other", viewer), ("Bearer a-token", operator)] {
                let admitted = admit(Some(token), &[], method.clone(), path);
                let expected = if may { None } else { Some(Kind::Forbidden) };
                assert_eq!(admitted.err(), expected, "{token} {method} {path}");
            }
        }
    }

    #[test]
    fn probes_and_the_page_itself_need_nobody() {
        for path in [
            "/livez",
            "/readyz",
            "/",
            "/dashboard/app.js",
            "/openapi.json",
        ] {
            assert_eq!(admit(None, &[], Method::GET, path), Ok(None), "{path}");
        }
        assert_eq!(
            admit(None, &[], Method::GET, "/metrics"),
            Err(Kind::Unauthorized)
        );
        let open = Access::default().admit(None, &Method::PUT, "/v1/config", &HeaderMap::new());
        assert_eq!(open.unwrap(), None);
    }
}
