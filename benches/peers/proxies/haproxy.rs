//! HAProxy: one thread, connections to the backend shared.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{Certificate, PLAIN, Protocol, Setup, write};

pub(super) fn command(setup: &Setup, folder: &Path) -> Command {
    let protocol = match setup.protocol {
        Protocol::Http1 | Protocol::Http2 => "",
        Protocol::Grpc => " proto h2",
    };
    let mut servers = String::new();
    for index in 0..setup.backends {
        let _ = writeln!(servers, "    server b{index} {}{protocol}", setup.backend());
    }
    // Prefixes by a map, whose lookup is a tree, not by one rule each.
    let mut map = String::new();
    for index in 0..setup.routes {
        let _ = writeln!(map, "/r{index}/ web");
    }
    let map = write(folder, "haproxy.map", &map, &[]);
    let routes = match setup.routes {
        0 => String::new(),
        _ => format!("use_backend %[path,map_beg({},web)]", map.display()),
    };
    let words = match setup.tls {
        true => format!(
            " ssl crt {} alpn h2,http/1.1",
            Certificate::in_folder(folder).both
        ),
        false => String::new(),
    };
    let plain = match setup.plain_too {
        true => format!("bind {PLAIN}"),
        false => String::new(),
    };
    let config = write(
        folder,
        "haproxy.cfg",
        include_str!("haproxy.cfg"),
        &[
            ("FOLDER", &folder.display().to_string()),
            ("SERVERS", &servers),
            ("ROUTES", &routes),
            ("LISTEN_WORDS", &words),
            ("PLAIN_BIND", &plain),
        ],
    );
    let mut command = Command::new("haproxy");
    command.arg("-f").arg(config);
    command
}
