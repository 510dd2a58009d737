//! `synod rollback REVISION`: a new revision with old content.

use http::Method;
use serde_json::json;

use super::Failure;
use super::remote::{Remote, Write};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Whose content to bring back
    revision: u64,
    #[command(flatten)]
    write: Write,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let body = json!({"revision": args.revision});
    let answer = remote.write(Method::POST, "/v1/rollback", Some(body), &args.write)?;
    remote.output.print(&answer.body, |_| {
        format!(
            "revision {} has the content of {}",
            answer.revision, args.revision
        )
    })
}
