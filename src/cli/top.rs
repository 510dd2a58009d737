//! `synod top`: what pools and backends do now, as one node sees it, the busiest first.
//!
//! Its head is of what clients got; the tables are of what backends were given, which differs by retries and by what
//! the node answers itself. Rates and quantiles are between two looks at the node's counters. On a terminal it goes on
//! until it is interrupted; elsewhere, and with `--once`, it shows one interval and ends.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::output::{Output, cell, table};
use super::remote::{Remote, duration};
use crate::client::{Call, Client, Error};
use crate::telemetry::quantile;

/// Pools asked for: as many as a page has.
const POOLS: usize = 10_000;
/// Backends of a frame that is not cut to a terminal.
const BACKENDS: usize = 1_000;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Show one interval and end
    #[arg(long)]
    once: bool,
    /// Between two looks
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s")]
    interval: Duration,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let live = std::io::stdout().is_terminal() && !args.once && remote.output == Output::Table;
    let interval = args.interval.max(Duration::from_millis(50));
    runtime.block_on(async {
        let client = remote.client()?;
        let first = Look::take(&client).await?;
        if live {
            return watch(&client, first, interval).await;
        }
        tokio::time::sleep(interval).await;
        let report = report(&first, &Look::take(&client).await?);
        remote.output.print(&report, text)
    })
}

/// Draws one frame after the other until it is interrupted.
async fn watch(client: &Client, first: Look, interval: Duration) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut before = first;
    let mut screen = Screen::open()?;
    screen.draw("measuring; Ctrl-C ends")?;
    loop {
        // Cancelling any of these loses nothing.
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
        match Look::take(client).await {
            Ok(now) => {
                screen.draw(&text(&report(&before, &now)))?;
                before = now;
            }
            // It may come back, and until then the reader knows why the figures stand still.
            Err(error) => screen.draw(&error.to_string())?,
        }
    }
}

/// A node's counters at a time.
struct Look {
    at: Instant,
    nodes: Value,
    revision: u64,
    pools: Value,
}

impl Look {
    /// Local, since it is wanted most when there is no quorum.
    async fn take(client: &Client) -> Result<Self, Error> {
        let pools = format!("/v1/pools?limit={POOLS}&consistency=local");
        let pools = client.call(Call::get(pools)).await?;
        let at = Instant::now();
        let nodes = client
            .call(Call::get("/v1/nodes?consistency=local"))
            .await?;
        Ok(Self {
            at,
            nodes: nodes.body,
            revision: pools.revision,
            pools: pools.body,
        })
    }

    fn pools(&self) -> impl Iterator<Item = &Value> {
        self.pools["items"].as_array().into_iter().flatten()
    }

    /// What each backend has counted, by pool and id.
    fn counters(&self) -> HashMap<(&str, &str), &Value> {
        let mut counters = HashMap::new();
        for item in self.pools() {
            let pool = item["spec"]["name"].as_str().unwrap_or_default();
            for backend in statuses(item) {
                let id = backend["id"].as_str().unwrap_or_default();
                counters.insert((pool, id), backend);
            }
        }
        counters
    }

    /// Which node it is of.
    fn node(&self) -> &Value {
        &self.nodes["this"]["name"]
    }
}

fn statuses(pool: &Value) -> impl Iterator<Item = &Value> {
    pool["status"]["backends"].as_array().into_iter().flatten()
}

/// What happened between two looks at one node; null is a rate that is not known.
fn report(before: &Look, now: &Look) -> Value {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let same = before.node() == now.node();
    let counters = if same {
        before.counters()
    } else {
        HashMap::new()
    };
    let (mut pools, mut backends) = (Vec::new(), Vec::new());
    for item in now.pools() {
        let first = backends.len();
        let name = item["spec"]["name"].as_str().unwrap_or_default();
        backends.extend(statuses(item).map(|backend| {
            let id = backend["id"].as_str().unwrap_or_default();
            of_backend(name, backend, counters.get(&(name, id)).copied(), seconds)
        }));
        pools.push(of_pool(item, &backends[first..]));
    }
    pools.sort_by_key(busy);
    backends.sort_by_key(busy);
    let before = same.then(|| &before.nodes["this"]);
    let clients = |field| rate_of(&now.nodes["this"], before, field, seconds);
    json!({
        "node": now.node(), "revision": now.revision, "seconds": seconds,
        "requests_per_second": clients("requests"), "client_errors_per_second": clients("client_errors"),
        "errors_per_second": clients("errors"), "pools": pools, "backends": backends,
    })
}

