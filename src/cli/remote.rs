//! The flags of all commands that ask a node, and how they ask.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

use super::Failure;
use super::output::Output;
use crate::client::{Answer, Call, Client, Error};

/// Client flags; they stand before or after the subcommand.
#[derive(clap::Args)]
pub(super) struct Remote {
    /// Admin address of a node; repeatable, moves on when one is dead; also SYNOD_ADMIN, comma-separated
    /// [default: http://127.0.0.1:9900]. For `serve`: where its own admin API listens
    #[arg(long, global = true, value_delimiter = ',', value_name = "URL")]
    pub(super) admin: Vec<String>,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// How long to wait for an answer
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, default_value = "10s")]
    timeout: Duration,
}

/// Flags of the commands that change the config.
#[derive(clap::Args)]
pub(super) struct Write {
    /// Why; kept in the history
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(super) comment: Option<String>,
    /// When to answer: once agreed, or once every live node serves it
    #[arg(long = "until", value_enum, default_value_t = Until::Committed)]
    pub(super) until: Until,
}

/// When a write answers.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Until {
    /// A majority holds it.
    Committed,
    /// Every live node serves it.
    Applied,
}

impl Remote {
    /// Makes one call.
    pub(super) fn call(&self, call: Call) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // The node is told the time to wait; the client allows it a moment more, so that its own answer is heard.
        let client = Client::new(self.admins(), self.timeout + Duration::from_secs(1));
        let client = client.map_err(|error| Failure::Usage(error.into()))?;
        runtime
            .block_on(client.call(call))
            .map_err(|error| match &error {
                Error::Refused(problem) if problem.status == StatusCode::GATEWAY_TIMEOUT => {
                    Failure::TimedOut(error.into())
                }
                _ => Failure::Failed(error.into()),
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

    /// Writes; waits and comments as the flags say.
    pub(super) fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        write: &Write,
    ) -> Result<Answer, Failure> {
        let wait = match write.until {
            Until::Committed => "committed",
            Until::Applied => "applied",
        };
        self.write_and_wait(method, path, body, write, wait)
    }

    /// Posts; answers when the backend's last request has ended.
    pub(super) fn write_until_empty(&self, path: &str, write: &Write) -> Result<Answer, Failure> {
        self.write_and_wait(Method::POST, path, None, write, "empty")
    }

    fn write_and_wait(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        write: &Write,
        wait: &str,
    ) -> Result<Answer, Failure> {
        let timeout = self.timeout.as_millis();
        let mut call = Call::new(method, format!("{path}?wait={wait}&timeout={timeout}ms"));
        if let Some(body) = body {
            call = call.json(body);
        }
        if let Some(comment) = &write.comment {
            call = call.header("synod-comment", comment);
        }
        self.call(call)
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| duration.try_into().ok())
        .ok_or_else(|| format!("`{text}` is not a duration, such as 500ms or 10s"))
}
