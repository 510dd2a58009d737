//! Takes sampled requests from the queue and tells a collector of them, in batches.
//!
//! A batch that is not taken for now is tried again with growing pauses; the queue fills meanwhile, and what it has no
//! room for is dropped where it would come from. Memory is bounded by the queue and one batch.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use opentelemetry_proto::tonic::resource::v1::Resource;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counts::{Counts, Loss};
use super::post::{Collector, Fault};
use super::{Endpoint, Sampled, Share, Tracer, TracesCollector, otlp};
use crate::shutdown::{self, Shutdown, Trigger};

/// Sampled requests that may wait for the exporter.
const QUEUE: usize = 8_192;

/// Spans after which a batch is full. The last request of a batch comes with all of its own.
const BATCH: usize = 512;

/// How long a batch waits to become full, and how often that is looked at: nobody is woken for each request.
const LINGER: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(50);

/// How often a batch is tried, and the pauses between; a collector may ask for other ones.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What an exporter is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The collector.
    pub endpoint: Endpoint,
    /// How TLS is spoken with it, if the endpoint is secure.
    pub tls: Option<Arc<ClientConfig>>,
    /// Of how many requests spans are told, where nobody who is trusted has decided.
    pub share: Share,
    /// `service.name` of all spans.
    pub service: String,
    /// `service.instance.id` of all spans.
    pub instance: String,
}

/// The running exporter. Dropped, it ends at once.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    stopping: Trigger,
    counts: Arc<Counts>,
}

/// Starts an exporter on the runtime that calls this.
pub fn start(options: Options) -> (Tracer, Exporter) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let (stopping, stop) = shutdown::channel();
    let counts = Arc::<Counts>::default();
    let run = Run {
        queue,
        stop,
        resource: otlp::resource(&options.service, &options.instance),
        collector: Collector::new(options.endpoint, options.tls),
        counts: counts.clone(),
        mood: Mood::Fine,
    };
    let tracer = Tracer {
        queue: sender,
        share: options.share,
        counts: counts.clone(),
    };
    let exporter = Exporter {
        task: tokio::spawn(run.run()),
        stopping,
        counts,
    };
    (tracer, exporter)
}

impl Exporter {
    /// What it counts, to be shown.
    pub fn metrics(&self) -> TracesCollector {
        TracesCollector(self.counts.clone())
    }

    /// Tells the collector what is left, once each, for at most `within`. To be called when all tracers are gone.
    pub async fn finish(mut self, within: Duration) {
        self.stopping.set();
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            tracing::warn!("the last traces were not exported in time");
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Run {
    queue: mpsc::Receiver<Box<Sampled>>,
    stop: Shutdown,
    resource: Resource,
    collector: Collector,
    counts: Arc<Counts>,
    mood: Mood,
}

/// How the collector was last met: said once, and again when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Fine,
    Failing,
}

impl Run {
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            self.linger().await;
            let mut spans = first.spans();
            let mut batch = vec![first];
            while spans < BATCH as u64
                && let Ok(next) = self.queue.try_recv()
            {
                spans += next.spans();
                batch.push(next);
            }
            let encoded = otlp::encode(&self.resource, &batch);
            drop(batch);
            self.export(encoded.into(), spans).await;
        }
    }

    /// Waits for a batch to become full.
    async fn linger(&mut self) {
        let mut waited = Duration::ZERO;
        while waited < LINGER && self.queue.len() < BATCH && !self.stop.is_requested() {
            self.pause(LOOK).await;
            waited += LOOK;
        }
    }

    /// Has the collector take a batch, or loses it.
    async fn export(&mut self, batch: Bytes, spans: u64) {
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            let fault = match self.collector.post(batch.clone()).await {
                Ok(answer) => return self.taken(&answer, spans),
                Err(fault) => fault,
            };
            self.note(&fault);
            if !fault.may_pass() {
                return self.counts.lost(Loss::Refused, spans);
            }
            if self.stop.is_requested() {
                break;
            }
            // Behind the last try too: the next batch is for the same collector.
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            self.pause(fault.rest().unwrap_or(jittered)).await;
            pause *= 2;
        }
        self.counts.lost(Loss::Unavailable, spans);
    }

    fn taken(&mut self, answer: &[u8], spans: u64) {
        if self.mood == Mood::Failing {
            self.mood = Mood::Fine;
            tracing::info!("traces are exported again");
        }
        let rejected = otlp::rejected(answer);
        let lost = rejected.as_ref().map_or(0, |(lost, _)| *lost).min(spans);
        if let Some((_, why)) = rejected {
            tracing::debug!(lost, why, "the collector did not take all of a batch");
        }
        self.counts.lost(Loss::Refused, lost);
        self.counts.exported(spans - lost);
    }

    fn note(&mut self, fault: &Fault) {
        if self.mood == Mood::Fine {
            self.mood = Mood::Failing;
            tracing::warn!(%fault, "the collector takes no traces; those of requests until it does are lost, or late");
        }
    }

    /// Cut short by the stop.
    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            // Neither is lost: one is over, or the stop stays requested.
            () = tokio::time::sleep(pause) => {}
            () = self.stop.requested() => {}
        }
    }
}