fn rate_of(now: &Value, before: Option<&Value>, field: &str, seconds: f64) -> Option<f64> {
    let (old, now) = (before?[field].as_u64()?, now[field].as_u64()?);
    // Fewer: the node has been started anew.
    now.checked_sub(old).map(|more| more as f64 / seconds)
}

fn of_backend(pool: &str, now: &Value, before: Option<&Value>, seconds: f64) -> Value {
    let rate = |field| rate_of(now, before, field, seconds);
    json!({
        "pool": pool, "id": now["id"], "address": now["address"],
        "health": now["health"], "admitting": now["admitting"], "in_flight": now["in_flight"],
        "requests_per_second": rate("requests"), "errors_per_second": rate("errors"),
        "latency_ms": before.and_then(|before| latency_ms(now, before)),
    })
}

/// Quantiles of what was answered between two looks.
fn latency_ms(now: &Value, before: &Value) -> Option<Value> {
    let (mut hits, before) = (buckets(now), buckets(before));
    // Fewer: the node has been started anew.
    if hits.len() < before.len() {
        return None;
    }
    for ((_, hits), (_, old)) in hits.iter_mut().zip(before) {
        *hits = hits.checked_sub(old)?;
    }
    let quantile = |q| quantile(&hits, q);
    Some(json!({"p50": quantile(0.5), "p99": quantile(0.99)}))
}

/// Upper bounds, and hits of each.
fn buckets(backend: &Value) -> Vec<(f64, u64)> {
    let buckets = backend["latency_ms"]["buckets"].as_array();
    let bucket = |of: &Value| {
        (
            of[0].as_f64().unwrap_or(f64::INFINITY),
            of[1].as_u64().unwrap_or(0),
        )
    };
    buckets.into_iter().flatten().map(bucket).collect()
}

fn of_pool(item: &Value, backends: &[Value]) -> Value {
    let (spec, status) = (&item["spec"], &item["status"]);
    json!({
        "name": spec["name"], "backends": spec["backends"].as_array().map_or(0, Vec::len),
        "up": status["up"], "in_flight": status["in_flight"], "waiting": status["waiting"],
        "panic": status["panic"],
        "requests_per_second": total(backends, "requests_per_second"),
        "errors_per_second": total(backends, "errors_per_second"),
    })
}

/// `None` where one is not known.
fn total(items: &[Value], field: &str) -> Option<f64> {
    // The sum of no floats is a negative zero.
    let each = items.iter().map(|item| item[field].as_f64());
    each.sum::<Option<f64>>().map(|sum| sum + 0.0)
}

/// The busiest first; those that are alike stay in the order of names.
fn busy(item: &Value) -> std::cmp::Reverse<(u64, u64)> {
    let rate = item["requests_per_second"].as_f64().unwrap_or(0.0);
    std::cmp::Reverse((
        (rate * 10.0) as u64,
        item["in_flight"].as_u64().unwrap_or(0),
    ))
}

fn text(report: &Value) -> String {
    let items = |field: &str| report[field].as_array().map_or(&[][..], Vec::as_slice);
    let (pools, backends) = (items("pools"), items("backends"));
    let head = format!(
        "node {}, revision {}: clients {} requests/s, {} 4xx/s, {} 5xx/s over {:.1} s",
        cell(&report["node"]),
        cell(&report["revision"]),
        rate(&report["requests_per_second"]),
        rate(&report["client_errors_per_second"]),
        rate(&report["errors_per_second"]),
        report["seconds"].as_f64().unwrap_or_default(),
    );
    format!("{head}\n\n{}\n{}", of_pools(pools), of_backends(backends))
}

fn of_pools(pools: &[Value]) -> String {
    let row = |pool: &Value| {
        let panic = if pool["panic"] == true { ", panic" } else { "" };
        vec![
            cell(&pool["name"]),
            format!("{} of {}{panic}", cell(&pool["up"]), pool["backends"]),
            cell(&pool["in_flight"]),
            cell(&pool["waiting"]),
            rate(&pool["requests_per_second"]),
            rate(&pool["errors_per_second"]),
        ]
    };
    let heading = [
        "POOL",
        "UP",
        "IN FLIGHT",
        "WAITING",
        "REQUESTS/S",
        "ERRORS/S",
    ];
    table(&heading, pools.iter().map(row).collect(), "no pools")
}

