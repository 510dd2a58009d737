//! The cases that `http_desync_guardian` ships, through the proxy: what it calls ambiguous or severe.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::channel;

use serde::Deserialize;
use serde_json::Value;

use super::harness::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    uri: String,
    version: String,
    headers: Option<Vec<Header>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct Expected {
    tier: String,
    reason: String,
}

impl Case {
    fn is_bad(&self) -> bool {
        matches!(&self.expected.tier[..], "Ambiguous" | "Severe")
    }

    /// Content with a method for which it means nothing, but whose end is clear (RFC 9110, 9.3.1). The guardian lets
    /// such a request pass if no other follows it on its connections.
    fn is_clear(&self) -> bool {
        self.expected.reason.starts_with("Undefined")
    }

    /// As it is sent, with more behind it than any length in it says.
    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}\r\n", self.method, self.uri, self.version);
        let headers = self.headers.as_deref().unwrap_or_default();
        for Header { name, value } in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let names = |name: &Header| name.name.trim().eq_ignore_ascii_case("host");
        if !headers.iter().any(names) {
            text.push_str("Host: x\r\n");
        }
        text.push_str("\r\n0\r\n\r\n");
        text.push_str(&"x".repeat(4_096));
        // Escapes stand for bytes.
        let mut bytes = Vec::new();
        for char in text.chars() {
            match u8::try_from(char) {
                Ok(byte) => bytes.push(byte),
                Err(_) => bytes.extend(char.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        bytes
    }
}

/// Where the sources of the crate are.
fn guardian() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let told = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        // Nothing else was downloaded.
        .args(["--filter-platform", "host-tuple"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&told.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&told.stderr)));
    let packages = told["packages"].as_array().unwrap();
    let own = packages
        .iter()
        .find(|it| it["name"] == "http_desync_guardian");
    let manifest = own.unwrap()["manifest_path"].as_str().unwrap();
    PathBuf::from(manifest).parent().unwrap().join("tests")
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(guardian()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let read: Vec<Case> = serde_saphyr::from_str(&text).unwrap();
            cases.extend(read);
        }
    }
    cases
}

#[test]
fn what_a_guardian_against_desync_would_stop_is_refused_or_ends_its_connections() {
    let (sender, heads) = channel();
    let backend = Scripted::new(move |peer, _| {
        sender.send(peer.head()).unwrap();
        peer.send(ok(""));
        peer.rest();
    });
    let harness = Harness::to(&[backend.address]);
    let cases: Vec<Case> = cases().into_iter().filter(Case::is_bad).collect();
    assert!(cases.len() > 100, "{}", cases.len());
    let mut passed = 0;
    for case in &cases {
        let mut client = harness.client();
        client.try_send(case.bytes());
        // To its end: nothing behind it is answered.
        let answers = client.rest();
        let told = answers.matches("HTTP/1.1 ").count();
        assert_eq!(told, 1, "{}: {answers}", case.name);
        let head: Vec<String> = heads.try_iter().collect();
        if status(&answers) >= 400 {
            assert!(head.is_empty(), "{}: {head:?}", case.name);
            continue;
        }
        assert!(case.is_clear(), "{}: {answers}", case.name);
        assert_eq!(head.len(), 1, "{}: {head:?}", case.name);
        passed += 1;
        backend.wait_for_ended(passed);
    }
    // GET and HEAD with one well-formed length or coding. The others of that kind have something else wrong with them.
    assert_eq!((passed, backend.connections()), (6, 6));
}
