//! Row 9: packets that do not go from each layer to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use whist_link::Frame;
use whist_packet::Packet;
use whist_types::NodeId;

use super::raw::Raw;
use super::rig::Rig;

const WRONG_LAYER: &str = "dropped_total{reason=\"wrong_layer\"}";
const WRONG_NEXT: &str = "dropped_total{reason=\"unknown_next_hop\"}";
const WRONG_DIRECTION: &str = "dropped_total{reason=\"wrong_direction\"}";
const NOT_FROM_MIX: &str = "dropped_total{reason=\"not_from_mix\"}";
const NOT_FROM_CLIENT: &str = "dropped_total{reason=\"not_from_client\"}";

fn frame(packet: Packet) -> Frame {
    Frame::Packet(packet.into_bytes())
}

/// How many packets must be counted under each reason, and links that stay up until they are.
#[derive(Default)]
struct Refused {
    counts: BTreeMap<&'static str, f64>,
    links: Vec<Raw>,
}

impl Refused {
    /// Sends a packet that must be counted under `reason`.
    async fn send(&mut self, link: &mut Raw, packet: Packet, reason: &'static str) {
        assert!(link.send(frame(packet)).await);
        *self.counts.entry(reason).or_default() += 1.0;
    }

    async fn are_counted(&self, rig: &Rig, at: NodeId) {
        for (reason, count) in &self.counts {
            rig.reaches(&at, reason, *count).await;
            assert_eq!(rig.metric(&at, reason).await, *count, "{reason}");
        }
    }
}

impl Rig {
    async fn passes(&mut self, link: &mut Raw, first: NodeId, next: NodeId) {
        let (mark, packet) = self.packet(first, next, Duration::ZERO);
        assert!(link.send(frame(packet)).await);
        self.arrives(mark).await;
    }

    async fn mix_refuses(&mut self) {
        let mut refused = Refused::default();
        let mix = self.mix;
        let (before, after) = self.around(&mix);
        let place = self.place(&mix);
        let others = (0..4).filter(|layer| *layer != (place + 3) % 4 && *layer != place);
        let others: Vec<_> = others.flat_map(|layer| self.puppets(layer)).collect();
        for from in others.iter().copied().chain(self.puppets(place)) {
            let mut link = self.link_of(&from, mix).await;
            let (_, packet) = self.packet(mix, after[0], Duration::ZERO);
            refused.send(&mut link, packet, WRONG_LAYER).await;
            refused.links.push(link);
        }
        // From the right one to a wrong one: over a layer, back, and within the layer.
        let mut link = self.link_of(&before[0], mix).await;
        let wrong = (0..4).filter(|layer| *layer != (place + 1) % 4);
        for layer in wrong.collect::<Vec<_>>() {
            let next = self.puppets(layer)[0];
            let (_, packet) = self.packet(mix, next, Duration::ZERO);
            refused.send(&mut link, packet, WRONG_NEXT).await;
        }
        self.passes(&mut link, mix, after[0]).await;
        refused.are_counted(self, mix).await;
        // A client has no key to prove: it gets no link.
        if let Some(mut client) = self.dial(mix, None).await {
            client.is_closed().await;
        }
    }

    async fn provider_refuses(&mut self) {
        let mut refused = Refused::default();
        let provider = self.provider;
        let first = self.puppets(0)[0];
        let mut client = self.session(9).await;
        for layer in 1..4 {
            let next = self.puppets(layer)[0];
            let (_, packet) = self.packet(provider, next, Duration::ZERO);
            refused.send(&mut client, packet, WRONG_NEXT).await;
        }
        let packet = self.ending(provider);
        refused.send(&mut client, packet, NOT_FROM_MIX).await;
        self.passes(&mut client, provider, first).await;

        for layer in [0, 1, 3] {
            let from = self.puppets(layer)[0];
            let mut link = self.link_of(&from, provider).await;
            let packet = self.ending(provider);
            refused.send(&mut link, packet, WRONG_LAYER).await;
            refused.links.push(link);
        }
        let from = self.puppets(2)[0];
        let mut link = self.link_of(&from, provider).await;
        let (_, packet) = self.packet(provider, first, Duration::ZERO);
        refused.send(&mut link, packet, NOT_FROM_CLIENT).await;

        // Before its `HELLO` nobody has a session.
        let mut silent = self.dial(provider, None).await.unwrap();
        let (_, packet) = self.packet(provider, first, Duration::ZERO);
        refused.send(&mut silent, packet, WRONG_DIRECTION).await;
        silent.is_closed().await;
        refused.are_counted(self, provider).await;
    }
}

#[test]
fn a_packet_across_layers_is_refused_and_counted_under_its_reason() {
    let test = async {
        let mut rig = Rig::start(9, 6_000).await;
        rig.mix_refuses().await;
        rig.provider_refuses().await;
        // Each sent one on the right way, and nothing else came out.
        let arrivals = rig.stage.seen().arrivals.clone();
        assert_eq!(arrivals.into_values().collect::<Vec<_>>(), [1, 1]);
    };
    whist_rt::block_on(test).unwrap();
}
