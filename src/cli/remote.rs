//! The flags of all commands that ask a node, and how they ask.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use http::{Method, StatusCode};
use serde_json::Value;

use super::Failure;
use super::output::Output;
use crate::client::{Answer, Call, Client, Credentials, Error};

/// Client flags; they stand before or after the subcommand.
#[derive(clap::Args)]
pub(super) struct Remote {
    /// Admin address of a node; repeatable, moves on when one is dead; also SYNOD_ADMIN, comma-separated
    /// [default: http://127.0.0.1:9900]. For `serve`: where its own admin API listens
    #[arg(long, global = true, value_delimiter = ',', value_name = "URL")]
    pub(super) admin: Vec<String>,
    /// PEM file of the authorities that may vouch for https:// nodes [default: those of this machine]
    #[arg(long, global = true, value_name = "FILE", env = "SYNOD_CA")]
    ca: Option<PathBuf>,
    /// PEM file of a certificate to show to nodes that ask for one, with --key
    #[arg(long, global = true, value_name = "FILE", env = "SYNOD_CERT")]
    cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, global = true, value_name = "FILE", env = "SYNOD_KEY")]
    key: Option<PathBuf>,
    /// File that holds a token of the admin API; SYNOD_TOKEN may hold the token itself
    #[arg(long, global = true, value_name = "FILE", env = "SYNOD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// How long to wait for an answer [default: 10s; for a change of who votes 30s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
}

/// Flags of the commands that change the config.
#[derive(clap::Args)]
pub(super) struct Write {
    /// Why, in one line; kept in the history
    #[arg(short = 'm', long, value_name = "TEXT", value_parser = one_line)]
    pub(super) comment: Option<String>,
    /// When to answer: once agreed, or once every live node serves it
    #[arg(long = "until", value_enum, default_value_t = Until::Committed)]
    pub(super) until: Until,
    /// Of a command whose outcome is unknown, as it told: repeated with the same arguments it is done once
    #[arg(long, value_name = "KEY", value_parser = one_line)]
    pub(super) idempotency_key: Option<String>,
}

/// Flags of the commands that read what is agreed on.
#[derive(clap::Args)]
pub(super) struct Read {
    /// What the node that is asked knows, which may be old, without asking a quorum
    #[arg(long)]
    local: bool,
}

impl Read {
    /// Makes a call whose path is as fresh as the flag says; the body, which has these fields.
    pub(super) fn call(
        &self,
        remote: &Remote,
        call: Call,
        fields: &[&str],
    ) -> Result<Value, Failure> {
        let answer = remote
            .call(call.reading())
            .map_err(|failure| match failure {
                Failure::Failed(error) if !self.local && lacks_quorum(&error) => {
                    let advice = "--local tells what the node that is asked knows without a quorum";
                    Failure::Failed(anyhow::anyhow!("{error:#}\n{advice}"))
                }
                other => other,
            });
        with(answer?, fields)
    }

    /// The path, as fresh as the flag says.
    pub(super) fn path(&self, path: &str) -> String {
        let joint = if path.contains('?') { '&' } else { '?' };
        match self.local {
            true => format!("{path}{joint}consistency=local"),
            false => path.to_owned(),
        }
    }
}

/// When a write answers.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Until {
    /// A majority holds it.
    Committed,
    /// Every live node serves it.
    Applied,
}

impl Until {
    /// As `?wait=` has it.
    fn word(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Applied => "applied",
        }
    }
}

