//! Nodes that show each other certificates, as processes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use rustls::{ClientConnection, StreamOwned};
use serde_json::json;
use synod::client::Call;
use synod::node::Node;
use synod::settings::Settings;

use crate::encrypted;
use crate::harness::{Cluster, DEADLINE, free_addresses, synod, wait_until};

/// Changes of files, good ones and others.
const RELOADS: &str = "synod_tls_reloads_total";

/// Makes a certificate for `name` by the authority in `data/authority`, and settings that show it.
fn certified(data: &Path, authority: &str, name: &str) -> Vec<String> {
    let out = data.join(authority);
    let made = synod()
        .args(["cert", name, "--also=127.0.0.1", "--out"])
        .arg(&out)
        .output();
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
    let file = |file: &str| out.join(file).display().to_string();
    let settings = format!(
        "[peer.tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
        file("ca.pem"),
        file(&format!("{name}.pem")),
        file(&format!("{name}.key"))
    );
    let path = out.join(format!("{name}.toml"));
    std::fs::write(&path, settings).unwrap();
    vec![format!("--config={}", path.display())]
}

#[test]
fn voters_and_followers_speak_over_certificates_and_a_stranger_stays_out() {
    let ours = |data: &Path, name: &str| certified(data, "ours", name);
    let mut cluster = Cluster::start_with(3, ours);
    let revision = cluster.put(0, "/v1/pools/web", json!({"name": "web"}));
    let more = certified(cluster.data.path(), "ours", "p1");
    let follower = cluster.join_with("p1", &[1], more);
    cluster.wait_for_revision(follower, revision);
    let call = Call::new(Method::PUT, "/v1/pools/api?wait=applied&timeout=20s");
    let written = cluster.call(follower, call.json(json!({"name": "api"})));
    assert!(written.revision > revision);

    // Another authority, made by the same command.
    let more = certified(cluster.data.path(), "theirs", "p2");
    let stranger = cluster.join_with("p2", &[0, 1, 2], more);
    wait_until("the stranger to be refused", DEADLINE, || {
        let call = Call::get("/v1/nodes?consistency=local");
        let told = cluster.try_call(stranger, call).ok()?.body.to_string();
        told.contains("no TLS with it").then_some(())
    });
    let nodes = cluster.call(0, Call::get("/v1/nodes")).body["items"].to_string();
    assert!(nodes.contains("p1") && !nodes.contains("p2"), "{nodes}");
}

/// A new token of this role, and the entry of the settings that accepts it.
fn token(role: &str) -> (String, String) {
    let made = synod().args(["token", role, "--role", role]).output();
    let text = String::from_utf8(made.unwrap().stdout).unwrap();
    let token = text
        .lines()
        .find_map(|line| line.strip_prefix("SYNOD_TOKEN="));
    let entry = text
        .lines()
        .find_map(|line| line.strip_prefix("tokens = ["));
    let entry = entry.unwrap().trim_end_matches(']');
    (token.unwrap().to_owned(), entry.to_owned())
}

