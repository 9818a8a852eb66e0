//! Route draws: by weights capped at twice the mean, layer by layer, never two mixes of a family.
//!
//! What is drawn depends on the consensus and the generator alone: never on anything measured by
//! who draws (protocol.md §1).

use std::ops::Range;

use rand_core::CryptoRng;
use whist_types::{Family, Layer, NodeId};

use crate::{Consensus, Kind, NodeEntry};

/// Whole draws that are thrown away because a layer held only families that were already taken.
/// With five families a layer one in 10⁶ routes needs more than twenty.
const DRAWS_MAX: usize = 100;

/// The consensus does not hold the nodes that a route needs. Nothing may be sent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no route: {0}")]
pub struct NoRoute(&'static str);

/// Ids of a route through all layers: entry, mixes, exit. The ends may be one provider, where a
/// contact's mailbox is hosted by the own entry provider; who can choose, avoids it.
pub fn forward(
    consensus: &Consensus,
    entry: &NodeId,
    exit: &NodeId,
    rng: &mut impl CryptoRng,
) -> Result<Vec<NodeId>, NoRoute> {
    known_provider(consensus, entry)?;
    known_provider(consensus, exit)?;
    let mut route = vec![*entry];
    route.extend(mixes(consensus, rng)?);
    route.push(*exit);
    Ok(route)
}

/// Ids of a reply's route: mixes of all layers, then the entry provider of who awaits the reply.
pub fn reply(
    consensus: &Consensus,
    entry: &NodeId,
    rng: &mut impl CryptoRng,
) -> Result<Vec<NodeId>, NoRoute> {
    known_provider(consensus, entry)?;
    let mut route = mixes(consensus, rng)?;
    route.push(*entry);
    Ok(route)
}

/// One mix of each layer.
pub fn mixes(consensus: &Consensus, rng: &mut impl CryptoRng) -> Result<Vec<NodeId>, NoRoute> {
    mixes_in(consensus, 0..consensus.parameters().layers, &[], rng)
}

/// One mix of each of `layers`, none of a family of `avoid`: what a mix's own loops are made of
/// (the layers after its own to a provider, the layers before its own back to itself).
pub fn mixes_in(
    consensus: &Consensus,
    layers: Range<u8>,
    avoid: &[Family],
    rng: &mut impl CryptoRng,
) -> Result<Vec<NodeId>, NoRoute> {
    for _ in 0..DRAWS_MAX {
        if let Some(route) = draw_mixes(consensus, layers.clone(), avoid, rng) {
            return Ok(route);
        }
    }
    Err(NoRoute("too few families of mixes"))
}

fn draw_mixes(
    consensus: &Consensus,
    layers: Range<u8>,
    avoid: &[Family],
    rng: &mut impl CryptoRng,
) -> Option<Vec<NodeId>> {
    let mut families = avoid.to_vec();
    let mut route = Vec::with_capacity(layers.len());
    for layer in layers {
        let mix = draw(
            consensus,
            consensus.mixes(Layer::new(layer)),
            &families,
            rng,
        )?;
        families.push(mix.family);
        route.push(mix.id);
    }
    Some(route)
}

/// A provider, none of a family of `avoid`.
pub fn provider(
    consensus: &Consensus,
    rng: &mut impl CryptoRng,
    avoid: &[Family],
) -> Result<NodeId, NoRoute> {
    draw(consensus, consensus.providers(), avoid, rng)
        .map(|node| node.id)
        .ok_or(NoRoute("too few families of providers"))
}

fn known_provider(consensus: &Consensus, id: &NodeId) -> Result<(), NoRoute> {
    match consensus.node(id) {
        Some(node) if node.role.kind() == Kind::Provider => Ok(()),
        _ => Err(NoRoute("the consensus does not list that provider")),
    }
}

/// Draws one of `nodes` by capped weight. Weights are whole numbers, so that one seed gives one
/// route on every machine: min(w·n, cap·Σw) is n times the capped weight.
fn draw<'a>(
    consensus: &Consensus,
    nodes: &'a [NodeEntry],
    avoid: &[Family],
    rng: &mut impl CryptoRng,
) -> Option<&'a NodeEntry> {
    let cap = capped_at(nodes, consensus.parameters().weight_cap_means);
    let weight = |node: &NodeEntry| scaled(node, nodes.len()).min(cap);
    let allowed = |node: &&NodeEntry| !avoid.contains(&node.family);
    let total = nodes
        .iter()
        .filter(allowed)
        .fold(0u64, |sum, node| sum.saturating_add(weight(node)));
    let mut left = below(total, rng)?;
    for node in nodes.iter().filter(allowed) {
        match left.checked_sub(weight(node)) {
            Some(rest) => left = rest,
            None => return Some(node),
        }
    }
    None
}

fn scaled(node: &NodeEntry, count: usize) -> u64 {
    u64::from(node.weight).saturating_mul(u64::try_from(count).unwrap_or(u64::MAX))
}

fn capped_at(nodes: &[NodeEntry], means: u8) -> u64 {
    let sum = nodes
        .iter()
        .fold(0u64, |sum, node| sum.saturating_add(u64::from(node.weight)));
    sum.saturating_mul(u64::from(means))
}

/// A whole number below `bound`, uniform: the excess of 2⁶⁴ over a multiple of it is drawn again.
fn below(bound: u64, rng: &mut impl CryptoRng) -> Option<u64> {
    let excess = u64::MAX.checked_rem(bound)?;
    loop {
        let word = rng.next_u64();
        if word < u64::MAX.saturating_sub(excess) {
            return word.checked_rem(bound);
        }
    }
}

/// The probability with which each of `nodes` is drawn when no family is avoided.
pub fn shares(consensus: &Consensus, nodes: &[NodeEntry]) -> Vec<(NodeId, f64)> {
    let cap = capped_at(nodes, consensus.parameters().weight_cap_means);
    let weights: Vec<_> = nodes
        .iter()
        .map(|node| (node.id, as_f64(scaled(node, nodes.len()).min(cap))))
        .collect();
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    weights
        .into_iter()
        .map(|(id, weight)| (id, weight / total))
        .collect()
}

/// Exact up to 2⁵³, which is enough for a probability.
fn as_f64(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(number & 0xffff_ffff).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}