impl Remote {
    /// How long to wait, where the flag does not say it.
    pub(super) fn timeout_or(&self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default)
    }

    fn timeout(&self) -> Duration {
        self.timeout_or(Duration::from_secs(10))
    }

    /// Makes one call.
    pub(super) fn call(&self, call: Call) -> Result<Answer, Failure> {
        self.call_within(call, self.timeout())
    }

    /// The same with a time of its own.
    pub(super) fn call_within(&self, call: Call, within: Duration) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = self.client_within(within)?;
        runtime
            .block_on(client.call(call))
            .map_err(|error| match &error {
                Error::Refused(problem) if problem.status == StatusCode::GATEWAY_TIMEOUT => {
                    Failure::TimedOut(error.into())
                }
                _ => Failure::Failed(error.into()),
            })
    }

    /// A client of the nodes that the flags name.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.client_within(self.timeout())
    }

    fn client_within(&self, within: Duration) -> Result<Client, Failure> {
        // The node is told the time to wait; the client allows it a moment more, so that its own answer is heard.
        let within = within + Duration::from_secs(1);
        let client = Client::with_credentials(self.admins(), within, self.credentials()?);
        client.map_err(|error| Failure::Usage(error.into()))
    }

    fn credentials(&self) -> Result<Credentials, Failure> {
        let token = match &self.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the token in {}", path.display()))?,
            ),
            None => std::env::var("SYNOD_TOKEN").ok(),
        };
        let token = token.map(|token| token.trim().to_owned());
        let certificate = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            _ => {
                let why = "--cert and --key go together: a certificate and its key";
                return Err(Failure::Usage(anyhow::anyhow!(why)));
            }
        };
        Ok(Credentials {
            ca: self.ca.clone(),
            certificate,
            token: token.filter(|token| !token.is_empty()),
        })
    }

    fn admins(&self) -> Vec<String> {
        if !self.admin.is_empty() {
            return self.admin.clone();
        }
        match std::env::var("SYNOD_ADMIN") {
            Ok(urls) if !urls.is_empty() => {
                let urls = urls.split(',').map(str::trim);
                urls.filter(|url| !url.is_empty())
                    .map(str::to_owned)
                    .collect()
            }
            _ => vec!["http://127.0.0.1:9900".into()],
        }
    }

    /// Reads a path; the body.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.call(Call::get(path))?.body)
    }

    /// Reads a path; the body, which has these fields.
    pub(super) fn get_with(&self, path: &str, fields: &[&str]) -> Result<Value, Failure> {
        with(self.call(Call::get(path))?, fields)
    }

    /// Writes; waits and comments as the flags say.
    pub(super) fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        write: &Write,
    ) -> Result<Answer, Failure> {
        let wait = write.until.word();
        self.write_and_wait(method, path, body, write, wait, None)
    }

    /// Puts in the place of what had this ETag when it was read.
    pub(super) fn replace(
        &self,
        path: &str,
        body: Value,
        write: &Write,
        etag: &str,
    ) -> Result<Answer, Failure> {
        let wait = write.until.word();
        self.write_and_wait(Method::PUT, path, Some(body), write, wait, Some(etag))
    }

    /// Posts; answers when the backend's last request has ended.
    pub(super) fn write_until_empty(&self, path: &str, write: &Write) -> Result<Answer, Failure> {
        self.write_and_wait(Method::POST, path, None, write, "empty", None)
    }

    fn write_and_wait(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        write: &Write,
        wait: &str,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let timeout = self.timeout().as_millis();
        let mut call = Call::new(method, format!("{path}?wait={wait}&timeout={timeout}ms"));
        if let Some(body) = body {
            call = call.json(body);
        }
        if let Some(comment) = &write.comment {
            call = call.header("synod-comment", comment);
        }
        if let Some(etag) = etag {
            call = call.header("if-match", format!("\"{etag}\""));
        }
        if let Some(key) = &write.idempotency_key {
            call = call.header("idempotency-key", key);
        }
        self.call(call).map_err(repeatable)
    }
}

fn lacks_quorum(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(Error::Refused(problem)) if problem.status == StatusCode::SERVICE_UNAVAILABLE
    )
}

/// The body of an answer that has these fields.
pub(super) fn with(answer: Answer, fields: &[&str]) -> Result<Value, Failure> {
    for field in fields {
        answer.field(field)?;
    }
    Ok(answer.body)
}

/// With how to learn what became of a write, where that is unknown.
fn repeatable(failure: Failure) -> Failure {
    let Failure::Failed(error) = failure else {
        return failure;
    };
    let key = error.downcast_ref().and_then(Error::key).map(str::to_owned);
    Failure::Failed(match key {
        Some(key) => anyhow::anyhow!(
            "{error:#}\nto learn it, repeat the command with --idempotency-key {key}: it is done once"
        ),
        None => error,
    })
}

/// What a header field can hold.
fn one_line(text: &str) -> Result<String, String> {
    match text.contains(char::is_control) {
        true => Err("expected one line without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| duration.try_into().ok())
        .ok_or_else(|| format!("`{text}` is not a duration, such as 500ms or 10s"))
}
