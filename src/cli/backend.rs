//! `synod weight`, `drain`, `ready` and `maint`: one backend, named POOL/BACKEND.

use http::Method;
use serde_json::json;

use super::Failure;
use super::progress::Progress;
use super::remote::{Remote, Until, Write};
use crate::config::Name;

#[derive(clap::Args)]
pub(super) struct Weight {
    /// POOL/BACKEND
    backend: String,
    /// Its share, 0 to 65535; 0 gets nothing
    #[arg(allow_negative_numbers = true)]
    weight: u16,
    #[command(flatten)]
    write: Write,
}

#[derive(clap::Args)]
pub(super) struct State {
    /// POOL/BACKEND
    backend: String,
    /// Answer only when every node does so and, for drain and maint, its last request has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    write: Write,
}

pub(super) fn weight(remote: &Remote, args: Weight) -> Result<(), Failure> {
    let body = json!({"weight": args.weight});
    let answer = remote.write(
        Method::PATCH,
        &path(&args.backend)?,
        Some(body),
        &args.write,
    )?;
    remote.output.print(&answer.body, |_| {
        format!(
            "{} has weight {} at revision {}",
            args.backend, args.weight, answer.revision
        )
    })
}

pub(super) fn state(remote: &Remote, state: &str, args: State) -> Result<(), Failure> {
    let backend = path(&args.backend)?;
    let path = format!("{backend}/{state}");
    // A ready backend does not run empty: there is only to wait until every node gives it requests.
    let empty = args.wait && state != "ready";
    let answer = if empty {
        let progress = Progress::show(remote, backend, |backend| {
            let requests = backend["status"]["in_flight"].as_u64()?;
            Some(format!("in flight on the node that answers: {requests}"))
        })?;
        let answer = remote.write_until_empty(&path, &args.write);
        drop(progress);
        answer?
    } else {
        let until = if args.wait {
            Until::Applied
        } else {
            args.write.until
        };
        remote.write(
            Method::POST,
            &path,
            None,
            &Write {
                until,
                ..args.write
            },
        )?
    };
    remote.output.print(&answer.body, |_| {
        let emptied = if empty {
            ", and its last request has ended"
        } else {
            ""
        };
        format!(
            "{} is {state} at revision {}{emptied}",
            args.backend, answer.revision
        )
    })
}

/// The name, if it is one: what is none could change the meaning of a path.
pub(super) fn name_of(text: &str) -> Result<Name, Failure> {
    Name::new(text)
        .map_err(|bad| Failure::Usage(anyhow::anyhow!("`{text}` is not a name: it {bad}")))
}

/// The API path of POOL/BACKEND.
pub(super) fn path(name: &str) -> Result<String, Failure> {
    match name.split_once('/') {
        Some((pool, backend)) => Ok(format!(
            "/v1/pools/{}/backends/{}",
            name_of(pool)?,
            name_of(backend)?
        )),
        None => Err(Failure::Usage(anyhow::anyhow!(
            "`{name}` is not a backend; name it POOL/BACKEND, such as web/b1"
        ))),
    }
}
