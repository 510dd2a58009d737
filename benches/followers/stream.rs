//! As little as a follower can be: says who it is, reads, and reports now and then that it lives.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

/// What a change that is looked for begins with; its number in eight digits follows.
pub(crate) const MARK: &str = "bench-change-";

/// A frame with nothing in it but an empty report, as it goes onto the stream.
const REPORT: [u8; 6] = [0, 0, 0, 2, 0x42, 0];

#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(message, optional, tag = "20")]
    follow: Option<Follow>,
}

#[derive(Clone, PartialEq, Message)]
struct Follow {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "bytes", tag = "3")]
    instance: Bytes,
}

/// One connection.
pub(crate) struct Stream(TcpStream);

impl Stream {
    /// Begins to follow.
    pub(crate) async fn open(address: &str, number: usize) -> Self {
        let mut stream = TcpStream::connect(address)
            .await
            .expect("the voter listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let follow = Follow {
            version: 1,
            name: format!("f{number}"),
            instance: (number as u128).to_be_bytes().to_vec().into(),
        };
        let frame = Frame {
            follow: Some(follow),
        }
        .encode_to_vec();
        let length = (frame.len() as u32).to_be_bytes();
        let hello = [&length[..], &frame].concat();
        stream.write_all(&hello).await.expect("the voter reads");
        Self(stream)
    }

    /// Tells the number of each change, once, as it is read.
    pub(crate) async fn watch(self, seen: UnboundedSender<(u64, Instant)>) {
        let (mut read, mut write) = self.0.into_split();
        tokio::spawn(async move {
            let mut period = tokio::time::interval(Duration::from_secs(1));
            loop {
                period.tick().await;
                if write.write_all(&REPORT).await.is_err() {
                    return;
                }
            }
        });
        let (mut frame, mut next) = (Vec::new(), 0);
        loop {
            let length = read.read_u32().await.expect("the voter feeds on");
            frame.resize(length as usize, 0);
            read.read_exact(&mut frame).await.expect("a whole frame");
            let at = Instant::now();
            while contains(&frame, format!("{MARK}{next:08}").as_bytes()) {
                if seen.send((next, at)).is_err() {
                    return;
                }
                next += 1;
            }
        }
    }
}

fn contains(frame: &[u8], wanted: &[u8]) -> bool {
    frame.windows(wanted.len()).any(|window| window == wanted)
}
