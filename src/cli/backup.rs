//! `synod backup FILE`: the whole replicated state in a file that `synod restore` makes a new group of.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Failure;
use super::output::say;
use super::remote::Remote;
use crate::client::Call;

/// The config, its history, sessions and locks as of one revision, with the secrets in them: keep it as you keep keys.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A file that does not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let answer = remote.call(Call::get("/v1/backup"))?;
    let state = answer.field("state")?.as_str();
    let state = state.and_then(|text| STANDARD.decode(text).ok());
    let state = state.ok_or_else(|| answer.without("`state` in base64"))?;
    let revision = answer.number("revision")?;
    write(&args.file, &state)
        .with_context(|| format!("cannot write the backup to {}", args.file.display()))?;
    say(format!(
        "{}: revision {revision}, {} bytes; `synod restore {} --data DIR` makes a new group of it",
        args.file.display(),
        state.len(),
        args.file.display()
    ))
}

/// For the owner's eyes, whole and durable, or not there at all; nothing is replaced.
fn write(file: &Path, state: &[u8]) -> std::io::Result<()> {
    let mut aside = file.as_os_str().to_owned();
    aside.push(".part");
    let mut part = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    part.write_all(state)?;
    part.sync_all()?;
    match std::fs::hard_link(&aside, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(&aside)?;
            Err(error)
        }
        linked => {
            linked?;
            std::fs::remove_file(&aside)
        }
    }
}
