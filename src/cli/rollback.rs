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
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    write: Write,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let body = json!({"revision": args.revision});
    if args.dry_run {
        let call = Call::new(Method::POST, "/v1/rollback?dry_run=true").json(body);
        let planned = with(remote.call(call.reading())?, &["diff"])?;
        let text = |planned: &Value| changes::text(&planned["diff"]);
        return remote.output.print(&planned, text);
    }
    let answer = remote.write(Method::POST, "/v1/rollback", Some(body), &args.write)?;
    remote.output.print(&answer.body, |_| {
        format!(
            "revision {} has the content of {}",
            answer.revision, args.revision
        )
    })
}
