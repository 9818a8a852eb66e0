//! What an operator sees: sums over all packets and clients. No label names a node, a link, a
//! client, a mailbox or an address.

use whist_rt::RtError;
use whist_rt::prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::stats::{Drop, Stats};

/// The provider's own metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    received: IntCounter,
    forwarded: IntCounter,
    answered: IntCounter,
    delivered: IntCounter,
    dropped: IntCounterVec,
    held: IntGauge,
    sessions: IntGaugeVec,
    stored: IntGauge,
    store_faults: IntCounter,
    store_damaged: IntCounter,
    documents: IntCounter,
    links_in: IntGauge,
    links_out: IntGauge,
    listed: IntGauge,
    consensus: IntGauge,
    split: IntGauge,
    keys: IntGauge,
    line_rate: IntGauge,
}

impl Metrics {
    /// Fresh metrics in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, RtError> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("whist_provider_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, RtError>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("whist_provider_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, RtError>(gauge)
        };
        let opts = Opts::new(
            "whist_provider_dropped_total",
            "Packets that ended here, by reason",
        );
        let dropped = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(dropped.clone()))?;
        for reason in Drop::all() {
            dropped.with_label_values(&[reason.name()]);
        }
        let opts = Opts::new("whist_provider_sessions", "Clients connected, by profile");
        let sessions = IntGaugeVec::new(opts, &["profile"])?;
        registry.register(Box::new(sessions.clone()))?;
        Ok(Self {
            received: counter("received_total", "Packets that came in")?,
            forwarded: counter("forwarded_total", "Packets sent on for clients")?,
            answered: counter("answered_total", "Requests answered")?,
            delivered: counter("delivered_total", "Replies given to clients")?,
            dropped,
            held: gauge("held", "Packets, answers and replies that wait")?,
            sessions,
            stored: gauge("stored", "Items, drops and mailboxes in the store")?,
            store_faults: counter("store_faults_total", "Times that the store failed")?,
            store_damaged: counter("store_damaged_total", "Rows of the store that did not open")?,
            documents: counter(
                "doc_requests_total",
                "Requests for the header of a consensus that a client does not hold",
            )?,
            links_in: gauge("links_in", "Links from the last layer")?,
            links_out: gauge("links_out", "Links to the first layer")?,
            listed: gauge("listed", "1 if the consensus in use lists this provider")?,
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
        })
    }

    /// Brings the metrics to a snapshot.
    pub(crate) fn update(&self, stats: &Stats) {
        let raise = |counter: &IntCounter, to: u64| {
            counter.inc_by(to.saturating_sub(counter.get()));
        };
        let set = |gauge: &IntGauge, to: u64| gauge.set(i64::try_from(to).unwrap_or(i64::MAX));
        raise(&self.received, stats.received);
        raise(&self.forwarded, stats.forwarded);
        raise(&self.answered, stats.answered);
        raise(&self.delivered, stats.delivered);
        raise(&self.store_faults, stats.store_faults);
        raise(&self.store_damaged, stats.store_damaged);
        raise(&self.documents, stats.documents);
        for (reason, count) in &stats.dropped {
            raise(&self.dropped.with_label_values(&[*reason]), *count);
        }
        for (profile, count) in whist_netdoc::PROFILES.iter().zip(stats.sessions) {
            set(&self.sessions.with_label_values(&[*profile]), count);
        }
        set(&self.line_rate, u64::from(stats.line_rate));
        set(&self.held, stats.held());
        set(&self.stored, stats.stored);
        set(&self.links_in, stats.links_in);
        set(&self.links_out, stats.links_out);
        set(&self.split, u64::from(stats.split));
        set(&self.listed, u64::from(stats.listed));
        set(&self.consensus, stats.consensus.map_or(0, |e| e.number()));
        let keys = u64::try_from(stats.keys.len()).unwrap_or(u64::MAX);
        set(&self.keys, keys);
    }
}

#[cfg(test)]
mod tests {
    use whist_rt::prometheus::{Encoder, TextEncoder};

    use super::*;

    #[test]
    fn metrics_follow_the_counters_and_name_nobody() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let mut stats = Stats {
            received: 10,
            sessions: [0, 3, 0],
            ..Stats::default()
        };
        stats.dropped.insert(Drop::Unearned.name(), 3);
        metrics.update(&stats);
        stats.received = 12;
        metrics.update(&stats);
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&registry.gather(), &mut text)
            .unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "whist_provider_received_total 12",
            "whist_provider_dropped_total{reason=\"unearned\"} 3",
            "whist_provider_dropped_total{reason=\"replayed\"} 0",
            "whist_provider_sessions{profile=\"standard\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in {text}");
        }
    }
}
