//! A request of the proxy's own beside the one it serves: to another pool, whose answer it reads itself.
//!
//! Small and bounded: the request is at hand whole, the answer is read up to a limit, and all of it has its time.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::dial;
use super::exchange::Reply;
use super::failure::{Failure, Unheard};
use super::forward::Job;
use super::proxied::Telling;
use super::request::is_idempotent;
use super::transfer::write_all;
use super::worker::Worker;
use crate::backend::{Answer, InFlight};
use crate::routing::PoolEntry;
use crate::wire::head::ResponseHead;
use crate::wire::http1::{BodyReader, MAX_HEAD, Parsed, Part, Scan, parse_response};
use crate::wire::stream::Stream;

/// Bytes of an answer's body that are read, so that its connection can be used again.
const MOST_READ: usize = 1 << 20;

/// The request, begun at a backend.
pub(super) struct Aside {
    worker: Rc<Worker>,
    pool: Arc<PoolEntry>,
    in_flight: InFlight,
    telling: Option<Telling>,
    method: Box<str>,
    /// Head and body.
    request: Vec<u8>,
}

/// What is wanted of an answer.
pub(super) trait Recipient {
    /// The final head.
    fn head(&mut self, head: &ResponseHead);
    /// Some of the body. False if it is too much, and the answer of no use.
    fn body(&mut self, data: &[u8]) -> bool;
}

/// Wants the status alone.
impl Recipient for u16 {
    fn head(&mut self, head: &ResponseHead) {
        *self = head.status();
    }

    fn body(&mut self, _: &[u8]) -> bool {
        true
    }
}

impl Aside {
    pub(super) fn new(
        job: &Job<'_>,
        pool: &Arc<PoolEntry>,
        in_flight: InFlight,
        method: &str,
        request: Vec<u8>,
    ) -> Self {
        Self {
            worker: job.client.worker.clone(),
            pool: pool.clone(),
            in_flight,
            telling: pool.proxy_protocol.map(|version| Telling {
                version,
                origin: job.client.origin(),
            }),
            method: method.into(),
            request,
        }
    }

    /// Sends it, and has `recipient` hear the answer, which is to come whole within that time.
    ///
    /// As for any request, a reused connection that ends before any byte of an answer is nobody's failure, and what can
    /// be repeated is sent once more over a fresh one.
    pub(super) async fn ask(
        &self,
        recipient: &mut impl Recipient,
        within: Duration,
    ) -> Result<(), Failure> {
        let until = Instant::now() + within;
        let (pool, backend) = (&self.pool, self.in_flight.backend());
        let telling = self.telling.as_ref();
        let idle = dial::reuse(&self.worker, pool, backend, telling, Instant::now());
        if let Some(mut idle) = idle
            && idle.is_open_and_empty()
        {
            let mut heard = false;
            let asked = self.exchange(idle, recipient, until, &mut heard).await;
            let unheard = asked.err().and_then(|failure| failure.unheard(true, heard));
            match unheard {
                None => return self.count(asked),
                Some(Unheard::MaybeSeen) if !is_idempotent(&self.method) => return asked,
                Some(_) => {}
            }
        }
        let asked = match self.connect(until).await {
            Ok(connection) => {
                let mut heard = false;
                self.exchange(connection, recipient, until, &mut heard)
                    .await
            }
            Err(failure) => Err(failure),
        };
        self.count(asked)
    }

    fn count(&self, asked: Result<(), Failure>) -> Result<(), Failure> {
        if let Some(error) = asked.err().and_then(Failure::of_backend) {
            self.in_flight.backend().failed(error);
        }
        asked
    }

    async fn connect(&self, until: Instant) -> Result<Stream, Failure> {
        let (pool, backend) = (&self.pool, self.in_flight.backend());
        let dialling = dial::open(&self.worker, pool, backend, self.telling.as_ref());
        let dialled = timeout(pool.timeouts.connect.min(left(until)), dialling).await;
        dialled.map_err(|_| Failure::ConnectTimeout)?
    }

