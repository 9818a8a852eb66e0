//! Counters of an authority, by the events that it puts out.

use std::collections::BTreeMap;

use whist_rt::RtError;
use whist_rt::prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::{Event, Ignored};

/// What the metrics port shows beside the links' counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    epoch: IntGauge,
    nodes: IntGauge,
    described: IntCounter,
    loop_alarms: IntCounter,
    signed: IntCounter,
    missing: IntCounter,
    equivocations: IntCounter,
    ignored: BTreeMap<Ignored, IntCounter>,
}

impl Metrics {
    /// Fresh counters in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, RtError> {
        let name = |name: &str| format!("whist_directory_{name}");
        let gauge = |id: &str, help: &str| -> Result<IntGauge, RtError> {
            let gauge = IntGauge::new(name(id), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |id: &str, help: &str| -> Result<IntCounter, RtError> {
            let counter = IntCounter::new(name(id), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let opts = Opts::new(name("ignored_total"), "What had no effect, by reason");
        let by_reason = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(by_reason.clone()))?;
        Ok(Self {
            epoch: gauge("consensus_epoch", "Epoch of the newest consensus")?,
            nodes: gauge("consensus_nodes", "Nodes in the newest consensus")?,
            described: counter("descriptors_total", "Descriptors taken")?,
            loop_alarms: counter(
                "loop_alarms_total",
                "Descriptors of mixes that tell of loops missing in a row",
            )?,
            signed: counter("signed_total", "Documents signed")?,
            missing: counter(
                "no_consensus_total",
                "Epochs that started without consensus",
            )?,
            equivocations: counter("equivocations_total", "Authorities caught signing twice")?,
            ignored: Ignored::ALL
                .map(|why| (why, by_reason.with_label_values(&[why.name()])))
                .into(),
        })
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::Described { .. } => self.described.inc(),
            Event::LoopAlarm { .. } => self.loop_alarms.inc(),
            Event::Ignored(why) => {
                if let Some(counter) = self.ignored.get(why) {
                    counter.inc();
                }
            }
            Event::Signed { .. } => self.signed.inc(),
            Event::Consensus { epoch, nodes, .. } => {
                self.epoch.set(i64::try_from(epoch.number()).unwrap_or(0));
                self.nodes.set(i64::try_from(*nodes).unwrap_or(0));
            }
            Event::NoConsensus { .. } => self.missing.inc(),
            Event::Equivocation { .. } | Event::Split { .. } => self.equivocations.inc(),
            Event::TooFewNodes { .. } | Event::ClockOff { .. } => {}
        }
    }
}
