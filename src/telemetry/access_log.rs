//! The access log: one line a request, as JSON or in the combined format, written by a thread of its own.
//!
//! The request path hands over a record through a bounded channel and never waits: when the writer is behind, the
//! line is dropped and counted. The writer flushes whenever its queue is empty, so a quiet log is a current one.

mod combined;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::metrics::ListenerMetrics;

/// Records that may wait for the writer.
const QUEUE: usize = 16_384;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object with all that [`Access`] has.
    #[default]
    Json,
    /// As nginx and Apache write it: client, time, request, status, bytes, Referer and User-Agent.
    Combined,
}

/// What is told of one request. Durations are written as microseconds, absent ones as null. Of what a client writes
/// without a bound there is at most the first KiB.
#[derive(Debug, Serialize)]
pub struct Access {
    /// When the first byte of the request was read.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// The peer of the connection.
    pub client: IpAddr,
    /// As the client wrote it.
    pub method: Box<str>,
    /// The host that was matched.
    pub host: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub protocol: &'static str,
    /// What the client was answered; 0 when it left before that.
    pub status: u16,
    /// `X-Request-Id`, made or kept.
    pub request_id: Box<str>,
    /// As the client wrote it, for [`Format::Combined`] alone; empty if there is none.
    #[serde(skip)]
    pub referer: Box<str>,
    /// Likewise.
    #[serde(skip)]
    pub user_agent: Box<str>,
    /// The route that matched.
    pub route: Option<Box<str>>,
    /// The pool it led to.
    pub pool: Option<Box<str>>,
    /// The backend that was tried last.
    pub backend: Option<Box<str>>,
    /// Tries given to backends.
    pub tries: u32,
    /// Waiting for a backend below its limit.
    #[serde(rename = "queue_us", serialize_with = "microseconds")]
    pub queue: Option<Duration>,
    /// Opening the connection of the last try; null when one was reused.
    #[serde(rename = "connect_us", serialize_with = "microseconds")]
    pub connect: Option<Duration>,
    /// From the first byte of the request to the head of the answer.
    #[serde(rename = "first_byte_us", serialize_with = "microseconds")]
    pub first_byte: Option<Duration>,
    /// From the first byte of the request to the last of the answer.
    #[serde(rename = "total_us", serialize_with = "microseconds")]
    pub total: Option<Duration>,
    /// Body bytes from the client.
    pub received: u64,
    /// Body bytes to the client.
    pub sent: u64,
    /// The revision of the snapshot that served it.
    pub revision: u64,
    /// Why it ended: `complete`, or what cut it short (an RFC 9209 error type, or `client_gone`). A tunnel, whose line
    /// is written when it ends, may also have ended by `tunnel_idle`, `backend_removed` or `drained`.
    pub reason: &'static str,
}

/// Takes records; cheap to clone. The last clone to go waits until all that was taken is written.
#[derive(Clone, Debug)]
pub struct AccessLog {
    writer: Arc<Writer>,
    format: Format,
    metrics: Arc<ListenerMetrics>,
}

#[derive(Debug)]
struct Writer {
    sender: Option<SyncSender<Box<Access>>>,
    thread: Option<JoinHandle<()>>,
}

