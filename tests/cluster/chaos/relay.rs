//! A relay on the hub that holds back what two nodes say to each other.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Pieces under way in one direction.
const UNDER_WAY: usize = 4096;

/// Relays connections from `at` to `to`, each piece `delay` late, until it is cancelled.
pub(super) async fn relay(
    at: SocketAddr,
    to: SocketAddr,
    delay: Duration,
    ended: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(at).await?;
    tokio::spawn(async move {
        let accepting = async {
            while let Ok((near, _)) = listener.accept().await {
                let ended = ended.clone();
                tokio::spawn(ended.run_until_cancelled_owned(join(near, to, delay)));
            }
        };
        ended.run_until_cancelled(accepting).await;
    });
    Ok(())
}

async fn join(near: TcpStream, to: SocketAddr, delay: Duration) {
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let (near_reader, near_writer) = near.into_split();
    let (far_reader, far_writer) = far.into_split();
    // Where one direction has ended the other has no sense.
    tokio::select! {
        () = carry(near_reader, far_writer, delay) => {}
        () = carry(far_reader, near_writer, delay) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let reading = async move {
        loop {
            let mut piece = Vec::with_capacity(16 << 10);
            if !from.read_buf(&mut piece).await.is_ok_and(|read| read > 0) {
                return;
            }
            if sender.send((Instant::now() + delay, piece)).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
