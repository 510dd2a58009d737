//! The child that abuses: connections that each take their turns at one common rate.

use std::cell::Cell;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use super::{Abuse, Act, KINDS};
use crate::proxies;

/// What it says when every connection has been opened once.
pub(super) const READY: &str = "ready";

const TICK: Duration = Duration::from_millis(1);

/// Addresses of this host that connections come from, in turn: each has ports for some of them only, and those of the
/// rounds before are not free yet.
const SOURCES: usize = 16;

/// The child's part: the argument is the kind. It ends when its standard input does, and says how many turns it took.
pub(crate) fn run_child() {
    let name = std::env::args().nth(2).expect("a kind");
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let kind = kind.expect("a kind of those there are");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = stop.send(());
    });
    let abuser = Rc::new(Abuser {
        kind,
        opening: (kind.opening)(),
        turns: Semaphore::new(0),
        taken: Cell::new(0),
        opened: Cell::new(0),
    });
    LocalSet::new().block_on(&runtime, async {
        for index in 0..kind.connections {
            let abuser = abuser.clone();
            let source = Ipv4Addr::new(127, 0, 1, (index % SOURCES) as u8 + 1);
            tokio::task::spawn_local(async move {
                let mut first = true;
                loop {
                    let _ = abuser.connection(source, &mut first).await;
                }
            });
        }
        tokio::select! {
            () = abuser.pace() => {}
            _ = stopped => {}
        }
    });
    println!("{}", abuser.taken.get());
}

struct Abuser {
    kind: &'static Abuse,
    opening: Vec<u8>,
    /// Handed out in the order they are asked for.
    turns: Semaphore,
    taken: Cell<u64>,
    opened: Cell<usize>,
}

impl Abuser {
    /// Gives turns at the rate of the kind, never many at once: what the abuser was too late for is lost.
    async fn pace(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut due = 0.0;
        loop {
            ticks.tick().await;
            due += f64::from(self.kind.rate) * TICK.as_secs_f64();
            let whole = due as usize;
            due -= whole as f64;
            if self.turns.available_permits() < self.kind.rate as usize / 100 {
                self.turns.add_permits(whole);
            }
        }
    }

    async fn turn(&self) {
        let turn = self.turns.acquire().await.expect("never closed");
        turn.forget();
        self.taken.set(self.taken.get() + 1);
    }

    /// One connection, from its opening to when the proxy ends it or the abuser leaves.
    async fn connection(&self, source: Ipv4Addr, first: &mut bool) -> std::io::Result<()> {
        self.turn().await;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((source, 0)))?;
        let listens = proxies::LISTEN.parse().expect("an address");
        let mut stream = socket.connect(listens).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&self.opening).await?;
        if std::mem::take(first) {
            self.opened.set(self.opened.get() + 1);
            if self.opened.get() == self.kind.connections {
                println!("{READY}");
            }
        }
        match self.kind.act {
            Act::Wait => while read(&stream).await? > 0 {},
            Act::Leave => {
                read(&stream).await?;
            }
            Act::Send(act) => {
                for count in 0.. {
                    self.turn().await;
                    if has_ended(&stream)? {
                        break;
                    }
                    stream.write_all(&act(count)).await?;
                }
            }
        }
        Ok(())
    }
}

/// Bytes that came, which nobody looks at.
async fn read(stream: &TcpStream) -> std::io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; 4_096]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Whether the proxy has ended the connection; drops what came.
fn has_ended(stream: &TcpStream) -> std::io::Result<bool> {
    loop {
        match stream.try_read(&mut [0; 4_096]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The first message of a handshake, the same for all connections, with a key share that every server takes.
pub(super) fn client_hello() -> Vec<u8> {
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions that the provider has")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a vector takes all");
    bytes
}
