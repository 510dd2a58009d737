//! `synod edit` with editors that are scripts: what is written is put, or kept.

use std::process::Output;

use serde_json::json;
use synod::client::Call;

use crate::harness::{Cluster, synod};

const NAMED: &str = "what was written is in ";

fn edit(cluster: &Cluster, editor: &str, args: &[&str]) -> Output {
    let mut command = synod();
    command
        .env("SYNOD_ADMIN", cluster.nodes[0].admin.to_string())
        .env("SYNOD", env!("CARGO_BIN_EXE_synod"))
        .env("TMPDIR", cluster.data.path())
        .env_remove("VISUAL")
        .env("EDITOR", editor)
        .arg("edit")
        .args(args);
    command.output().unwrap()
}

fn weight(cluster: &Cluster) -> u64 {
    let pool = cluster.call(0, Call::get("/v1/pools/web")).body;
    pool["spec"]["backends"][0]["weight"].as_u64().unwrap()
}

fn drafts(cluster: &Cluster) -> usize {
    let files = std::fs::read_dir(cluster.data.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("synod-"))
        .count()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_is_edited_is_put_and_nothing_is_lost() {
    let cluster = Cluster::start(1);
    let backend = json!({"id": "b1", "address": "127.0.0.1:1", "weight": 2});
    let first = cluster.put(0, "/v1/pools/web", json!({"backends": [backend]}));
    let web = |editor: &str| edit(&cluster, editor, &["pool", "web", "-m", "by hand"]);
    let revision = || cluster.call(0, Call::get("/v1/config")).revision;

    for editor in ["true", "truncate -s 0", "sed -i '/^#/d'"] {
        let output = web(editor);
        assert!(output.status.success(), "{editor}: {output:?}");
        assert_eq!(revision(), first, "{editor}");
    }
    let output = web("sed -i 's/weight: 2/weight: 5/'");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("backends/b1/weight: 2 -> 5"), "{text}");
    let history = cluster.call(0, Call::get("/v1/revisions")).body;
    assert_eq!(history["items"][0]["comment"], "by hand");

    // The second time it is told what is right.
    let corrects = "f() { grep -q '^# .*65535' $1 && sed -i s/70000/7/ $1 || sed -i 's/weight: 5/weight: 70000/' $1; }; f";
    assert!(web(corrects).status.success());
    assert_eq!(weight(&cluster), 7);
    let repairs = "f() { grep -q '^# .*not YAML' $1 && sed -i 's/weight:: 7/weight: 8/;s/^}//' $1 || sed -i 's/weight: 7/weight:: 7/;$a}' $1; }; f";
    let output = web(repairs);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(weight(&cluster), 8);
    let output = edit(&cluster, "sed -i 's/weight: 8/weight: 9/'", &["config"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!((weight(&cluster), drafts(&cluster)), (9, 0));
}

#[test]
fn what_cannot_be_put_is_kept_in_a_file_that_is_named() {
    let cluster = Cluster::start(1);
    let backend = json!({"id": "b1", "address": "127.0.0.1:1", "weight": 2});
    cluster.put(0, "/v1/pools/web", json!({"backends": [backend]}));
    let edit = |editor: &str| error(&edit(&cluster, editor, &["backend", "web/b1"]));
    let kept = |error: &str| {
        let (_, path) = error.split_once(NAMED).expect(error);
        let text = std::fs::read_to_string(path.trim()).unwrap();
        std::fs::remove_file(path.trim()).unwrap();
        text
    };

    let race = edit("f() { $SYNOD weight web/b1 4 >&2; sed -i 's/weight: 2/weight: 6/' $1; }; f");
    assert!(
        race.contains("/pools/web/backends/b1 has changed since"),
        "{race}"
    );
    assert!(kept(&race).contains("weight: 6"));
    assert_eq!(weight(&cluster), 4);

    let fault = edit("sed -i 's/weight: 4/weight: 70000/'");
    assert!(fault.contains("65535"), "{fault}");
    assert!(kept(&fault).contains("weight: 70000"));

    // Scripts that never write what is right: always the same, and ever more.
    for (content, starts) in [("echo '{' > $1", 2), ("echo '{' >> $1", 3)] {
        let counts = "echo x >> $TMPDIR/starts; [ $(wc -l < $TMPDIR/starts) -lt 20 ]";
        let wrong = edit(&format!("f() {{ {content}; {counts}; }}; f"));
        assert!(kept(&wrong).contains('{'));
        let counted = cluster.data.path().join("starts");
        let counted = std::fs::read_to_string(&counted).and_then(|text| {
            std::fs::remove_file(&counted)?;
            Ok(text.lines().count())
        });
        assert_eq!(counted.unwrap(), starts, "{wrong}");
        assert!(wrong.contains("not YAML"), "{wrong}");
    }

    let broke = edit("f() { sed -i 's/weight: 4/weight: 6/' $1; exit 3; }; f");
    assert!(broke.contains("ended with exit status: 3"), "{broke}");
    assert!(kept(&broke).contains("weight: 6"));

    let gave_up = edit("false");
    assert!(!gave_up.contains(NAMED), "nothing was written: {gave_up}");
    assert_eq!((weight(&cluster), drafts(&cluster)), (4, 0));
}
