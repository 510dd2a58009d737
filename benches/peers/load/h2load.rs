//! Closed loops over HTTP/2, by `h2load`.

use std::path::Path;
use std::process::Command;

use super::{BROWSER_FIELDS, Figures};
use crate::proxies::{self, Protocol, Setup};
use crate::{backend, grpc};

/// Fields a gRPC client sends.
const GRPC_FIELDS: &[&str] = &[
    "User-Agent: grpc-c/42.0.0 (linux; chttp2)",
    "Content-Type: application/grpc",
    "TE: trailers",
    "grpc-accept-encoding: identity, deflate, gzip",
];

/// Runs it for this long, with so many streams at a time on each connection.
pub(super) fn run(
    connections: u32,
    streams: u32,
    setup: &Setup,
    seconds: u32,
    folder: &Path,
) -> Figures {
    let (path, fields, answer) = match setup.protocol {
        Protocol::Http1 | Protocol::Http2 => ("/", BROWSER_FIELDS, backend::HELLO),
        Protocol::Grpc => (grpc::METHOD, GRPC_FIELDS, grpc::ANSWER),
    };
    let mut command = Command::new("h2load");
    command.args([
        format!("-c{connections}"),
        format!("-m{streams}"),
        format!("-D{seconds}"),
    ]);
    for field in fields {
        command.args(["-H", field]);
    }
    if setup.protocol == Protocol::Grpc {
        let body = folder.join("question");
        std::fs::write(&body, grpc::QUESTION).expect("the folder is writable");
        command.arg("-d").arg(body);
    }
    let scheme = if setup.tls { "https" } else { "http" };
    let output = command
        .arg(format!("{scheme}://{}{path}", proxies::LISTEN))
        .output()
        .expect("h2load is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = |mark| number_before(&text, mark).unwrap_or_else(|| panic!("{mark}: {text}"));
    let (done, succeeded) = (told(" done,"), told(" succeeded,"));
    // An answer without its body is no answer, whatever its status.
    let bodies = told(") data") / answer.len() as u64;
    Figures {
        requests_per_second: done as f64 / f64::from(seconds),
        failed: done - succeeded.min(bodies),
        ..Figures::default()
    }
}

/// The number that ends where the mark begins.
fn number_before(text: &str, mark: &str) -> Option<u64> {
    let (before, _) = text.split_once(mark)?;
    let digits = before
        .rsplit(|letter: char| !letter.is_ascii_digit())
        .next();
    digits?.parse().ok()
}