fn of_backends(backends: &[Value]) -> String {
    let row = |backend: &Value| {
        let health = match &backend["admitting"] {
            Value::Bool(false) => format!("{}, takes none", cell(&backend["health"])),
            _ => cell(&backend["health"]),
        };
        vec![
            format!("{}/{}", cell(&backend["pool"]), cell(&backend["id"])),
            cell(&backend["address"]),
            health,
            cell(&backend["in_flight"]),
            rate(&backend["requests_per_second"]),
            rate(&backend["errors_per_second"]),
            millis(&backend["latency_ms"]["p50"]),
            millis(&backend["latency_ms"]["p99"]),
        ]
    };
    let rows = backends.iter().take(BACKENDS).map(row).collect();
    let heading = [
        "BACKEND",
        "ADDRESS",
        "HEALTH",
        "IN FLIGHT",
        "REQUESTS/S",
        "ERRORS/S",
        "P50",
        "P99",
    ];
    table(&heading, rows, "no backends")
}

fn rate(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"))
}

fn millis(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"))
}

/// The terminal while frames are drawn; as it was once this is dropped.
struct Screen;

impl Screen {
    fn open() -> Result<Self, Failure> {
        // The alternate screen, without a cursor.
        write("\x1b[?1049h\x1b[?25l")?;
        Ok(Self)
    }

    fn draw(&mut self, text: &str) -> Result<(), Failure> {
        // Zeros are of a terminal that does not know.
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
        let (rows, columns) = size.map_or((24, 80), |it| (it.ws_row.into(), it.ws_col.into()));
        write(&fit(text, rows, columns))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write("\x1b[?25h\x1b[?1049l");
    }
}

/// As much of the text as fits, over what was there before.
fn fit(text: &str, rows: usize, columns: usize) -> String {
    let lines = text.lines().take(rows);
    let lines = lines.map(|line| line.chars().take(columns).collect::<String>() + "\x1b[K");
    let lines: Vec<String> = lines.collect();
    format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, node: &str, clients: [u64; 3], counters: [(u64, u64); 2]) -> Look {
        let [requests, refused, failed] = clients;
        let backend = |id, (requests, errors)| {
            json!({"id": id, "address": "127.0.0.1:1", "health": "up", "admitting": true, "in_flight": 1,
                "requests": requests, "errors": errors,
                "latency_ms": {"p50": 9.0, "p99": 9.0, "buckets": [[1.0, requests], [3.0, errors]]}})
        };
        let status = json!({"up": 2, "in_flight": 2, "waiting": 0, "panic": false,
            "backends": [backend("b1", counters[0]), backend("b2", counters[1])]});
        let spec = json!({"name": "web", "backends": [{}, {}]});
        Look {
            at,
            nodes: json!({"this": {"name": node,
                "requests": requests, "client_errors": refused, "errors": failed}}),
            revision: 7,
            pools: json!({"items": [{"spec": spec, "status": status}]}),
        }
    }

    #[test]
    fn rates_are_between_two_looks_at_one_node() {
        let then = Instant::now();
        let first = look(then, "n1", [100, 7, 9], [(10, 0), (5, 5)]);
        let later = then + Duration::from_secs(2);
        let second = report(
            &first,
            &look(later, "n1", [180, 27, 10], [(20, 1), (45, 5)]),
        );
        assert_eq!(
            text(&second),
            "node n1, revision 7: clients 40.0 requests/s, 10.0 4xx/s, 0.5 5xx/s over 2.0 s\n\n\
             POOL  UP      IN FLIGHT  WAITING  REQUESTS/S  ERRORS/S\n\
             web   2 of 2  2          0        25.0        0.5\n\n\
             BACKEND  ADDRESS      HEALTH  IN FLIGHT  REQUESTS/S  ERRORS/S  P50     P99\n\
             web/b2   127.0.0.1:1  up      1          20.0        0.0       0.5 ms  1.0 ms\n\
             web/b1   127.0.0.1:1  up      1          5.0         0.5       0.6 ms  2.8 ms\n"
        );
        for other in [
            look(later, "n2", [180, 27, 10], [(20, 1), (45, 5)]),
            look(later, "n1", [80, 7, 9], [(2, 0), (45, 5)]),
        ] {
            let unknown = report(&first, &other);
            assert_eq!(unknown["pools"][0]["requests_per_second"], Value::Null);
            assert_eq!(unknown["requests_per_second"], Value::Null);
        }
    }

    #[test]
    fn a_frame_is_cut_to_the_terminal() {
        assert_eq!(
            fit("abcd\nef\ngh", 2, 3),
            "\x1b[Habc\x1b[K\r\nef\x1b[K\x1b[J"
        );
    }
}
