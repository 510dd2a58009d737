//! `synod token NAME --role ROLE`: a new token for the admin API, and the line of the settings that accepts it.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Failure;
use super::remote::Remote;

/// The token is shown once and kept nowhere: the settings of each node hold its hash alone.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Who is to bear it, for the history
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: String,
    /// What they may: look; change the config and locks; change the membership
    #[arg(long, value_enum)]
    role: Role,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    Viewer,
    Operator,
    Admin,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let token = hex(&rand::random::<[u8; 32]>());
    let hash = hex(&Sha256::digest(&token));
    let role = match args.role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    let name = args.name;
    let made = json!({"token": token, "name": name, "role": role, "sha256": hash});
    remote.output.print(&made, |_| {
        format!(
            "SYNOD_TOKEN={token}\n\n# In the settings of every node, beneath [admin]:\n\
             tokens = [{{ name = \"{name}\", role = \"{role}\", sha256 = \"{hash}\" }}]"
        )
    })
}

fn parse_name(text: &str) -> Result<String, String> {
    match crate::settings::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected {}", crate::settings::NAME)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
