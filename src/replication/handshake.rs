//! How a connection begins: each end says who it is and judges the other, durably, before anything else is said.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::connection::{self, Reader, Writer};
use super::feeding::Feeding;
use super::founding::Accepted;
use super::frame::{Body, Fetch, Hello, Refusal};
use super::shared::Shared;
use super::transport::{Ended, Transport, within};
use crate::paxos::NodeId;

const CONNECT: Duration = Duration::from_secs(2);
pub(super) const HANDSHAKE: Duration = Duration::from_secs(3);

/// Who has called.
pub(super) enum Called {
    Voter(Accepted, Reader, Writer),
    Follower(Feeding, Reader, Writer),
    /// It wants a checkpoint.
    Fetcher(Fetch, Writer),
}

/// Tells the other end why it is not accepted; it is refused whether it hears of it or not.
async fn refuse(refusal: Refusal, writer: &mut Writer) -> Ended {
    let reason = refusal.reason.clone();
    let _ = within(HANDSHAKE, writer.send(Body::Refusal(refusal))).await;
    Ended::Refused(reason)
}

impl Transport {
    /// The dialling side of the handshake.
    pub(super) async fn call(
        &self,
        peer: NodeId,
        name: &str,
        address: &str,
    ) -> Result<(Accepted, Reader, Writer), Ended> {
        let connected = connection::connect(self.shared.tls.as_deref(), address);
        let (mut reader, mut writer) = within(CONNECT, connected).await?;
        writer
            .send(Body::Hello(self.shared.group().hello(name)))
            .await?;
        let hello = self.hello(&mut reader).await?;
        let accepted = self.judge(hello, &reader, &mut writer).await?;
        if accepted.peer != peer {
            return Err(Ended::Refused(format!(
                "at {address} another node answers than `{name}`"
            )));
        }
        Ok((accepted, reader, writer))
    }

    /// The other side of it: says who has called.
    pub(super) async fn answer(&self, stream: TcpStream) -> Result<Called, Ended> {
        let accepted = connection::accept(self.shared.tls.as_deref(), stream);
        let (mut reader, mut writer) = within(HANDSHAKE, accepted).await?;
        let hello = match within(HANDSHAKE, reader.next()).await? {
            Some(Body::Follow(follow)) => {
                if let Err(reason) = reader.vouches(&follow.name) {
                    return Err(refuse(Refusal::because(reason), &mut writer).await);
                }
                return match Feeding::admit(&self.shared, follow) {
                    Ok(feeding) => Ok(Called::Follower(feeding, reader, writer)),
                    Err(refusal) => Err(refuse(refusal, &mut writer).await),
                };
            }
            Some(Body::Fetch(fetch)) => {
                if let Err(reason) = reader.vouches(&fetch.name) {
                    return Err(refuse(Refusal::because(reason), &mut writer).await);
                }
                return Ok(Called::Fetcher(fetch, writer));
            }
            // Who calls refuses nobody.
            Some(Body::Refusal(_)) => {
                return Err(Ended::Refused("it does not begin with a hello".to_owned()));
            }
            body => self.hello_in(body).await?,
        };
        // One that was removed still hands over what it knows, by the number it had.
        if let Some(refusal) = self.shared.group().has_no_vote(&hello.name) {
            return Err(refuse(refusal, &mut writer).await);
        }
        let accepted = self.judge(hello, &reader, &mut writer).await?;
        writer
            .send(Body::Hello(self.shared.group().hello("")))
            .await?;
        Ok(Called::Voter(accepted, reader, writer))
    }

    /// What the other end says first.
    async fn hello(&self, reader: &mut Reader) -> Result<Hello, Ended> {
        self.hello_in(within(HANDSHAKE, reader.next()).await?).await
    }

    async fn hello_in(&self, first: Option<Body>) -> Result<Hello, Ended> {
        match first {
            Some(Body::Hello(hello)) => Ok(hello),
            Some(Body::Refusal(refusal)) => Err(self.refused(refusal).await?),
            Some(_) => Err(Ended::Refused("it does not begin with a hello".to_owned())),
            None => Err(Ended::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// What a refusal comes to. Off the runtime's threads, for it may wait for the disk.
    pub(super) async fn refused(&self, refusal: Refusal) -> io::Result<Ended> {
        let reason = refusal.reason.clone();
        let follows = !refusal.follower.is_empty();
        let founding = self.founding.clone();
        let taken = tokio::task::spawn_blocking(move || founding.refused(&refusal));
        taken.await.map_err(io::Error::other)?;
        if follows {
            // It may be about to learn that it votes: no reason to leave it alone for long.
            return Err(io::Error::other(reason));
        }
        Ok(Ended::Refused(format!("it refuses this node: {reason}")))
    }

    /// Accepts a hello, or tells the other end why not.
    pub(super) async fn judge(
        &self,
        hello: Hello,
        reader: &Reader,
        writer: &mut Writer,
    ) -> Result<Accepted, Ended> {
        let judged = self.meet(hello, reader).await?;
        match judged {
            Ok(accepted) => Ok(accepted),
            Err(refusal) => Err(refuse(refusal, writer).await),
        }
    }

    /// Off the runtime's threads, for it may wait for the disk.
    pub(super) async fn meet(
        &self,
        hello: Hello,
        reader: &Reader,
    ) -> io::Result<Result<Accepted, Refusal>> {
        if let Err(reason) = reader.vouches(&hello.name) {
            return Ok(Err(Refusal::because(reason)));
        }
        let founding = self.founding.clone();
        let judged = tokio::task::spawn_blocking(move || founding.meet(&hello)).await;
        judged.map_err(io::Error::other)
    }
}

impl Shared {
    /// Whether the follower of this name and directory can be called where it says that it listens.
    pub(super) async fn probe(
        &self,
        name: &str,
        address: &str,
        instance: &[u8],
    ) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let connected = connection::connect(self.tls.as_deref(), address);
        let (mut reader, mut writer) = within(CONNECT, connected).await.map_err(failed)?;
        let hello = Body::Hello(self.group().hello(name));
        writer.send(hello).await.map_err(failed)?;
        match within(HANDSHAKE, reader.next()).await.map_err(failed)? {
            Some(Body::Refusal(refusal)) if refusal.follower == instance => Ok(()),
            _ => Err(format!("another node answers there than `{name}`")),
        }
    }
}
