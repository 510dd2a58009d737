//! How a connection begins: each end says who it is and judges the other, durably, before anything else is said.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::connection::{Reader, Writer, split};
use super::founding::Accepted;
use super::frame::{Body, Hello, Refusal};
use super::transport::{Ended, Transport, within};
use crate::paxos::NodeId;

const CONNECT: Duration = Duration::from_secs(2);
const HANDSHAKE: Duration = Duration::from_secs(3);

impl Transport {
    /// The dialling side of the handshake.
    pub(super) async fn call(
        &self,
        peer: NodeId,
        name: &str,
        address: &str,
    ) -> Result<(Accepted, Reader, Writer), Ended> {
        let stream = within(CONNECT, TcpStream::connect(address)).await?;
        let (mut reader, mut writer) = split(stream)?;
        writer
            .send(Body::Hello(self.shared.group().hello(name)))
            .await?;
        let hello = self.hello(&mut reader).await?;
        let accepted = self.judge(hello, &mut writer).await?;
        if accepted.peer != peer {
            return Err(Ended::Refused(format!(
                "at {address} another node answers than `{name}`"
            )));
        }
        Ok((accepted, reader, writer))
    }

    /// The other side of it.
    pub(super) async fn answer(
        &self,
        stream: TcpStream,
    ) -> Result<(Accepted, Reader, Writer), Ended> {
        let (mut reader, mut writer) = split(stream)?;
        let hello = self.hello(&mut reader).await?;
        let accepted = self.judge(hello, &mut writer).await?;
        writer
            .send(Body::Hello(self.shared.group().hello("")))
            .await?;
        Ok((accepted, reader, writer))
    }

    /// What the other end says first.
    pub(super) async fn hello(&self, reader: &mut Reader) -> Result<Hello, Ended> {
        match within(HANDSHAKE, reader.next()).await? {
            Some(Body::Hello(hello)) => Ok(hello),
            Some(Body::Refusal(refusal)) => Err(self.refused(&refusal)),
            Some(_) => Err(Ended::Refused("it does not begin with a hello".to_owned())),
            None => Err(Ended::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    pub(super) fn refused(&self, refusal: &Refusal) -> Ended {
        self.founding.refused(refusal);
        Ended::Refused(format!("it refuses this node: {}", refusal.reason))
    }

    /// Accepts a hello, or tells the other end why not.
    pub(super) async fn judge(&self, hello: Hello, writer: &mut Writer) -> Result<Accepted, Ended> {
        let judged = self.meet(hello).await?;
        match judged {
            Ok(accepted) => Ok(accepted),
            Err(refusal) => {
                let reason = refusal.reason.clone();
                // It is refused whether it hears of it or not.
                let _ = within(HANDSHAKE, writer.send(Body::Refusal(refusal))).await;
                Err(Ended::Refused(reason))
            }
        }
    }

    /// Off the runtime's threads, for it may wait for the disk.
    pub(super) async fn meet(&self, hello: Hello) -> io::Result<Result<Accepted, Refusal>> {
        let founding = self.founding.clone();
        let judged = tokio::task::spawn_blocking(move || founding.meet(&hello)).await;
        judged.map_err(io::Error::other)
    }
}
