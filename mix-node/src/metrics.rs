//! What an operator sees: sums over all packets. Own loops are not told from the others' packets,
//! and no label names a node, a link or an address.

use whist_rt::RtError;
use whist_rt::prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::stats::{Drop, Stats};

/// The mix's own metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    received: IntCounter,
    sent: IntCounter,
    dropped: IntCounterVec,
    held: IntGauge,
    links_in: IntGauge,
    links_out: IntGauge,
    layer: IntGauge,
    consensus: IntGauge,
    split: IntGauge,
    keys: IntGauge,
    line_rate: IntGauge,
    loop_loss: Gauge,
    loop_alarm: IntGauge,
    loop_segment_alarms: IntGauge,
    loop_alarms: IntCounter,
    loop_reports: IntCounter,
    loops_unmade: IntCounter,
}

impl Metrics {
    /// Fresh metrics in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, RtError> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("whist_mix_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, RtError>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("whist_mix_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, RtError>(gauge)
        };
        let opts = Opts::new(
            "whist_mix_dropped_total",
            "Packets that ended here, by reason",
        );
        let dropped = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(dropped.clone()))?;
        for reason in Drop::all() {
            dropped.with_label_values(&[reason.name()]);
        }
        let loop_loss = Gauge::new(
            "whist_mix_loop_loss_ratio",
            "Share of the last loops that did not come back; -1 before the first fate is known",
        )?;
        loop_loss.set(-1.0);
        registry.register(Box::new(loop_loss.clone()))?;
        Ok(Self {
            received: counter("received_total", "Packets that came in")?,
            sent: counter("sent_total", "Packets put on a link")?,
            dropped,
            held: gauge("held", "Packets in the pool")?,
            links_in: gauge("links_in", "Links from the previous layer")?,
            links_out: gauge("links_out", "Links to the next layer")?,
            layer: gauge(
                "layer",
                "Layer counted from 1; 0 if the consensus lists none",
            )?,
            consensus: gauge(
                "consensus_epoch",
                "Epoch of the newest consensus; 0 for none",
            )?,
            split: gauge(
                "equivocation",
                "1 if the authorities signed two consensuses of one epoch",
            )?,
            keys: gauge("keys_in_service", "Sphinx keys in service")?,
            line_rate: gauge("line_rate", "Packets a second that it takes")?,
            loop_loss,
            loop_alarm: gauge("loop_alarm", "1 while loops are missing in a row")?,
            loop_segment_alarms: gauge(
                "loop_segment_alarms",
                "Steps of loops' routes on which loops are missing in a row",
            )?,
            loop_alarms: counter("loop_alarms_total", "How often loops were missing in a row")?,
            loop_reports: counter(
                "loop_reports_total",
                "Descriptors that told the authorities of loops missing in a row",
            )?,
            loops_unmade: counter(
                "loops_unmade_total",
                "Loops that were due and had no route by the consensus",
            )?,
        })
    }

    /// Brings the metrics to a snapshot.
    pub(crate) fn update(&self, stats: &Stats) {
        let raise = |counter: &IntCounter, to: u64| {
            counter.inc_by(to.saturating_sub(counter.get()));
        };
        let set = |gauge: &IntGauge, to: u64| gauge.set(i64::try_from(to).unwrap_or(i64::MAX));
        raise(&self.received, stats.received);
        raise(&self.sent, stats.sent);
        for (reason, count) in &stats.dropped {
            raise(&self.dropped.with_label_values(&[*reason]), *count);
        }
        set(&self.line_rate, u64::from(stats.line_rate));
        set(&self.held, stats.held);
        set(&self.links_in, stats.links_in);
        set(&self.links_out, stats.links_out);
        set(
            &self.layer,
            stats.layer.map_or(0, |layer| u64::from(layer.index()) + 1),
        );
        set(
            &self.consensus,
            stats.consensus.map_or(0, |epoch| epoch.number()),
        );
        set(
            &self.keys,
            u64::try_from(stats.keys.len()).unwrap_or(u64::MAX),
        );
        self.loop_loss.set(stats.loop_loss.unwrap_or(-1.0));
        set(&self.split, u64::from(stats.split));
        set(&self.loop_alarm, u64::from(stats.loop_alarm));
        set(&self.loop_segment_alarms, stats.loop_segment_alarms);
        raise(&self.loop_alarms, stats.loop_alarms);
        raise(&self.loop_reports, stats.loop_reports);
        raise(&self.loops_unmade, stats.loops_unmade);
    }
}

#[cfg(test)]
mod tests {
    use whist_rt::prometheus::{Encoder, TextEncoder};

    use super::*;

    #[test]
    fn metrics_follow_the_counters_and_do_not_tell_loops_from_packets() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let mut stats = Stats {
            received: 10,
            sent: 7,
            loops_sent: 123_456,
            loops_returned: 123_456,
            mixed: 123_456,
            ..Stats::default()
        };
        stats.dropped.insert(Drop::RateLimited.name(), 3);
        metrics.update(&stats);
        stats.received = 12;
        metrics.update(&stats);
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&registry.gather(), &mut text)
            .unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\nwhist_mix_received_total 12\n"), "{text}");
        assert!(
            text.contains("whist_mix_dropped_total{reason=\"rate_limited\"} 3\n"),
            "{text}"
        );
        assert!(
            text.contains("whist_mix_dropped_total{reason=\"replayed\"} 0\n"),
            "{text}"
        );
        assert!(!text.contains("123456"), "{text}");
    }
}
