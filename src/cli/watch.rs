//! `synod watch`: what happens, as it happens; with `-o json` one object a line.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::changes;
use super::output::{Output, cell, printable, tell};
use super::remote::Remote;
use crate::client::{Error, Event, Interest};
use crate::config::Name;

/// Between two rounds in which no node answered.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(super) struct Args {
    /// Begin behind this revision or slot [default: now]
    #[arg(long, value_name = "SLOT")]
    since: Option<u64>,
    /// Only changes of the config, or of sessions and locks
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only this lock
    #[arg(long, value_name = "NAME", conflicts_with = "kind")]
    lock: Option<Name>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    Config,
    Locks,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let kind = args.kind.map(|kind| match kind {
        Kind::Config => "config".to_owned(),
        Kind::Locks => "locks".to_owned(),
    });
    let interest = Interest {
        since: args.since,
        kind,
        lock: args.lock.map(|lock| lock.to_string()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(watch(remote, interest))
}

async fn watch(remote: &Remote, interest: Interest) -> Result<(), Failure> {
    let mut watch = remote.client()?.watch(interest);
    let (mut begun, mut silent) = (false, false);
    loop {
        match watch.next().await {
            Ok(event) => {
                (begun, silent) = (true, false);
                if !print(remote.output, &event)? {
                    return Ok(());
                }
            }
            // Whoever has begun to watch wants to hear of what comes after an outage too.
            Err(error @ Error::Unreachable { .. }) if begun => {
                if !std::mem::replace(&mut silent, true) {
                    let _ = writeln!(std::io::stderr(), "{error}; trying on");
                }
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether anybody still reads.
fn print(output: Output, event: &Event) -> Result<bool, Failure> {
    let all = json!({"id": event.id, "kind": event.kind, "data": event.data});
    match output {
        Output::Table => tell(text(event)),
        Output::Json => tell(all),
        Output::Yaml => tell(format!(
            "---\n{}",
            serde_saphyr::to_string(&all)?.trim_end()
        )),
    }
}

fn text(event: &Event) -> String {
    let data = &event.data;
    let begin = format!("{} {}", cell(&data["time"]), event.id);
    if event.kind == "config" {
        let why = match data["comment"].as_str() {
            None | Some("") => String::new(),
            Some(why) => format!(": {}", printable(why)),
        };
        let changes = changes::text(&data["changes"]);
        let changes: String = changes.lines().map(|line| format!("\n  {line}")).collect();
        return format!(
            "{begin} {} changed the config{why}{changes}",
            cell(&data["author"])
        );
    }
    let events = data["events"].as_array().into_iter().flatten();
    let lines: Vec<_> = events
        .map(|event| format!("{begin} {}", lock_event(event)))
        .collect();
    lines.join("\n")
}

fn lock_event(event: &Value) -> String {
    let [lock, session, mode, token] =
        ["lock", "session", "mode", "token"].map(|field| cell(&event[field]));
    match event["event"].as_str().unwrap_or_default() {
        "opened" => format!("session {session} opened by {}", cell(&event["owner"])),
        "granted" => format!("{lock} granted to session {session} ({mode}, token {token})"),
        "waiting" => format!("{lock} waited for by session {session} ({mode})"),
        "released" => format!("{lock} released by session {session} (token {token})"),
        "withdrawn" => format!("{lock} no longer waited for by session {session}"),
        other => format!("session {session} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_line_and_changes_are_below_theirs() {
        let event = |kind: &str, data| Event {
            id: 7,
            kind: kind.to_owned(),
            data,
        };
        let change = json!({"path": "/pools/web", "before": null, "after": {"name": "web"}});
        let config = json!({"time": "T", "author": "ann", "comment": "why", "changes": [change]});
        assert_eq!(
            text(&event("config", config)),
            "T 7 ann changed the config: why\n  + /pools/web\n      name: \"web\""
        );
        let locks = json!({"time": "T", "events": [
            {"event": "expired", "session": 3},
            {"event": "released", "lock": "deploy", "session": 3, "token": 5},
            {"event": "granted", "lock": "deploy", "session": 4, "mode": "shared", "token": 7},
        ]});
        assert_eq!(
            text(&event("locks", locks)),
            "T 7 session 3 expired\nT 7 deploy released by session 3 (token 5)\n\
             T 7 deploy granted to session 4 (shared, token 7)"
        );
    }
}
