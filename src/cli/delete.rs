//! `synod delete KIND NAME`.

use http::Method;

use super::remote::{Remote, Write};
use super::{Failure, backend};

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to delete
    #[arg(value_enum)]
    kind: Kind,
    /// Its name; a backend's is POOL/BACKEND
    name: String,
    #[command(flatten)]
    write: Write,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    #[value(alias = "pools")]
    Pool,
    #[value(alias = "routes")]
    Route,
    #[value(alias = "backends")]
    Backend,
    #[value(alias = "policies")]
    Policy,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let path = match args.kind {
        Kind::Pool => format!("/v1/pools/{}", backend::name_of(&args.name)?),
        Kind::Route => format!("/v1/routes/{}", backend::name_of(&args.name)?),
        Kind::Backend => backend::path(&args.name)?,
        Kind::Policy => format!("/v1/policies/{}", backend::name_of(&args.name)?),
    };
    let answer = remote.write(Method::DELETE, &path, None, &args.write)?;
    remote.output.print(&answer.body, |_| {
        format!("{} deleted at revision {}", args.name, answer.revision)
    })
}
