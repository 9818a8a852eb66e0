//! Routes are tested against their law.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use whist_netdoc::testing::{Authorities, entries, entry};
use whist_netdoc::{Consensus, Kind, NodeEntry, NodeRole, Parameters, route};
use whist_types::{Epoch, Layer, NodeId, Wall};

const ROUTES: u32 = 1_000_000;
/// Upper 0.1 % point of χ² with nine degrees of freedom.
const CHI2_9: f64 = 27.88;

fn consensus(nodes: Vec<NodeEntry>) -> Arc<Consensus> {
    let mut authorities = Authorities::new(1, 4, Parameters::demo(), Wall::default());
    authorities.consensus(Epoch::new(0), nodes).unwrap()
}

fn mix(layer: u8) -> NodeRole {
    NodeRole::Mix {
        layer: Layer::new(layer),
    }
}

/// Ten mixes a layer with weights 10, 20, … 90 and one of 10,000 that the cap must bite; ten
/// providers of the same weights; each node of a family of its own.
fn uneven() -> Vec<NodeEntry> {
    let weight = |i: u64| if i == 9 { 10_000 } else { 10 * (i as u32 + 1) };
    let node = |n: u64| {
        let role = if n < 30 {
            mix((n / 10) as u8)
        } else {
            NodeRole::Provider
        };
        entry(n, role, n, weight(n % 10))
    };
    (0..40).map(node).collect()
}

fn chi2(counts: &BTreeMap<NodeId, u32>, shares: &[(NodeId, f64)], draws: u32) -> f64 {
    let term = |(id, share): &(NodeId, f64)| {
        let expected = share * f64::from(draws);
        let seen = f64::from(counts.get(id).copied().unwrap_or(0));
        (seen - expected).powi(2) / expected
    };
    shares.iter().map(term).sum()
}

#[test]
fn a_million_routes_follow_the_capped_weights_and_have_every_layer_once() {
    let c = consensus(uneven());
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let (entry, exit) = (c.providers()[0].id, c.providers()[1].id);
    let mut counts = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
    for _ in 0..ROUTES {
        let route = route::forward(&c, &entry, &exit, &mut rng).unwrap();
        assert_eq!((route.len(), route[0], route[4]), (5, entry, exit));
        for (layer, counts) in counts.iter_mut().enumerate() {
            *counts.entry(route[1 + layer]).or_insert(0u32) += 1;
        }
    }
    for (layer, counts) in counts.iter().enumerate() {
        let mixes = c.mixes(Layer::new(layer as u8));
        assert!(counts.keys().all(|id| mixes.iter().any(|m| m.id == *id)));
        let statistic = chi2(counts, &route::shares(&c, mixes), ROUTES);
        assert!(statistic < CHI2_9, "layer {layer}: χ² = {statistic}");
    }
}

#[test]
fn providers_follow_the_capped_weights() {
    let c = consensus(uneven());
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    let mut counts = BTreeMap::new();
    for _ in 0..ROUTES / 4 {
        *counts
            .entry(route::provider(&c, &mut rng, &[]).unwrap())
            .or_insert(0) += 1;
    }
    let statistic = chi2(&counts, &route::shares(&c, c.providers()), ROUTES / 4);
    assert!(statistic < CHI2_9, "χ² = {statistic}");
}

#[test]
fn no_weight_counts_for_more_than_twice_the_mean_of_its_layer() {
    let c = consensus(uneven());
    let shares = route::shares(&c, c.mixes(Layer::FIRST));
    // Weights 10…90 and 10,000 have the mean 1,045: the large one counts as 2,090.
    let largest = shares.iter().map(|(_, s)| *s).fold(0.0, f64::max);
    assert!((largest - 2_090.0 / (450.0 + 2_090.0)).abs() < 1e-12);
}

#[test]
fn two_mixes_of_a_family_are_never_in_one_route() {
    // Three families, each with two mixes in every layer.
    let mut nodes: Vec<_> = (0..18)
        .map(|n| entry(n, mix((n % 3) as u8), 100 + n / 6, 50 + n as u32))
        .collect();
    nodes.extend((18..21).map(|n| entry(n, NodeRole::Provider, n, 10)));
    let c = consensus(nodes);
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    for _ in 0..ROUTES / 10 {
        let route = route::reply(&c, &c.providers()[0].id, &mut rng).unwrap();
        assert_eq!(route.len(), 4);
        let families: BTreeSet<_> = route.iter().map(|id| c.node(id).unwrap().family).collect();
        let distinct: BTreeSet<_> = route.iter().collect();
        assert_eq!((families.len(), distinct.len()), (4, 4));
    }
}

#[test]
fn where_a_route_cannot_be_had_there_is_an_error_and_no_short_route() {
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let two_families = (0..9).map(|n| entry(n, mix((n % 3) as u8), n % 2, 10));
    let providers = (9..12).map(|n| entry(n, NodeRole::Provider, n, 10));
    let c = consensus(two_families.chain(providers).collect());
    assert!(route::mixes(&c, &mut rng).is_err());

    let empty_layer = consensus(entries(2, 3, 3));
    let ids: Vec<_> = empty_layer.providers().iter().map(|p| p.id).collect();
    assert!(route::forward(&empty_layer, &ids[0], &ids[1], &mut rng).is_err());

    let full = consensus(entries(3, 2, 3));
    let (a, b) = (full.providers()[0].id, full.providers()[1].id);
    let mix = full.mixes(Layer::FIRST)[0].id;
    // A contact's mailbox at one's own entry provider: still a whole route.
    assert_eq!(route::forward(&full, &a, &a, &mut rng).unwrap().len(), 5);
    assert!(route::forward(&full, &mix, &b, &mut rng).is_err());
    let all: Vec<_> = full.providers().iter().map(|p| p.family).collect();
    assert!(route::provider(&full, &mut rng, &all).is_err());
}

#[test]
fn a_mix_builds_its_loops_from_the_layers_around_its_own() {
    let c = consensus(entries(3, 3, 3));
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let own = &c.mixes(Layer::new(1))[0];
    let after = route::mixes_in(&c, 2..3, &[own.family], &mut rng).unwrap();
    let before = route::mixes_in(&c, 0..1, &[own.family], &mut rng).unwrap();
    assert_eq!(c.node(&after[0]).unwrap().role.layer(), Some(Layer::new(2)));
    assert_eq!(c.node(&before[0]).unwrap().role.layer(), Some(Layer::FIRST));
    assert!(route::mixes_in(&c, 3..3, &[], &mut rng).unwrap().is_empty());
    assert!(
        c.providers()
            .iter()
            .all(|p| p.role.kind() == Kind::Provider)
    );
}
