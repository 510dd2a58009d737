//! `synod rollback REVISION`: a new revision with old content.

use http::Method;
use serde_json::{Value, json};

use super::remote::{Remote, Write, with};
use super::{Failure, changes};
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Whose content to bring back
    revision: u64,
    /// Bring this back alone, such as routes/shop; may be there several times. What was not there then is deleted
    #[arg(long, value_name = "KIND/NAME")]
    only: Vec<String>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    write: Write,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let mut body = json!({"revision": args.revision});
    if !args.only.is_empty() {
        let only = args.only.iter().map(|text| resource(text));
        body["only"] = only.collect::<Result<Vec<_>, _>>()?.into();
    }
    if args.dry_run {
        let call = Call::new(Method::POST, "/v1/rollback?dry_run=true").json(body);
        let planned = with(remote.call(call.reading())?, &["diff"])?;
        let text = |planned: &Value| changes::text(&planned["diff"]);
        return remote.output.print(&planned, text);
    }
    let answer = remote.write(Method::POST, "/v1/rollback", Some(body), &args.write)?;
    remote.output.print(&answer.body, |_| {
        let what = match &args.only[..] {
            [] => String::new(),
            only => format!(" of {}", only.join(", ")),
        };
        let (revision, old) = (answer.revision, args.revision);
        format!("revision {revision} has the content{what} of {old}")
    })
}

/// The path of `routes/shop`, or of `route/shop`, as `history` and other commands have it.
fn resource(text: &str) -> Result<String, Failure> {
    let kinds = [
        ("pool", "pools"),
        ("route", "routes"),
        ("policy", "policies"),
    ];
    let named = text.trim_start_matches('/').split_once('/');
    let known = named.and_then(|(kind, name)| {
        let known = kinds
            .iter()
            .find(|kinds| kinds.0 == kind || kinds.1 == kind)?;
        Some(format!("/{}/{name}", known.1))
    });
    known.ok_or_else(|| {
        let detail = "is not a resource; it is to be pools/NAME, routes/NAME or policies/NAME";
        Failure::Usage(anyhow::anyhow!("--only {text:?} {detail}"))
    })
}
