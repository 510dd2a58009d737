//! What became of the spans, for `/metrics`.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Why a span is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The exporter had no room for it.
    Behind,
    /// The collector would not have it.
    Refused,
    /// The collector could not be reached, or had no time for it.
    Unavailable,
}

impl Loss {
    const ALL: [Self; 3] = [Self::Behind, Self::Refused, Self::Unavailable];

    fn name(self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Spans by what became of them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    exported: AtomicU64,
    lost: [AtomicU64; Loss::ALL.len()],
}

impl Counts {
    pub(super) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    pub(super) fn lost(&self, loss: Loss, spans: u64) {
        self.lost[loss as usize].fetch_add(spans, Relaxed);
    }
}

/// Shows the counts. Register it once with the node's metrics.
#[derive(Debug)]
pub struct TracesCollector(pub(super) Arc<Counts>);

impl TracesCollector {
    /// Spans that the collector took.
    pub fn exported(&self) -> u64 {
        self.0.exported.load(Relaxed)
    }

    /// Spans that are lost.
    pub fn dropped(&self) -> u64 {
        self.0.lost.iter().map(|lost| lost.load(Relaxed)).sum()
    }
}

impl Collector for TracesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let help = "Spans that the collector of traces took";
        encoder
            .encode_descriptor("traces_exported", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.exported(), None)?;
        let help = "Spans that it did not get or would not have, by reason";
        let mut dropped =
            encoder.encode_descriptor("traces_dropped", help, None, MetricType::Counter)?;
        for loss in Loss::ALL {
            let count = self.0.lost[loss as usize].load(Relaxed);
            dropped
                .encode_family(&[("reason", loss.name())])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}
