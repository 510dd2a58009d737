//! The traffic counters as Prometheus metrics: one `Collector` that adds the shards up at the scrape.
//!
//! Labels are names of the config (route, pool, backend) and fixed words, so the number of series is bounded by it.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::histogram::Totals;
use super::metrics::{BackendError, CLASSES, MetricsRegistry};

#[derive(Debug)]
pub(crate) struct TrafficCollector(pub(crate) Arc<MetricsRegistry>);

impl Collector for TrafficCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        self.encode_routes(&mut encoder)?;
        self.encode_backends(&mut encoder)?;
        self.encode_listener(&mut encoder)
    }
}

impl TrafficCollector {
    fn encode_routes(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let routes = self.0.routes();
        let mut requests = describe(
            encoder,
            "requests",
            "Requests that ended, by the status the client saw",
            COUNTER,
        )?;
        for (name, metrics) in &routes {
            for (i, class) in CLASSES.iter().enumerate() {
                let status = (i as u16 + 1) * 100;
                count(
                    &mut requests,
                    &[("route", name), ("class", class)],
                    metrics.requests(status),
                )?;
            }
        }
        let mut duration = encoder.encode_descriptor(
            "request_duration",
            "First byte of the request to the last byte of the answer",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (name, metrics) in &routes {
            histogram(&mut duration, &[("route", name)], &metrics.latency())?;
        }
        let mut received = describe(
            encoder,
            "request_body_bytes",
            "Body bytes from clients",
            COUNTER,
        )?;
        for (name, metrics) in &routes {
            count(&mut received, &[("route", name)], metrics.bytes().0)?;
        }
        let mut sent = describe(
            encoder,
            "response_body_bytes",
            "Body bytes to clients",
            COUNTER,
        )?;
        for (name, metrics) in &routes {
            count(&mut sent, &[("route", name)], metrics.bytes().1)?;
        }
        let mut retries = describe(encoder, "retries", "Tries beyond the first", COUNTER)?;
        for (name, metrics) in &routes {
            count(&mut retries, &[("route", name)], metrics.retries())?;
        }
        let mut rate_limited = describe(
            encoder,
            "rate_limited",
            "Requests that were too many for the route's rate",
            COUNTER,
        )?;
        for (name, metrics) in &routes {
            count(&mut rate_limited, &[("route", name)], metrics.rate_limits())?;
        }
        let mut mirrors = describe(
            encoder,
            "mirrors",
            "Copies of requests to another pool, made or dropped",
            COUNTER,
        )?;
        for (name, metrics) in &routes {
            let (made, dropped) = metrics.mirrors();
            for (outcome, n) in [("made", made), ("dropped", dropped)] {
                count(&mut mirrors, &[("route", name), ("outcome", outcome)], n)?;
            }
        }
        Ok(())
    }

    fn encode_backends(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let backends = self.0.backends();
        let mut answers = describe(
            encoder,
            "backend_answers",
            "Answers of a backend, by status class",
            COUNTER,
        )?;
        for ((pool, id), metrics) in &backends {
            for (i, class) in CLASSES.iter().enumerate() {
                let labels = [("pool", &**pool), ("backend", id), ("class", class)];
                count(&mut answers, &labels, metrics.answers((i as u16 + 1) * 100))?;
            }
        }
        let mut first_byte = encoder.encode_descriptor(
            "backend_first_byte",
            "Request sent to the head of the answer",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for ((pool, id), metrics) in &backends {
            histogram(
                &mut first_byte,
                &[("pool", pool), ("backend", id)],
                &metrics.latency(),
            )?;
        }
        let mut in_flight = describe(
            encoder,
            "backend_in_flight",
            "Tries begun and not ended",
            MetricType::Gauge,
        )?;
        for ((pool, id), metrics) in &backends {
            gauge(
                &mut in_flight,
                &[("pool", pool), ("backend", id)],
                metrics.in_flight(),
            )?;
        }
        let mut errors = describe(
            encoder,
            "backend_errors",
            "Tries that a backend failed, by kind",
            COUNTER,
        )?;
        for ((pool, id), metrics) in &backends {
            for error in BackendError::ALL {
                let labels = [("pool", &**pool), ("backend", id), ("error", error.name())];
                count(&mut errors, &labels, metrics.errors(error))?;
            }
        }
        let mut connections = describe(
            encoder,
            "backend_connections",
            "Connections opened to a backend",
            COUNTER,
        )?;
        for ((pool, id), metrics) in &backends {
            count(
                &mut connections,
                &[("pool", pool), ("backend", id)],
                metrics.connections(),
            )?;
        }
        Ok(())
    }

    fn encode_listener(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let listener = self.0.listener();
        let mut accepted = describe(
            encoder,
            "client_connections",
            "Connections accepted",
            COUNTER,
        )?;
        count(&mut accepted, &[], listener.connections())?;
        let mut open = describe(
            encoder,
            "client_connections_open",
            "Connections open now",
            MetricType::Gauge,
        )?;
        gauge(&mut open, &[], listener.open())?;
        let mut dropped = describe(
            encoder,
            "access_log_lines_dropped",
            "Lines its writer was too slow for or could not write, for want of room say",
            COUNTER,
        )?;
        count(&mut dropped, &[], listener.access_lines_dropped())?;
        let mut refusals = describe(
            encoder,
            "refusals",
            "Requests the proxy answered itself, by reason",
            COUNTER,
        )?;
        for (reason, n) in listener.all_refusals() {
            count(&mut refusals, &[("reason", reason)], n)?;
        }
        Ok(())
    }
}

const COUNTER: MetricType = MetricType::Counter;

type Labels<'a> = [(&'a str, &'a str)];

fn describe<'a>(
    encoder: &'a mut DescriptorEncoder,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

fn count(metric: &mut MetricEncoder, labels: &Labels, value: u64) -> Result<(), Error> {
    if labels.is_empty() {
        return metric.encode_counter::<NoLabelSet, _, u64>(&value, None);
    }
    metric
        .encode_family(&labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge(metric: &mut MetricEncoder, labels: &Labels, value: u64) -> Result<(), Error> {
    if labels.is_empty() {
        return metric.encode_gauge(&value);
    }
    metric.encode_family(&labels)?.encode_gauge(&value)
}

fn histogram(metric: &mut MetricEncoder, labels: &Labels, totals: &Totals) -> Result<(), Error> {
    metric
        .encode_family(&labels)?
        .encode_histogram::<NoLabelSet>(totals.sum, totals.count, &totals.buckets, None)
}
