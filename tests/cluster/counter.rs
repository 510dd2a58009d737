//! A counter that many increment under one lock: each reads it, takes its time, and writes one more.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a counter came to; shared by its server and the test.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub value: u64,
    /// The newest token that was shown.
    pub newest: u64,
    /// Who has read last and not written since.
    pub writing: Option<u64>,
    /// The tokens of the increments that were taken, by who made them.
    pub taken: BTreeMap<u64, u64>,
    /// What came with a token older than the newest.
    pub refused: u64,
    /// Increments that were lost or taken twice, and tokens that went back.
    pub wrong: Vec<String>,
}

impl Counter {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn taken(&self) -> usize {
        self.state().taken.len()
    }

    /// Keeps the counter at a store that refuses tokens older than the newest it was shown: a line `ID TOKEN` reads,
    /// `ID TOKEN VALUE` writes.
    pub(crate) fn store(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counter = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = counter.clone();
                std::thread::spawn(move || counter.converse(stream));
            }
        });
        port
    }

    fn converse(&self, mut stream: TcpStream) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let numbers = line.split(' ').map(|word| word.parse().unwrap());
            let answer = match numbers.collect::<Vec<u64>>()[..] {
                [id, token] => self.take(id, token, None),
                [id, token, value] => self.take(id, token, Some(value)),
                _ => panic!("{line}"),
            };
            let answer = answer.map_or("old".to_owned(), |value| value.to_string());
            if writeln!(stream, "{answer}").is_err() {
                return;
            }
        }
    }

    fn take(&self, id: u64, token: u64, value: Option<u64>) -> Option<u64> {
        let mut state = self.state();
        if token < state.newest {
            state.refused += 1;
            return None;
        }
        Some(state.take(id, token, value))
    }

    /// Keeps the counter at an HTTP backend that takes whatever reaches it: `/ID` reads, `/ID/VALUE` writes. Whoever
    /// stands in front of it has to refuse old tokens.
    pub(crate) fn backend(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counter = self.clone();
        std::thread::spawn(move || counter.sweep(&listener));
        address
    }

    /// Reads all connections in turn. What is read two turns after something else has arrived after it, however late
    /// this thread runs; of what is read nearer to each other nobody knows which came first.
    fn sweep(&self, listener: &TcpListener) {
        let mut connections: Vec<(TcpStream, Vec<u8>)> = Vec::new();
        // The newest token read before this turn, and before the last one.
        let (mut before, mut earlier) = (0, 0);
        loop {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).unwrap();
                connections.push((stream, Vec::new()));
            }
            let mut newest = before;
            connections.retain_mut(|(stream, read)| {
                let mut buffer = [0; 4096];
                loop {
                    match stream.read(&mut buffer) {
                        Ok(0) => return false,
                        Ok(count) => read.extend(&buffer[..count]),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => return false,
                    }
                }
                while let Some(end) = read.windows(4).position(|it| it == b"\r\n\r\n") {
                    let head: Vec<u8> = read.drain(..end + 4).collect();
                    let (token, value) = self.request(&String::from_utf8(head).unwrap(), earlier);
                    newest = newest.max(token);
                    let length = value.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{value}");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return false;
                    }
                }
                true
            });
            (earlier, before) = (before, newest);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn request(&self, head: &str, earlier: u64) -> (u64, String) {
        let mut lines = head.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap();
        let mut numbers = path.split('/').skip(1).map(|word| word.parse().unwrap());
        let (id, value) = (numbers.next().unwrap(), numbers.next());
        let token = lines
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("synod-lock-token"))
            .map(|(_, token)| token.parse().unwrap())
            .expect("nothing goes on without a token");
        let mut state = self.state();
        if token < earlier {
            let what = format!("{id} came with token {token} behind {earlier}");
            state.wrong.push(what);
        }
        (token, state.take(id, token, value).to_string())
    }
}

impl State {
    fn take(&mut self, id: u64, token: u64, value: Option<u64>) -> u64 {
        self.newest = self.newest.max(token);
        let Some(value) = value else {
            self.writing = Some(id);
            return self.value;
        };
        self.writing = None;
        if value != self.value + 1 {
            let what = format!("{id} wrote {value} over {}", self.value);
            self.wrong.push(what);
        }
        if let Some(other) = self.taken.values().find(|other| **other == token) {
            let what = format!("two increments came with token {other}");
            self.wrong.push(what);
        }
        if self.taken.insert(id, token).is_some() {
            self.wrong.push(format!("{id} was taken twice"));
        }
        self.value = value;
        value
    }
}

/// What increments the counter at a store, as `$ID`; what it does before it writes.
pub(crate) fn at_store(port: u16, pause: &str) -> String {
    format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1
         t=$SYNOD_LOCK_TOKEN
         echo \"$ID $t\" >&3; read v <&3 || exit 1
         {pause}
         echo \"$ID $t $((v + 1))\" >&3; read v <&3 && [ \"$v\" != old ]"
    )
}

/// What increments the counter at a backend, as `$ID`: read through one node's `$FIRST`, written through `$SECOND`.
pub(crate) fn at_backend(pause: &str) -> String {
    format!(
        "ask() {{
           exec 3<>/dev/tcp/127.0.0.1/$2 || exit 1
           printf '%s %s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n' $1 $3 >&3
           printf 'Synod-Lock-Token: %s\\r\\n\\r\\n' $SYNOD_LOCK_TOKEN >&3
           answer=$(cat <&3)
           case \"$answer\" in *' 200 OK'*) ;; *) exit 1;; esac
         }}
         ask GET $FIRST /$ID
         {pause}
         ask PUT $SECOND /$ID/$((${{answer##*[!0-9]}} + 1))"
    )
}
