//! What `/metrics` tells of TLS: handshakes by how they went, reloads, and when certificates end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::hot::Hot;
use super::server::ServerTls;

/// Counters of one served TLS identity.
#[derive(Debug, Default)]
pub(super) struct Counters {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    plaintext: AtomicU64,
}

/// How a handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// A new session.
    Full,
    /// An earlier session taken up again.
    Resumed,
    /// It came to nothing, or not in time.
    Failed,
    /// The client spoke plaintext.
    Plaintext,
}

impl Counters {
    /// Handshakes are rare beside requests, and cost a thousand times this.
    pub(super) fn count(&self, handshake: Handshake) {
        let counter = match handshake {
            Handshake::Full => &self.full,
            Handshake::Resumed => &self.resumed,
            Handshake::Failed => &self.failed,
            Handshake::Plaintext => &self.plaintext,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn handshakes(&self) -> [(&'static str, u64); 4] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("full", read(&self.full)),
            ("resumed", read(&self.resumed)),
            ("failed", read(&self.failed)),
            ("plaintext", read(&self.plaintext)),
        ]
    }
}

/// Everything of this node that speaks TLS, each with the words that tell it apart (`listener 0.0.0.0:443`,
/// `backends`). Register it once with the node's metrics.
#[derive(Debug)]
pub struct TlsMetrics {
    /// What is served.
    pub served: Vec<(String, Arc<ServerTls>)>,
    /// What is made of files.
    pub hot: Vec<(String, Arc<dyn Hot>)>,
}

impl Collector for TlsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "TLS handshakes, by how they went";
        let mut family =
            encoder.encode_descriptor("tls_handshakes", help, None, MetricType::Counter)?;
        for (name, tls) in &self.served {
            for (result, count) in tls.counters().handshakes() {
                family
                    .encode_family(&[("on", name.as_str()), ("result", result)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Changed key material, by whether it was good";
        let mut family =
            encoder.encode_descriptor("tls_reloads", help, None, MetricType::Counter)?;
        for (name, hot) in &self.hot {
            for (result, count) in hot.reloads().counts() {
                family
                    .encode_family(&[("on", name.as_str()), ("result", result)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "When a certificate in force ends, in Unix time";
        let mut family = encoder.encode_descriptor(
            "tls_certificate_not_after",
            help,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (name, hot) in &self.hot {
            for (path, end) in hot.ends() {
                family
                    .encode_family(&[("on", name.as_str()), ("certificate", path.as_str())])?
                    .encode_gauge(&end)?;
            }
        }
        Ok(())
    }
}
