//! `synod explain METHOD URL`: which route and backends, why, and why not the others.

use http::Method;
use serde_json::{Map, Value, json};

use super::Failure;
use super::remote::{Read, Remote};
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Request method
    method: String,
    /// Where the request would go: http://host/path
    url: http::Uri,
    /// A request header, `Name: value`; repeatable
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    read: Read,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let headers: Map<String, Value> = args
        .headers
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    let host = args.url.authority().map(|authority| authority.as_str());
    let path = args.url.path_and_query().map_or("/", |path| path.as_str());
    let body = json!({"method": args.method, "host": host.unwrap_or_default(), "path": path, "headers": headers});
    let call = Call::new(Method::POST, args.read.path("/v1/explain")).json(body);
    let answer = args.read.call(remote, call, &["text"])?;
    let text = |answer: &Value| answer["text"].as_str().unwrap_or_default().to_owned();
    remote.output.print(&answer, text)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    Ok((name.trim().into(), value.trim().into()))
}
