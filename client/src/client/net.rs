//! The network as this client sees it, for the person: nothing here changes what is sent.

use whist_netdoc::{Consensus, NodeEntry};
use whist_timing::Tally;
use whist_types::{NodeId, Now};

use crate::account::family_of;
use crate::call::{Answer, Check, Expected, NodeInfo, Segment};
use crate::client::Client;
use crate::client::ask::USAGE;
use crate::client::warn::{few_sessions, thin_mixes};
use crate::latency::Latency;
use crate::limits::{DOC_FRAMES_MULTIPLE, JUDGED_PACKETS_MIN, LOSS_DEVIATIONS};
use crate::rpc::RpcError;

impl Client {
    /// The latencies to expect, where the simulator's table has a row for these parameters.
    pub(super) fn latency(&self) -> Option<Expected> {
        let parameters = self.parameters();
        let ms = |time: std::time::Duration| u32::try_from(time.as_millis()).ok();
        let interval = ms(parameters.profile_mean(self.account.profile))?;
        let row = Latency::expected(interval, ms(parameters.delay_mean())?)?;
        let ms = |ds: [u32; 3]| ds.map(|ds| ds.saturating_mul(100));
        Some(Expected {
            stored_ms: ms(row.stored_ds),
            read_ms: ms(row.read_ds),
        })
    }

    /// Frames of documents that come in a month, one document an epoch.
    pub(super) fn document_frames_per_month(&self, epochs: f64) -> f64 {
        let Some(newest) = self.follower.newest() else {
            return 0.0;
        };
        let bytes = newest.bundle().to_bytes().len();
        let frames = bytes.div_ceil(whist_link::PART_BYTES);
        let padded = frames.next_multiple_of(DOC_FRAMES_MULTIPLE);
        epochs * f64::from(u32::try_from(padded).unwrap_or(u32::MAX))
    }

    fn tally(&self, node: &NodeId) -> Tally {
        let mut of = self.losses.segments();
        of.find(|(id, _)| *id == node)
            .map_or_else(Tally::default, |(_, tally)| tally)
    }

    /// Loss by segment: the entry provider, each layer, the other providers.
    pub(super) fn segments(&self) -> Vec<Segment> {
        let Some(consensus) = self.follower.newest() else {
            return Vec::new();
        };
        let entry = self.account.entry;
        let is_entry = |node: &&NodeEntry| Some(node.id) == entry;
        let mut all = vec![self.segment(
            "entry".to_owned(),
            consensus.nodes().iter().filter(is_entry),
        )];
        for layer in 0..consensus.parameters().layers {
            let of = |node: &&NodeEntry| node.role.layer() == Some(whist_types::Layer::new(layer));
            let name = format!("layer {}", u16::from(layer).saturating_add(1));
            all.push(self.segment(name, consensus.nodes().iter().filter(of)));
        }
        let others = consensus.nodes().iter();
        let others = others.filter(|node| node.role.layer().is_none() && Some(node.id) != entry);
        all.push(self.segment("providers".to_owned(), others));
        all
    }

