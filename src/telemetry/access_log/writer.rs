//! The thread that writes the lines: what it cannot write it counts, and tells once a minute at most.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Destination;
use crate::telemetry::metrics::ListenerMetrics;

/// Between two lines that tell of trouble, at least.
const QUIET: Duration = Duration::from_secs(60);

impl Destination {
    pub(super) fn open(&self) -> io::Result<File> {
        match self {
            // As a file: what a buffer took could not be told from what was written.
            Self::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Self::File(path) => OpenOptions::new().create(true).append(true).open(path),
        }
    }

    /// The file that has this name now; none if it is `open` itself. That is asked first, since to open what is no
    /// file, a pipe say, may last.
    pub(super) fn open_anew(&self, open: &File) -> io::Result<Option<File>> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        let open = open.metadata()?;
        match fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (open.dev(), open.ino()) => Ok(None),
            _ => self.open().map(Some),
        }
    }
}

/// Writes what comes until nobody is left to send. In front of each chunk `renamed` may name another place to go on in;
/// an empty chunk has that asked, and no more.
pub(super) fn run<W: Write>(
    chunks: &Receiver<Vec<u8>>,
    mut output: Output<W>,
    mut renamed: impl FnMut(&W) -> io::Result<Option<W>>,
) {
    for chunk in chunks {
        match renamed(&output.sink) {
            Ok(Some(sink)) => output.go_on_in(sink),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "the access log cannot be opened anew; the old file is written on");
            }
        }
        output.write(&chunk);
    }
    output.finish();
}

/// Where lines are written, and how that goes.
#[derive(Debug)]
pub(super) struct Output<W> {
    pub(super) sink: W,
    /// The rest of a line that was begun: no other may begin within it.
    torn: Vec<u8>,
    pub(super) trouble: Trouble,
    metrics: Arc<ListenerMetrics>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(sink: W, metrics: Arc<ListenerMetrics>) -> Self {
        Self {
            sink,
            torn: Vec::new(),
            trouble: Trouble::default(),
            metrics,
        }
    }

    /// Writes the lines, or as many as there is room for; the others are lost and counted. Each time is a new attempt.
    pub(super) fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            // That this succeeds says nothing of the room.
            return;
        }
        let mut left = lines;
        let written = self
            .end_torn_line()
            .and_then(|()| write_all(&mut self.sink, &mut left));
        let Err(error) = written else {
            return self.trouble.is_over();
        };
        let written = &lines[..lines.len() - left.len()];
        if !written.is_empty() && !written.ends_with(b"\n") {
            let end = left.iter().position(|byte| *byte == b'\n');
            let (rest, others) = left.split_at(end.map_or(left.len(), |end| end + 1));
            self.torn.extend_from_slice(rest);
            left = others;
        }
        self.lost(memchr::memchr_iter(b'\n', left).count() as u64, &error);
    }

    /// Writes to another file from now on.
    fn go_on_in(&mut self, sink: W) {
        self.finish();
        self.sink = sink;
        tracing::info!("the access log is opened anew");
    }

    /// Ends a line that was begun, if there is room by now: its rest belongs nowhere else.
    fn finish(&mut self) {
        if let Err(error) = self.end_torn_line() {
            self.torn.clear();
            self.lost(1, &error);
        }
    }

    fn end_torn_line(&mut self) -> io::Result<()> {
        let mut left = &self.torn[..];
        let ended = write_all(&mut self.sink, &mut left);
        let written = self.torn.len() - left.len();
        self.torn.drain(..written);
        ended
    }

    fn lost(&mut self, lines: u64, error: &io::Error) {
        self.metrics.access_lines_lost(lines);
        if let Some(lost) = self.trouble.met(lines, Instant::now()) {
            tracing::error!(%error, lost, "the access log cannot be written; its lines are lost until it can");
        }
    }
}

/// Leaves in `left` what was not written.
fn write_all(sink: &mut impl Write, left: &mut &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        match sink.write(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => *left = &left[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    sink.flush()
}

/// What is to be told of lines that are lost.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// When it was told last.
    told: Option<Instant>,
    /// Lines since then.
    lost: u64,
    /// Whether this trouble was told, so that its end is too.
    pub(super) known: bool,
}

impl Trouble {
    /// Lines to be told of now, those before them included.
    pub(super) fn met(&mut self, lines: u64, now: Instant) -> Option<u64> {
        self.lost += lines;
        let recent = |told| now.saturating_duration_since(told) < QUIET;
        if self.told.is_some_and(recent) {
            return None;
        }
        self.told = Some(now);
        self.known = true;
        Some(std::mem::take(&mut self.lost))
    }

    fn is_over(&mut self) {
        if std::mem::take(&mut self.known) {
            let lost = std::mem::take(&mut self.lost);
            tracing::info!(more_lost = lost, "the access log is written again");
        }
    }
}