impl AccessLog {
    /// Opens the destination and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or no thread can be started.
    pub fn open(
        destination: &Destination,
        format: Format,
        metrics: Arc<ListenerMetrics>,
    ) -> io::Result<Self> {
        let output: Box<dyn Write + Send> = match destination {
            Destination::Stdout => Box::new(io::stdout()),
            Destination::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        Self::to(output, format, metrics)
    }

    fn to(
        output: Box<dyn Write + Send>,
        format: Format,
        metrics: Arc<ListenerMetrics>,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                let output = BufWriter::with_capacity(64 * 1024, output);
                write_all(&receiver, format, output);
            })?;
        let writer = Writer {
            sender: Some(sender),
            thread: Some(thread),
        };
        Ok(Self {
            writer: Arc::new(writer),
            format,
            metrics,
        })
    }

    /// What its lines look like.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Hands one record over, or drops it and counts that.
    pub fn record(&self, access: Box<Access>) {
        let taken = self
            .writer
            .sender
            .as_ref()
            .is_some_and(|sender| sender.try_send(access).is_ok());
        if !taken {
            self.metrics.access_line_dropped();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn write_all(
    records: &Receiver<Box<Access>>,
    format: Format,
    mut output: BufWriter<Box<dyn Write + Send>>,
) {
    let mut failed = false;
    loop {
        let record = match records.try_recv() {
            Ok(record) => record,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                note(output.flush(), &mut failed);
                match records.recv() {
                    Ok(record) => record,
                    Err(_) => break,
                }
            }
        };
        let line = match format {
            Format::Json => serde_json::to_writer(&mut output, &*record)
                .map_err(io::Error::from)
                .and_then(|()| output.write_all(b"\n")),
            Format::Combined => combined::write(&record, &mut output),
        };
        note(line, &mut failed);
    }
    note(output.flush(), &mut failed);
}

/// Says once that lines are lost, and once that they are not any more.
fn note(written: io::Result<()>, failed: &mut bool) {
    match written {
        Err(error) if !*failed => {
            tracing::error!(%error, "the access log cannot be written; its lines are lost until it can");
            *failed = true;
        }
        Err(_) => {}
        Ok(()) if *failed => {
            tracing::info!("the access log is written again");
            *failed = false;
        }
        Ok(()) => {}
    }
}

fn microseconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
        .serialize(serializer)
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::try_from(*time) {
        Ok(timestamp) => serializer.collect_str(&format_args!("{timestamp:.6}")),
        Err(_) => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::telemetry::metrics::MetricsRegistry;

    fn access(status: u16) -> Box<Access> {
        Box::new(Access {
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000),
            client: [127, 0, 0, 1].into(),
            method: "GET".into(),
            host: "shop.example".into(),
            target: "/a?b=\"c\"".into(),
            protocol: "HTTP/1.1",
            status,
            request_id: "1".into(),
            referer: "".into(),
            user_agent: "a \"b\"\n\u{e9}".into(),
            route: Some("shop".into()),
            pool: None,
            backend: None,
            tries: 1,
            queue: None,
            connect: Some(Duration::from_micros(12)),
            first_byte: None,
            total: None,
            received: 0,
            sent: 5,
            revision: 7,
            reason: "complete",
        })
    }

    #[test]
    fn every_line_taken_is_written_before_the_last_handle_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let metrics = MetricsRegistry::new(1).listener().clone();
        let log = AccessLog::open(&Destination::File(path.clone()), Format::Json, metrics).unwrap();
        for status in [200, 404] {
            log.clone().record(access(status));
        }
        drop(log);
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["status"], 404);
        assert_eq!(lines[0]["time"], "1970-01-01T00:00:01.500000Z");
        assert_eq!(lines[0]["connect_us"], 12);
        assert_eq!(lines[0]["queue_us"], serde_json::Value::Null);
    }

    #[test]
    fn a_combined_line_is_as_others_write_it_and_holds_what_clients_send_in_its_field() {
        let mut line = Vec::new();
        for status in [200, 0] {
            combined::write(&access(status), &mut line).unwrap();
        }
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "127.0.0.1 - - [01/Jan/1970:00:00:01 +0000] \"GET /a?b=\\x22c\\x22 HTTP/1.1\" 200 5 \"-\" \"a \\x22b\\x22\\x0A\\xC3\\xA9\"\n\
             127.0.0.1 - - [01/Jan/1970:00:00:01 +0000] \"GET /a?b=\\x22c\\x22 HTTP/1.1\" 499 5 \"-\" \"a \\x22b\\x22\\x0A\\xC3\\xA9\"\n"
        );
    }

    /// A destination that takes nothing until it is opened.
    struct Gate(Arc<(Mutex<bool>, Condvar)>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut open = self.0.0.lock().unwrap();
            while !*open {
                open = self.0.1.wait(open).unwrap();
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_that_is_stuck_costs_lines_and_never_time() {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let metrics = MetricsRegistry::new(1).listener().clone();
        let log =
            AccessLog::to(Box::new(Gate(gate.clone())), Format::Json, metrics.clone()).unwrap();
        for _ in 0..2 * QUEUE {
            log.record(access(200));
        }
        assert!(metrics.access_lines_dropped() > 0);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
    }
}
