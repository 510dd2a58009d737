use std::io::{ErrorKind, Write};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::writer::Trouble;
use super::*;
use crate::telemetry::metrics::MetricsRegistry;

fn access(status: u16) -> Access<'static> {
    Access {
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
        detail: None,
    }
}

#[test]
fn every_line_taken_is_written_before_the_last_handle_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let metrics = MetricsRegistry::new(1).listener().clone();
    let log = AccessLog::open(&Destination::File(path.clone()), Format::Json, metrics).unwrap();
    let lines = [log.lines(), log.lines()];
    drop(log);
    for (lines, status) in lines.iter().zip([200, 404]) {
        lines.record(&access(status));
    }
    drop(lines);
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
fn a_line_in_json_has_each_member_and_escapes_what_clients_send() {
    let mut pending = Pending::default();
    let mut access = access(200);
    access.connect = None;
    access.total = Some(Duration::from_micros(1_234_567));
    pending.write(&access, Format::Json);
    let line = std::str::from_utf8(&pending.text).unwrap();
    let read: serde_json::Value = serde_json::from_str(line).unwrap();
    let told = json!({
        "time": "1970-01-01T00:00:01.500000Z", "client": "127.0.0.1", "method": "GET",
        "host": "shop.example", "target": "/a?b=\"c\"", "protocol": "HTTP/1.1", "status": 200,
        "request_id": "1", "route": "shop", "pool": null, "backend": null,
        "tries": access.tries, "queue_us": null, "connect_us": null,
        "first_byte_us": access.first_byte.map(|time| time.as_micros() as u64),
        "total_us": 1_234_567, "received": access.received, "sent": access.sent,
        "revision": access.revision, "reason": access.reason, "detail": null,
    });
    assert_eq!(read, told);
    assert!(line.starts_with("{\"time\":") && line.ends_with("}\n"));
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

#[test]
fn times_are_worded_as_rfc_3339_has_them() {
    let mut second = Second::default();
    let mut worded = |time| {
        let mut text = Vec::new();
        second.write(time, &mut text);
        String::from_utf8(text).unwrap()
    };
    let at = |micros| SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
    for (micros, expected) in [
        (0, "\"1970-01-01T00:00:00.000000Z\""),
        (1, "\"1970-01-01T00:00:00.000001Z\""),
        (1_795_852_799_999_999, "\"2026-11-28T07:59:59.999999Z\""),
        (1_795_852_800_000_000, "\"2026-11-28T08:00:00.000000Z\""),
        (1_795_852_800_120_000, "\"2026-11-28T08:00:00.120000Z\""),
    ] {
        assert_eq!(worded(at(micros)), expected);
    }
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(worded(before), "null");
}

#[tokio::test]
async fn a_line_is_handed_over_in_time_and_many_at_once() {
    let (sender, receiver) = sync_channel(QUEUE);
    let log = AccessLog {
        writer: Arc::new(Writer {
            sender: Some(sender),
            thread: None,
            renamed: Arc::default(),
        }),
        format: Format::Json,
        metrics: MetricsRegistry::new(1).listener().clone(),
    };
    let lines = log.lines();
    let handed_over = async || {
        let run = tokio::time::timeout(2 * WITHIN, lines.run());
        assert!(run.await.is_err(), "it goes on");
        receiver.try_iter().collect::<Vec<_>>()
    };
    assert!(handed_over().await.is_empty());
    for _ in 0..2 {
        lines.record(&access(200));
        lines.record(&access(200));
        let chunks = handed_over().await;
        let count = |chunk: &Vec<u8>| chunk.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(chunks.iter().map(count).collect::<Vec<_>>(), [2]);
    }
    let line = {
        lines.record(&access(200));
        handed_over().await.concat().len()
    };
    let many = CHUNK.div_ceil(line);
    (0..many).for_each(|_| lines.record(&access(200)));
    assert_eq!(receiver.try_iter().count(), 1, "at once");
}

/// Waits for the writer.
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within ten seconds");
        std::thread::yield_now();
    }
}