    fn segment<'a>(&self, segment: String, nodes: impl Iterator<Item = &'a NodeEntry>) -> Segment {
        let tallies = nodes.map(|node| (node.id, self.tally(&node.id)));
        let judged = tallies.filter(|(_, tally)| tally.sent >= JUDGED_PACKETS_MIN);
        let mut losses: Vec<(f64, NodeId)> = judged
            .filter_map(|(id, tally)| Some((tally.loss()?, id)))
            .collect();
        losses.sort_by(|a, b| a.0.total_cmp(&b.0));
        Segment {
            segment,
            judged: losses.len(),
            least: losses.first().map(|(loss, _)| *loss),
            most: losses.last().map(|(loss, _)| *loss),
            worst: losses.last().map(|(_, id)| id.to_string()),
        }
    }

    /// Where a loss that chance does not explain points: at the node through which more is lost
    /// than chance lets one lose where all lose alike, or at `entry`, which all routes share, if
    /// there is none. Nothing is changed by it: nodes leave by consensus only.
    pub(super) fn loss_points_at(&self) -> Option<String> {
        let overall = self.losses.overall();
        let share = overall.loss().filter(|_| overall.alarm)?;
        let entry = self.account.entry;
        let others = self.losses.segments().filter(|(id, _)| Some(**id) != entry);
        let worst = others
            .map(|(id, tally)| (deviations(&tally, share), *id))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let stands_out = worst.filter(|(deviations, _)| *deviations > LOSS_DEVIATIONS);
        Some(stands_out.map_or_else(|| "entry".to_owned(), |(_, id)| id.to_string()))
    }

    pub(super) fn net_nodes(&self, now: Now) -> Answer {
        let consensus = self.usable(now).or_else(|| self.follower.newest().cloned());
        let mailbox = self.mailbox.as_ref().map(|mailbox| mailbox.provider());
        let mut nodes: Vec<NodeInfo> = consensus
            .iter()
            .flat_map(|consensus| consensus.nodes())
            .map(|node| {
                let tally = self.tally(&node.id);
                let layer = node.role.layer();
                NodeInfo {
                    node: node.id.to_string(),
                    role: if layer.is_some() { "mix" } else { "provider" },
                    layer: layer.map(|layer| u16::from(layer.index()).saturating_add(1)),
                    family: node.family.to_string(),
                    address: node.address.clone(),
                    weight: node.weight,
                    load: node.load,
                    entry: self.account.entry == Some(node.id),
                    mailbox: mailbox == Some(node.id),
                    packets: tally.sent,
                    loss: tally.loss(),
                }
            })
            .collect();
        nodes.sort_by(|a, b| (a.layer, &a.node).cmp(&(b.layer, &b.node)));
        Answer::Nodes { nodes }
    }

    /// Whether all is as it should be. The person may say that the own clock is wrong.
    pub(super) fn ask_net_check(
        &mut self,
        now: Now,
        clock_is_wrong: bool,
    ) -> Result<Option<Answer>, RpcError> {
        if !clock_is_wrong {
            let checks = self.net_checks(now);
            return Ok(Some(Answer::Checks { checks }));
        }
        let least = self.follower.newest().map(|newest| {
            // Taken from one epoch before its own at the earliest.
            newest.valid_from().before(newest.schedule().length())
        });
        if !self.clock.confirm(now.instant, least) {
            let why = "no provider names another time than this machine's clock";
            return Err(RpcError::new(USAGE, why));
        }
        let checks = self.net_checks(self.clock.corrected(now));
        Ok(Some(Answer::Checks { checks }))
    }

    fn net_checks(&self, now: Now) -> Vec<Check> {
        let consensus = self.usable(now);
        let consensus = consensus.as_deref();
        let mut checks = vec![self.check_link(), self.check_consensus(consensus)];
        checks.extend([
            self.check_clock(),
            self.check_authorities(),
            self.check_loss(),
        ]);
        if let Some(consensus) = consensus {
            checks.push(check_crowd(consensus));
            checks.push(self.check_families(consensus));
        }
        checks
    }

    fn check_link(&self) -> Check {
        match self.emission.is_running() {
            true => fine("link", "on line through the entry provider"),
            false => wrong(
                "link",
                "off line: nothing is sent",
                "Look whether this machine has a network at all. If the consensus is too old or \
                 the clock is wrong, that comes first.",
            ),
        }
    }

    fn check_consensus(&self, consensus: Option<&Consensus>) -> Check {
        match consensus {
            Some(consensus) => fine(
                "consensus",
                &format!("epoch {} is in force", consensus.epoch()),
            ),
            None if self.follower.newest().is_some() => wrong(
                "consensus",
                "the last one is not valid now: nothing is sent",
                "Wait for a newer one; if it stays so for a day, ask the people who run the \
                 network. A wrong clock does the same.",
            ),
            None => wrong(
                "consensus",
                "none has come yet: nothing is sent",
                "Wait some minutes. If none comes, the clock may be wrong, or the providers of \
                 network.toml cannot be reached.",
            ),
        }
    }

    fn check_clock(&self) -> Check {
        let Some(ahead_s) = self.clock.ahead_s() else {
            return fine("clock", "no provider names another time than this machine");
        };
        let off = skew(ahead_s);
        if self.clock.is_corrected() {
            let what = format!("{off}, and taken as wrong until the daemon ends, as you said");
            return fine("clock", &what);
        }
        wrong(
            "clock",
            &off,
            "Look at another clock. If this machine's is wrong, set it right, or if you cannot: \
             whist net check --clock-is-wrong. If it is right, the provider lies: do nothing, and \
             tell the people who run the network.",
        )
    }

    fn check_authorities(&self) -> Check {
        match self.follower.evidence() {
            None => fine(
                "authorities",
                "no two documents of theirs for one epoch are known",
            ),
            Some(evidence) => wrong(
                "authorities",
                &format!("they signed two documents for epoch {}", evidence.epoch),
                "The proof is kept. Nothing more is believed of them; tell the people who run the \
                 network, and other people.",
            ),
        }
    }

    fn check_loss(&self) -> Check {
        let overall = self.losses.overall();
        let Some(loss) = overall.loss() else {
            return fine("loss", "no packet's fate is known yet");
        };
        let what = format!("{:.1} % of packets did not come back", loss * 100.0);
        if !overall.alarm {
            return fine("loss", &what);
        }
        let at = self.loss_points_at();
        let points = match at.as_deref() {
            None => String::new(),
            Some("entry") => "; all routes lose, which points at the entry provider".to_owned(),
            Some(node) => format!("; most of it through {node}"),
        };
        wrong(
            "loss",
            &format!("{what}, more than chance explains{points}"),
            "Somebody may be dropping your packets to watch what follows, or the line is bad. \
             Change nothing in a hurry: a change is what they may want.",
        )
    }

    fn check_families(&self, consensus: &Consensus) -> Check {
        let family = |id: Option<NodeId>| id.and_then(|id| family_of(consensus, &id));
        let mailbox = self.mailbox.as_ref().map(|mailbox| mailbox.provider());
        let (entry, home) = (family(self.account.entry), family(mailbox));
        match (entry, home) {
            (Some(entry), Some(home)) if entry == home => wrong(
                "families",
                "the operators of your entry provider host your mailbox too",
                "Together they can link you with your mailbox. There is no other choice in a \
                 network this small.",
            ),
            (Some(_), Some(_)) => fine("families", "entry and mailbox have different operators"),
            (None, _) => fine(
                "families",
                "no entry provider is listed now; another one is drawn",
            ),
            (_, None) if mailbox.is_none() => fine("families", "there is no mailbox yet"),
            (_, None) => wrong(
                "families",
                "the mailbox's provider has left the network",
                "Nothing comes any more: a new vault, new invitations.",
            ),
        }
    }
}

