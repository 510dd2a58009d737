//! Where a backend listens: an IP address and port, a host name and port, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::short::Short;

/// What an address may be, for errors.
pub(super) const EXPECTED: &str = "an IP address and port, such as \"10.0.0.7:8080\" or \"[2001:db8::7]:8080\", \
                                   a host name and port, such as \"app.internal:8080\", or a Unix socket, such as \
                                   \"unix:/run/app.sock\"";

/// What precedes the path of a Unix socket.
const UNIX: &str = "unix:";

/// The longest path that the system takes for a socket.
const MAX_PATH: usize = 107;

/// Where a backend listens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A host name, resolved again and again by each node, and a port.
    Name {
        /// In lower case.
        host: Box<str>,
        /// From 1 on.
        port: u16,
    },
    /// The absolute path of a Unix socket.
    Unix(Box<str>),
}

/// Text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// None of the forms.
    #[error("must be {EXPECTED}")]
    Form,
    /// Port 0, or none below 65,536.
    #[error("must have a port from 1 to 65535")]
    Port,
    /// A path that cannot be that of a socket.
    #[error("must be an absolute path of at most {MAX_PATH} bytes behind `unix:`")]
    Path,
}

impl Address {
    /// What a request names that comes without a host.
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            named => named.to_string(),
        }
    }

    /// Whether what is sent there stays on this machine, as far as the address itself tells.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Socket(address) => address.ip().is_loopback(),
            Self::Name { host, .. } => **host == *"localhost",
            Self::Unix(_) => true,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let fits = path.len() <= MAX_PATH && !path.chars().any(char::is_control);
            let named = path.starts_with('/') && !path.ends_with('/');
            return match fits && named {
                true => Ok(Self::Unix(path.into())),
                false => Err(BadAddress::Path),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(BadAddress::Port),
                _ => Ok(Self::Socket(address)),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(BadAddress::Form)?;
        if !is_host_name(host) {
            return Err(BadAddress::Form);
        }
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port @ 1..) if digits => Ok(Self::Name {
                host: host.to_ascii_lowercase().into(),
                port,
            }),
            _ => Err(BadAddress::Port),
        }
    }
}

/// RFC 1123, and the underscore that many zones use. Not what could be a mistyped IP address.
pub(super) fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_none_or(numeric)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Socket(SocketAddr::V4(address)) = self else {
            return serializer.collect_str(self);
        };
        let mut text = Short::new();
        for (octet, before) in address.ip().octets().into_iter().zip(["", ".", ".", "."]) {
            text.push(before);
            text.push_number(octet.into());
        }
        text.push(":");
        text.push_number(address.port().into());
        serializer.serialize_str(text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, written) in [
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("[2001:DB8::7]:80", "[2001:db8::7]:80"),
            ("App.Internal:8080", "app.internal:8080"),
            ("app.internal.:8080", "app.internal.:8080"),
            ("app:1", "app:1"),
            ("_http._tcp.app:65535", "_http._tcp.app:65535"),
            ("3com.example:80", "3com.example:80"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(serde_json::json!(address), written);
            assert_eq!(written.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_for_its_reason() {
        use BadAddress::{Form, Path, Port};
        let long = format!("{}:80", "a".repeat(64));
        let path = format!("unix:/{}", "a".repeat(107));
        for (text, reason) in [
            ("", Form),
            ("app", Form),
            ("10.0.0.7", Form),
            ("10.0.0:80", Form),
            ("10.0.0.256:80", Form),
            ("1.2.3.4.5:80", Form),
            ("::1:80", Form),
            ("-app:80", Form),
            ("app-:80", Form),
            ("a..b:80", Form),
            ("a b:80", Form),
            (":80", Form),
            ("http://app:80", Form),
            (&long, Form),
            ("app:", Port),
            ("app:0", Port),
            ("app:65536", Port),
            ("app:+80", Port),
            ("app:http", Port),
            ("10.0.0.7:0", Port),
            ("unix:", Path),
            ("unix:run/app.sock", Path),
            ("unix:/run/", Path),
            ("unix:/a\0b", Path),
            (&path, Path),
        ] {
            assert_eq!(text.parse::<Address>(), Err(reason), "{text}");
        }
    }
}