#[test]
fn the_admin_api_is_served_over_tls_to_those_who_may() {
    let data = tempfile::tempdir().unwrap();
    certified(data.path(), "ours", "n1");
    certified(data.path(), "theirs", "n1");
    let file = |name: &str| data.path().join(name).display().to_string();
    let (viewer, one) = token("viewer");
    let (operator, other) = token("operator");
    let settings = format!(
        "node = \"n1\"\ndata = {:?}\nthreads = 1\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
         [peer]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntokens = [{one}, {other}]\n\
         clients = [{{ name = \"n1\", role = \"admin\" }}]\n\
         [admin.tls]\ncertificates = [{{ cert = {cert:?}, key = {key:?} }}]\nclient_ca = {ca:?}\n\
         client_certificates = \"optional\"\n",
        file("n1"),
        cert = file("ours/n1.pem"),
        key = file("ours/n1.key"),
        ca = file("ours/ca.pem"),
    );
    let (settings, _) = Settings::parse("synod.toml", &settings).unwrap();
    settings.check(None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(Node::start(settings)).unwrap();
    let admin = format!("--admin=https://{}", node.admin());
    let run = |token: &str, more: &[&str]| -> Output {
        let mut command = synod();
        command.env("SYNOD_TOKEN", token).arg(&admin).args(more);
        command.output().unwrap()
    };
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let ca = format!("--ca={}", file("ours/ca.pem"));

    let wrong_ca = format!("--ca={}", file("theirs/ca.pem"));
    let output = run(&viewer, &[&wrong_ca, "get", "pools"]);
    assert!(
        told(&output).contains("no TLS with it"),
        "{}",
        told(&output)
    );
    for token in ["", "not-a-token"] {
        let output = run(token, &[&ca, "get", "pools"]);
        assert!(told(&output).contains("token"), "{}", told(&output));
        assert_eq!(output.status.code(), Some(1));
    }
    wait_until("the node to lead", DEADLINE, || {
        run(&viewer, &[&ca, "get", "pools"])
            .status
            .success()
            .then_some(())
    });
    let config = data.path().join("pools.json");
    std::fs::write(&config, r#"{"pools": [{"name": "web"}]}"#).unwrap();
    let config = config.display().to_string();
    let apply = [&ca, "apply", "-f", &config];
    let output = run(&viewer, &apply);
    assert!(
        told(&output).contains("`viewer` is viewer"),
        "{}",
        told(&output)
    );
    let output = run(&operator, &apply);
    assert!(output.status.success(), "{}", told(&output));
    // By certificate, and by the name in it.
    let (cert, key) = (file("ours/n1.pem"), file("ours/n1.key"));
    let output = run("", &[&ca, "--cert", &cert, "--key", &key, "history"]);
    let history = String::from_utf8_lossy(&output.stdout);
    assert!(history.contains("operator"), "{history} {}", told(&output));
    runtime.block_on(node.stop());
}

/// A connection to a listener that speaks TLS, and the certificate that it showed.
fn connect(data: &Path, at: SocketAddr) -> (StreamOwned<ClientConnection, TcpStream>, Vec<u8>) {
    let config = Arc::new(encrypted::client(data));
    let session = ClientConnection::new(config, at.ip().into()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(at).unwrap());
    stream.sock.set_read_timeout(Some(DEADLINE)).unwrap();
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
    (stream, shown)
}

#[test]
fn changed_certificates_are_shown_by_and_by_and_on_sighup_at_once() {
    let at = free_addresses(1)[0];
    let mut cluster = Cluster::start_with(1, |data, name| {
        let path = data.join(format!("{name}.toml"));
        std::fs::write(&path, encrypted::listener(data, at)).unwrap();
        vec![format!("--config={}", path.display())]
    });
    cluster.listen_by_settings(0);
    let data = cluster.data.path();
    let (mut kept, first) = connect(data, at);
    let shown = |within, expected: &dyn Fn(&[u8]) -> bool| {
        wait_until("a certificate", within, || {
            Some(connect(data, at).1).filter(|shown| expected(shown))
        })
    };
    encrypted::prepare(data);
    encrypted::put(data);
    encrypted::prepare(data);
    let second = shown(DEADLINE, &|shown| shown != first);
    // Files have just been looked at, and will be again in five seconds.
    encrypted::put(data);
    cluster.signal(0, Signal::HUP);
    let third = shown(Duration::from_secs(3), &|shown| shown != second);
    let reloads = cluster.metric(0, RELOADS);
    std::fs::write(data.join("site/site.pem"), "no certificate").unwrap();
    cluster.signal(0, Signal::HUP);
    wait_until("a refusal", DEADLINE, || {
        (cluster.metric(0, RELOADS) > reloads).then_some(())
    });
    assert_eq!(connect(data, at).1, third);
    // Whoever was there before any of it is served on.
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    kept.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503", "there is no config");
}