/// By how many standard deviations more is lost through a node than if all lost this share.
fn deviations(tally: &Tally, share: f64) -> f64 {
    let count = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let lost = count(tally.sent.saturating_sub(tally.returned));
    let spread = (count(tally.sent) * share * (1.0 - share)).sqrt();
    if tally.sent < JUDGED_PACKETS_MIN || spread == 0.0 {
        return 0.0;
    }
    share.mul_add(-count(tally.sent), lost) / spread
}

fn check_crowd(consensus: &Consensus) -> Check {
    let thin = "fewer than 5 packets are expected in a mix";
    let few = "fewer than 100 sessions are on line";
    let what = match (thin_mixes(consensus), few_sessions(consensus)) {
        (false, false) => return fine("crowd", "large enough"),
        (true, false) => thin.to_owned(),
        (false, true) => few.to_owned(),
        (true, true) => format!("{thin}, and {few}"),
    };
    wrong(
        "crowd",
        &what,
        "Whoever watches the whole network can guess more than usual. Wait for a busier hour with \
         what matters.",
    )
}

/// By how much the own clock is off.
pub(super) fn skew(ahead_s: i64) -> String {
    let way = if ahead_s > 0 { "ahead of" } else { "behind" };
    let by = ahead_s.unsigned_abs();
    format!("the clock is {by} s {way} the entry provider's")
}

fn fine(check: &'static str, what: &str) -> Check {
    Check {
        check,
        ok: true,
        what: what.to_owned(),
        advice: None,
    }
}

fn wrong(check: &'static str, what: &str, advice: &'static str) -> Check {
    Check {
        check,
        ok: false,
        what: what.to_owned(),
        advice: Some(advice),
    }
}
