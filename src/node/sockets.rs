//! The sockets that a node listens on, and how they pass from one process to the next.
//!
//! They pass themselves, not copies of what they are bound to: who waits in their queues is accepted by whichever
//! process accepts next. Each is known by what it is for and the address that the settings give it.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::Context as _;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Descriptors in one message; the kernel takes 253.
const AT_ONCE: usize = 64;

/// Bytes of a message about sockets, and of all of them: no more is read.
const MOST: usize = 1 << 20;

/// What ends the messages about sockets.
const END: &str = "end\n";

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Traffic,
    Admin,
    Peer,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Traffic, Self::Admin, Self::Peer];

    fn name(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Admin => "admin",
            Self::Peer => "peer",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sockets that listen.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<(Purpose, SocketAddr, TcpListener)>);

impl Sockets {
    pub(super) fn add(&mut self, purpose: Purpose, address: SocketAddr, socket: TcpListener) {
        self.0.push((purpose, address, socket));
    }

    /// Takes those for this purpose and address.
    pub(super) fn take(&mut self, purpose: Purpose, address: SocketAddr) -> Vec<TcpListener> {
        let of_these =
            |of: &mut (Purpose, SocketAddr, TcpListener)| (of.0, of.1) == (purpose, address);
        let taken = self.0.extract_if(.., of_these);
        taken.map(|(.., socket)| socket).collect()
    }

    /// Sends all of them over `channel`, which blocks.
    pub(super) fn send(&self, channel: &UnixStream) -> io::Result<()> {
        for several in self.0.chunks(AT_ONCE) {
            let lines = several
                .iter()
                .map(|(purpose, address, _)| format!("{purpose} {address}\n"));
            let lines: String = lines.collect();
            let sockets: Vec<BorrowedFd<'_>> =
                several.iter().map(|(.., socket)| socket.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fits = control.push(SendAncillaryMessage::ScmRights(&sockets));
            assert!(fits, "there is room for as many as are sent at once");
            // The channel is empty and has room for more than a message.
            let sent = sendmsg(
                channel,
                &[IoSlice::new(lines.as_bytes())],
                &mut control,
                SendFlags::empty(),
            )?;
            if sent != lines.len() {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        io::Write::write_all(&mut &*channel, END.as_bytes())
    }

    /// Receives what [`send`](Self::send) sent.
    pub(super) fn receive(channel: &UnixStream) -> anyhow::Result<Self> {
        let (mut text, mut sockets) = (Vec::new(), Vec::<OwnedFd>::new());
        while !text.ends_with(END.as_bytes()) {
            let mut piece = [0; 16 * 1024];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let pieces = &mut [IoSliceMut::new(&mut piece)];
            let received = recvmsg(channel, pieces, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    sockets.extend(passed);
                }
            }
            text.extend_from_slice(&piece[..received.bytes]);
            anyhow::ensure!(received.bytes > 0, "the process before ended");
            anyhow::ensure!(text.len() <= MOST, "more than any node listens on");
        }
        let text = String::from_utf8(text).context("no text")?;
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| *line != END.trim_end())
            .collect();
        anyhow::ensure!(
            lines.len() == sockets.len(),
            "{} sockets came, {} were named",
            sockets.len(),
            lines.len()
        );
        let mut all = Self::default();
        for (line, socket) in lines.into_iter().zip(sockets) {
            let (purpose, address) = line
                .split_once(' ')
                .with_context(|| format!("no socket: {line}"))?;
            let known = Purpose::ALL
                .into_iter()
                .find(|known| known.name() == purpose);
            // What a later build listens on besides is closed here.
            if let Some(purpose) = known {
                let address = address
                    .parse()
                    .with_context(|| format!("no socket: {line}"))?;
                all.add(purpose, address, TcpListener::from(socket));
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_pass_with_who_waits_in_their_queues() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut sockets = Sockets::default();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut waiting = Vec::new();
        for n in 0..AT_ONCE + 3 {
            let socket = TcpListener::bind(any).unwrap();
            let client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
            waiting.push(client.local_addr().unwrap());
            let purpose = if n == 0 {
                Purpose::Admin
            } else {
                Purpose::Traffic
            };
            sockets.add(purpose, any, socket);
        }
        sockets.send(&near).unwrap();
        drop(sockets);
        let mut received = Sockets::receive(&far).unwrap();
        assert!(received.take(Purpose::Peer, any).is_empty());
        let mut all = received.take(Purpose::Admin, any);
        all.extend(received.take(Purpose::Traffic, any));
        let accepted: Vec<_> = all
            .iter()
            .map(|socket| socket.accept().unwrap().1)
            .collect();
        assert_eq!(accepted, waiting);
    }

    #[test]
    fn a_process_that_ends_hands_nothing_over() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(near);
        assert!(Sockets::receive(&far).is_err());
    }
}
