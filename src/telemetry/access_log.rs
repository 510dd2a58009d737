//! The access log: one line a request, as JSON or in the combined format, written by a thread of its own.
//!
//! Each thread of the data plane words its lines into a buffer that no other sees, and hands that over when it is full,
//! or 10 ms after its first line: a request costs the wording, and neither a lock, nor an allocation, nor the waking of
//! another thread. Nothing ever waits for the writer: when it is behind, lines are dropped and counted.

mod combined;
mod json;
#[cfg(test)]
mod tests;
mod writer;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use self::writer::Output;
use super::metrics::ListenerMetrics;

/// Bytes of lines that are handed over at once.
const CHUNK: usize = 32 * 1024;

/// What a chunk may have behind them: the end of its last line.
const ROOM: usize = 2 * 1024;

/// Chunks that may wait for the writer.
const QUEUE: usize = 256;

/// From when a line is worded to when it is handed over, at most.
const WITHIN: Duration = Duration::from_millis(10);

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
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// When the first byte of the request was read; in front of all others.
    pub time: SystemTime,
    /// The peer of the connection.
    pub client: IpAddr,
    /// As the client wrote it.
    pub method: Cow<'a, str>,
    /// The host that was matched.
    pub host: Cow<'a, str>,
    /// Path and query.
    pub target: Cow<'a, str>,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub protocol: &'static str,
    /// What the client was answered; 0 when it left before that.
    pub status: u16,
    /// `X-Request-Id`, made or kept.
    pub request_id: Cow<'a, str>,
    /// As the client wrote it, for [`Format::Combined`] alone; empty if there is none.
    pub referer: Cow<'a, str>,
    /// Likewise.
    pub user_agent: Cow<'a, str>,
    /// The route that matched.
    pub route: Option<Cow<'a, str>>,
    /// The pool it led to.
    pub pool: Option<Cow<'a, str>>,
    /// The backend that was tried last.
    pub backend: Option<Cow<'a, str>>,
    /// Tries given to backends.
    pub tries: u32,
    /// Waiting for a backend below its limit.
    pub queue: Option<Duration>,
    /// Opening the connection of the last try; null when one was reused.
    pub connect: Option<Duration>,
    /// From the first byte of the request to the head of the answer.
    pub first_byte: Option<Duration>,
    /// From the first byte of the request to the last of the answer.
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
    /// One word more, null where there is none: the policy that answered (`clients`, `cors`, `basic_auth`,
    /// `forward_auth`, `rate`, `fence`, `fault_injection`, `redirect`, `respond`), the limit that was reached
    /// (`overload`, `queue_full`, `queue_timeout`), or the rule that a message broke (`bare_lf`, say). The answer says
    /// the same in the details of Proxy-Status.
    pub detail: Option<&'static str>,
}

impl Access<'_> {
    /// The same, of nothing else.
    pub fn into_owned(self) -> Access<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Access {
            method: owned(self.method),
            host: owned(self.host),
            target: owned(self.target),
            request_id: owned(self.request_id),
            referer: owned(self.referer),
            user_agent: owned(self.user_agent),
            route: self.route.map(owned),
            pool: self.pool.map(owned),
            backend: self.backend.map(owned),
            ..self
        }
    }
}

/// Where all threads' lines go; cheap to clone. The last clone to go waits until all that was handed over is written.
#[derive(Clone, Debug)]
pub struct AccessLog {
    writer: Arc<Writer>,
    format: Format,
    metrics: Arc<ListenerMetrics>,
}

