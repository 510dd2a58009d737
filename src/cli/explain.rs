//! `synod explain METHOD URL`: what becomes of a request, by which route and backends, and why not the others.

use std::net::IpAddr;

use http::Method;
use serde_json::{Map, Value, json};

use super::Failure;
use super::remote::{Read, Remote};
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Request method
    method: String,
    /// What the client would ask for: http://host/path or https://host/path
    url: http::Uri,
    /// A request header, `Name: value`; repeatable
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The address that the request would come from
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
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
    let mut body = json!({
        "method": args.method,
        "scheme": args.url.scheme_str().unwrap_or("http"),
        "host": host.unwrap_or_default(),
        "path": path,
        "headers": headers,
    });
    if let Some(client) = args.client {
        body["client"] = client.to_string().into();
    }
    let call = Call::new(Method::POST, args.read.path("/v1/explain")).json(body);
    let answer = args.read.call(remote, call, &["text"])?;
    let text = |answer: &Value| answer["text"].as_str().unwrap_or_default().to_owned();
    remote.output.print(&answer, text)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    Ok((name.trim().into(), value.trim().into()))
}
