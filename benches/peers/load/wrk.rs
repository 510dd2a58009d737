//! Closed loops, by `wrk`.

use std::path::Path;
use std::process::Command;

use super::{BROWSER_FIELDS, Closed, Figures};
use crate::proxies::{self, Setup};

/// Runs it for this long.
pub(super) fn run(closed: &Closed, setup: &Setup, seconds: u32, folder: &Path) -> Figures {
    let mut command = Command::new("wrk");
    command
        .arg("-t1")
        .args([format!("-c{}", closed.connections), format!("-d{seconds}s")]);
    for field in BROWSER_FIELDS {
        command.args(["-H", field]);
    }
    if closed.close {
        command.args(["-H", "Connection: close"]);
    }
    if closed.upload > 0 {
        let script = folder.join("upload.lua");
        let text = format!(
            "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {})\n",
            closed.upload
        );
        std::fs::write(&script, text).expect("the folder is writable");
        command.arg("-s").arg(script);
    }
    let scheme = if setup.tls { "https" } else { "http" };
    let path = match closed.middle_route {
        true => format!("/r{}/", setup.routes / 2),
        false => closed.path.to_owned(),
    };
    let output = command
        .arg(format!("{scheme}://{}{path}", proxies::LISTEN))
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let requests = number_before(&text, " requests in").unwrap_or_else(|| panic!("{text}"));
    Figures {
        requests_per_second: requests / f64::from(seconds),
        failed: failed(&text),
        ..Figures::default()
    }
}

/// Answers that were not of 2xx or 3xx, and errors of sockets.
fn failed(text: &str) -> u64 {
    let refused = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses: "))
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    let broken = text
        .lines()
        .find(|line| line.contains("Socket errors:"))
        .map_or(0, |line| {
            line.split([' ', ','])
                .filter_map(|word| word.parse::<u64>().ok())
                .sum()
        });
    refused + broken
}

fn number_before(text: &str, mark: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(mark))?;
    line.trim().split(' ').next()?.parse().ok()
}