#[test]
fn a_renamed_file_is_left_and_the_lines_before_are_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let [path, old] = ["access.log", "access.log.1"].map(|name| directory.path().join(name));
    let metrics = MetricsRegistry::new(1).listener().clone();
    let log = AccessLog::open(&Destination::File(path.clone()), Format::Json, metrics).unwrap();
    let reopener = log.reopener();
    log.take(b"before\n".to_vec(), 1);
    // It has its name still.
    reopener.reopen();
    log.take(b"the same\n".to_vec(), 1);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    until(|| read(&path).ends_with("the same\n"));
    std::fs::rename(&path, &old).unwrap();
    reopener.reopen();
    until(|| path.exists());
    log.take(b"after\n".to_vec(), 1);
    drop(log);
    reopener.reopen();
    assert_eq!(read(&old), "before\nthe same\n");
    assert_eq!(read(&path), "after\n");
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_written_on_until_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("logs");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("access.log");
    let metrics = MetricsRegistry::new(1).listener().clone();
    let log = AccessLog::open(&Destination::File(path.clone()), Format::Json, metrics).unwrap();
    let moved = directory.path().join("moved");
    let old = moved.join("access.log");
    std::fs::rename(&folder, &moved).unwrap();
    log.reopener().reopen();
    log.take(b"line\n".to_vec(), 1);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    until(|| read(&old) == "line\n");
    std::fs::create_dir(&folder).unwrap();
    log.reopener().reopen();
    log.take(b"more\n".to_vec(), 1);
    drop(log);
    assert_eq!(read(&old), "line\n");
    assert_eq!(read(&path), "more\n");
}

/// A destination that fails in the middle of a line, once.
#[derive(Default)]
struct Full {
    taken: Vec<u8>,
    room: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        self.taken.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        match taken {
            0 => Err(ErrorKind::StorageFull.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_that_a_full_disk_tears_is_ended_before_another_begins_and_those_that_are_lost_are_counted()
 {
    let lines = b"first\nsecond\nthird\n";
    for (room, expected, lost) in [
        (0, "next\n", 4),
        (3, "first\nnext\n", 3),
        (6, "first\nnext\n", 3),
        (7, "first\nsecond\nnext\n", 2),
        (13, "first\nsecond\nnext\n", 2),
        (18, "first\nsecond\nthird\nnext\n", 1),
    ] {
        let metrics = MetricsRegistry::new(1).listener().clone();
        let full = Full {
            room,
            ..Full::default()
        };
        let mut output = Output::new(full, metrics.clone());
        output.write(lines);
        output.write(b"lost\n");
        output.sink.room = 100;
        output.write(b"next\n");
        assert_eq!(String::from_utf8_lossy(&output.sink.taken), expected);
        assert_eq!(metrics.access_lines_dropped(), lost, "{room}");
    }
}

#[test]
fn a_look_at_the_name_of_a_full_file_does_not_end_the_trouble() {
    let metrics = MetricsRegistry::new(1).listener().clone();
    let mut output = Output::new(Full::default(), metrics);
    output.write(b"lost\n");
    output.write(b"");
    assert!(output.trouble.known);
    output.sink.room = 100;
    output.write(b"next\n");
    assert!(!output.trouble.known);
}

#[test]
fn lost_lines_are_told_at_once_and_then_once_a_minute() {
    let mut trouble = Trouble::default();
    let began = Instant::now();
    let mut met = |second| trouble.met(1, began + Duration::from_secs(second));
    assert_eq!(met(0), Some(1));
    assert_eq!(met(1), None);
    assert_eq!(met(59), None);
    assert_eq!(met(60), Some(3), "those before it too");
    assert_eq!(met(61), None);
    assert_eq!(met(200), Some(2));
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
    let output = Output::new(Gate(gate.clone()), metrics.clone());
    let log = AccessLog::start(Format::Json, metrics.clone(), move |chunks, _| {
        writer::run(&chunks, output, |_| Ok(None));
    })
    .unwrap();
    let lines = log.lines();
    for _ in 0..2 * QUEUE * CHUNK / 300 {
        lines.record(&access(200));
    }
    let lost = metrics.access_lines_dropped();
    assert!(
        lost > 0 && lost < 2 * (QUEUE * CHUNK / 300) as u64,
        "{lost}"
    );
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}