#[derive(Debug)]
struct Writer {
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
    /// Whether the file may have another name by now, and its old name be another file's.
    renamed: Arc<AtomicBool>,
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
        let output = Output::new(destination.open()?, metrics.clone());
        let destination = destination.clone();
        Self::start(format, metrics, move |chunks, renamed| {
            let renamed = |open: &File| match renamed.swap(false, Ordering::AcqRel) {
                true => destination.open_anew(open),
                false => Ok(None),
            };
            writer::run(&chunks, output, renamed);
        })
    }

    fn start(
        format: Format,
        metrics: Arc<ListenerMetrics>,
        write: impl FnOnce(Receiver<Vec<u8>>, Arc<AtomicBool>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let renamed = Arc::new(AtomicBool::new(false));
        let told = renamed.clone();
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write(receiver, told))?;
        let writer = Writer {
            sender: Some(sender),
            thread: Some(thread),
            renamed,
        };
        Ok(Self {
            writer: Arc::new(writer),
            format,
            metrics,
        })
    }

    /// For whoever is told that the file was renamed. It keeps no log open.
    pub fn reopener(&self) -> Reopener {
        Reopener(Arc::downgrade(&self.writer))
    }

    /// For a thread's own lines.
    pub fn lines(&self) -> Lines {
        Lines {
            log: self.clone(),
            pending: RefCell::default(),
            begun: Notify::new(),
        }
    }

    /// Hands lines over, or drops and counts them.
    fn take(&self, chunk: Vec<u8>, lines: u64) {
        let sender = self.writer.sender.as_ref();
        if sender.is_none_or(|sender| sender.try_send(chunk).is_err()) {
            self.metrics.access_lines_lost(lines);
        }
    }
}

/// Has the file of an access log opened anew; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reopener(Weak<Writer>);

impl Reopener {
    /// Has the writer go on in the file that has the name now, from the next lines on that it takes. Waits for nothing.
    /// If it cannot be opened the old one is written on; standard output always is.
    pub fn reopen(&self) {
        let Some(writer) = self.0.upgrade() else {
            return;
        };
        writer.renamed.store(true, Ordering::Release);
        if let Some(sender) = &writer.sender {
            // Where there is no room for it the writer has chunks to come, and asks in front of each.
            let _ = sender.try_send(Vec::new());
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

/// The lines of one thread on their way to the writer. What is dropped is handed over first.
#[derive(Debug)]
pub struct Lines {
    log: AccessLog,
    pending: RefCell<Pending>,
    /// Told of the first of them.
    begun: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    text: Vec<u8>,
    lines: u64,
    second: Second,
}

impl Lines {
    /// What they look like.
    pub fn format(&self) -> Format {
        self.log.format
    }

    /// Adds one.
    pub fn record(&self, access: &Access<'_>) {
        let mut pending = self.pending.borrow_mut();
        let first = pending.text.is_empty();
        if first {
            pending.text.reserve_exact(CHUNK + ROOM);
        }
        pending.write(access, self.log.format);
        if pending.text.len() >= CHUNK {
            self.hand_over(&mut pending);
        } else if first {
            self.begun.notify_one();
        }
    }

    /// Hands them over in time, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(WITHIN).await;
            self.hand_over(&mut self.pending.borrow_mut());
        }
    }

    fn hand_over(&self, pending: &mut Pending) {
        let (text, lines) = (std::mem::take(&mut pending.text), pending.lines);
        pending.lines = 0;
        if !text.is_empty() {
            self.log.take(text, lines);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.hand_over(&mut self.pending.borrow_mut());
    }
}

impl Pending {
    fn write(&mut self, access: &Access<'_>, format: Format) {
        let text = &mut self.text;
        let worded = match format {
            Format::Json => {
                text.extend_from_slice(b"{\"time\":");
                self.second.write(access.time, text);
                json::write(access, text)
            }
            Format::Combined => combined::write(access, text),
        };
        worded.expect("memory takes what is written to it");
        self.lines += 1;
    }
}

/// The second that was worded last: most lines are of the same as the one before.
#[derive(Debug, Default)]
struct Second {
    since_epoch: u64,
    /// Empty before the first.
    text: String,
}

impl Second {
    /// Writes a time as RFC 3339 has it, with microseconds and in quotes; null for none of its years.
    fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let Ok(since) = time.duration_since(SystemTime::UNIX_EPOCH) else {
            return out.extend_from_slice(b"null");
        };
        if self.text.is_empty() || self.since_epoch != since.as_secs() {
            let second = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            let Ok(second) = jiff::Timestamp::from_second(second) else {
                return out.extend_from_slice(b"null");
            };
            self.since_epoch = since.as_secs();
            self.text = second.strftime("\"%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut digits = *b"000000Z\"";
        let mut left = since.subsec_micros();
        for digit in digits[..6].iter_mut().rev() {
            *digit += (left % 10) as u8;
            left /= 10;
        }
        out.extend_from_slice(&digits);
    }
}