    async fn exchange(
        &self,
        mut connection: Stream,
        recipient: &mut impl Recipient,
        until: Instant,
        heard: &mut bool,
    ) -> Result<(), Failure> {
        let (pool, backend) = (&self.pool, self.in_flight.backend());
        // Read behind the last await before the first byte, as for any request.
        if !backend.admits() {
            return Err(Failure::NoBackend);
        }
        let conversing = timeout(
            left(until),
            self.converse(&mut connection, recipient, heard),
        );
        let reusable = conversing.await.map_err(|_| Failure::AnswerTimeout)??;
        if reusable {
            let (telling, now) = (self.telling, Instant::now());
            dial::keep(&self.worker, pool, backend, connection, telling, now);
        }
        Ok(())
    }

    /// True if the connection can be used again.
    async fn converse(
        &self,
        connection: &mut Stream,
        recipient: &mut impl Recipient,
        heard: &mut bool,
    ) -> Result<bool, Failure> {
        let began = Instant::now();
        let lost = |error| Failure::of_connection(&error);
        write_all(connection, &self.request, &[])
            .await
            .map_err(lost)?;
        poll_fn(|cx| connection.poll_read_ready(cx))
            .await
            .map_err(lost)?;
        let mut reply = self.worker.replies.lease();
        reply.inbound.take_room(&self.worker.buffers);
        read_head(&self.method, &mut reply, connection, heard).await?;
        let now = Instant::now();
        self.in_flight.backend().answered(Answer {
            status: reply.head.status(),
            at: now,
            first_byte: now.saturating_duration_since(began),
            retry_after: None,
        });
        recipient.head(&reply.head);
        read_body(&mut reply, connection, recipient).await
    }
}

pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// Reads the final head. Tells whether any byte of an answer was there.
async fn read_head(
    method: &str,
    reply: &mut Reply,
    connection: &mut Stream,
    heard: &mut bool,
) -> Result<(), Failure> {
    let Reply { inbound, head, .. } = reply;
    let mut scan = Scan::default();
    loop {
        let parsed = parse_response(inbound.filled(), &mut scan, method, head);
        if let Parsed::Head { len } = parsed.map_err(Failure::Malformed)? {
            inbound.consume(len);
            if head.status() == 101 {
                return Err(Failure::UnaskedUpgrade);
            }
            if !head.is_interim() {
                return Ok(());
            }
            scan = Scan::default();
            continue;
        }
        inbound.make_room(MAX_HEAD + 1);
        match poll_fn(|cx| inbound.poll_fill(connection, cx)).await {
            Ok(1..) => *heard = true,
            Ok(0) => return Err(Failure::BackendGone),
            Err(error) => return Err(Failure::of_connection(&error)),
        }
    }
}

/// Reads the body, or the beginning of a long one; true if all of it came and the connection can be used again.
async fn read_body(
    reply: &mut Reply,
    connection: &mut Stream,
    recipient: &mut impl Recipient,
) -> Result<bool, Failure> {
    let Reply { inbound, head, .. } = reply;
    let mut reader = BodyReader::response(head.body());
    let mut left = MOST_READ;
    loop {
        let mut taken = true;
        let step = reader.advance_parts(inbound.filled(), |part| {
            if let Part::Data(data) = part {
                taken = taken && recipient.body(data);
            }
        });
        let step = step.map_err(Failure::Malformed)?;
        inbound.consume(step.consumed);
        if !taken {
            return Err(Failure::AuthUnavailable);
        }
        if step.done {
            let plain = !connection.is_http2() && inbound.is_empty();
            return Ok(plain && head.keep_alive());
        }
        left = left.saturating_sub(step.consumed);
        if left == 0 {
            return Ok(false);
        }
        match poll_fn(|cx| inbound.poll_fill(connection, cx)).await {
            Ok(1..) => {}
            Ok(0) if reader.remaining().is_none() => {
                let ended = reader.end(crate::wire::body::Relay::Pass, &mut Vec::new());
                return ended.map(|()| false).map_err(|_| Failure::BackendGone);
            }
            Ok(0) => return Err(Failure::BackendGone),
            Err(error) => return Err(Failure::of_connection(&error)),
        }
    }
}
