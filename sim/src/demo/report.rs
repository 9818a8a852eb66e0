//! What the demo prints at its end: a table for people, one object for scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// One text on its way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who wrote it.
    pub from: &'static str,
    /// What was written.
    pub text: String,
    /// From the command to the provider's `stored`.
    pub stored: Option<Duration>,
    /// From the command to the reader's screen.
    pub read: Option<Duration>,
}

/// How many packets a client sent, by what they were. Only the experiment may know.
#[derive(Clone, Debug, Default)]
pub struct ClientCounts {
    /// The client's name.
    pub name: &'static str,
    /// Packets by kind.
    pub sent: BTreeMap<String, u64>,
    /// Answers that came back.
    pub returned: u64,
}

/// The pool of one layer against its law.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerCounts {
    /// Packets that its mixes forwarded.
    pub mixed: u64,
    /// Mean number of packets held by one mix, over the samples taken.
    pub held_mean: f64,
    /// λ/μ for one mix: packets a second into it times the mean delay.
    pub held_law: f64,
}

/// Everything that the demo measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The texts in the order in which they were written.
    pub messages: Vec<Message>,
    /// Whether each text arrived once, in order, unaltered.
    pub exact: bool,
    /// The clients.
    pub clients: Vec<ClientCounts>,
    /// The mixes' own loops.
    pub loops: Loops,
    /// By layer.
    pub layers: Vec<LayerCounts>,
    /// By reason, over all nodes.
    pub dropped: BTreeMap<String, u64>,
    /// Record lengths seen by the proxies.
    pub frame_sizes: BTreeSet<usize>,
    /// Resident memory at the end, in MiB; the whole network is in it.
    pub memory_mib: u64,
    /// From which everything random in the experiment's own choices was drawn.
    pub seed: u64,
}

/// Loops sent and returned, of mixes and clients together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Loops {
    /// Packets whose answer was expected.
    pub sent: u64,
    /// Answers.
    pub returned: u64,
}

#[derive(Serialize)]
struct Json<'a> {
    messages_sent: usize,
    messages_delivered: usize,
    latency_ms: Latency,
    packets: Packets<'a>,
    loops: Loops,
    frame_sizes_seen: &'a BTreeSet<usize>,
    seed: u64,
}

#[derive(Serialize)]
struct Latency {
    p50: u64,
    p99: u64,
}

#[derive(Serialize)]
struct Packets<'a> {
    mixed: u64,
    dropped: &'a BTreeMap<String, u64>,
}

impl Report {
    /// Texts that were read.
    pub fn delivered(&self) -> usize {
        self.messages
            .iter()
            .filter(|message| message.read.is_some())
            .count()
    }

    fn mixed(&self) -> u64 {
        self.layers.iter().map(|layer| layer.mixed).sum()
    }

    /// The `p`-quantile (0 to 100) of the time to read, in milliseconds.
    fn read_ms(&self, percent: usize) -> u64 {
        let mut times: Vec<_> = self.messages.iter().filter_map(|m| m.read).collect();
        times.sort_unstable();
        let at = times
            .len()
            .saturating_sub(1)
            .saturating_mul(percent)
            .div_ceil(100);
        times.get(at).map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// The object of `--json`, on one line.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Json {
            messages_sent: self.messages.len(),
            messages_delivered: self.delivered(),
            latency_ms: Latency {
                p50: self.read_ms(50),
                p99: self.read_ms(99),
            },
            packets: Packets {
                mixed: self.mixed(),
                dropped: &self.dropped,
            },
            loops: self.loops,
            frame_sizes_seen: &self.frame_sizes,
            seed: self.seed,
        })
    }

    /// The table for people.
    pub fn to_table(&self) -> String {
        let mut out = String::new();
        let _ = self.write_table(&mut out);
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        self.write_messages(out)?;
        self.write_clients(out)?;
        self.write_layers(out)?;
        let dropped = self.dropped.iter().filter(|(_, count)| **count > 0);
        let dropped: Vec<_> = dropped
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let dropped = match dropped.is_empty() {
            true => "none".to_owned(),
            false => dropped.join(", "),
        };
        let (sizes, memory) = (&self.frame_sizes, self.memory_mib);
        writeln!(out, "\ndropped    {dropped}")?;
        writeln!(
            out,
            "wire       record lengths of frames on all links: {sizes:?}"
        )?;
        writeln!(
            out,
            "memory     {memory} MiB resident, the whole network in it"
        )
    }

    fn write_messages(&self, out: &mut String) -> std::fmt::Result {
        let (delivered, sent) = (self.delivered(), self.messages.len());
        let how = match self.exact {
            true => "each once, in order, unaltered",
            false => "NOT each once, in order, unaltered",
        };
        writeln!(out, "messages   {delivered} of {sent} delivered, {how}\n")?;
        writeln!(
            out,
            "  {:<6}  {:<28}  {:>8}  {:>8}",
            "from", "text", "stored", "read"
        )?;
        let show = |time: Option<Duration>| match time {
            Some(time) => format!("{:.2} s", time.as_secs_f64()),
            None => "never".to_owned(),
        };
        for Message {
            from,
            text,
            stored,
            read,
        } in &self.messages
        {
            let (stored, read) = (show(*stored), show(*read));
            writeln!(out, "  {from:<6}  {text:<28}  {stored:>8}  {read:>8}")?;
        }
        Ok(())
    }

    fn write_clients(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\npackets sent by each client (only the experiment can know)"
        )?;
        for ClientCounts {
            name,
            sent,
            returned,
        } in &self.clients
        {
            let kinds: Vec<_> = sent.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
            let (total, kinds) = (sent.values().sum::<u64>(), kinds.join(", "));
            writeln!(
                out,
                "  {name:<6}  {total} sent, {returned} came back: {kinds}"
            )?;
        }
        let Loops { sent, returned } = self.loops;
        writeln!(
            out,
            "\nloops      {returned} of {sent} returned (mixes' own)"
        )
    }

    fn write_layers(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n  layer  packets mixed  pool (mean of one mix)  law λ/μ"
        )?;
        for (index, layer) in self.layers.iter().enumerate() {
            let LayerCounts {
                mixed,
                held_mean,
                held_law,
            } = layer;
            writeln!(
                out,
                "  {index:<5}  {mixed:>13}  {held_mean:>22.2}  {held_law:>7.2}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_the_fields_that_scripts_read() {
        let message = |ms| Message {
            from: "alice",
            text: "hello".into(),
            stored: None,
            read: Some(Duration::from_millis(ms)),
        };
        let report = Report {
            messages: vec![message(10), message(30), message(20)],
            frame_sizes: [2436].into(),
            seed: 7,
            ..Report::default()
        };
        let expected = concat!(
            r#"{"messages_sent":3,"messages_delivered":3,"latency_ms":{"p50":20,"p99":30},"#,
            r#""packets":{"mixed":0,"dropped":{}},"loops":{"sent":0,"returned":0},"#,
            r#""frame_sizes_seen":[2436],"seed":7}"#,
        );
        assert_eq!(report.to_json().unwrap(), expected);
    }
}
