//! Routes that cannot be built wrong.

use std::time::Duration;

use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Node, NodeAddressBytes};
use whist_types::{NodeId, SphinxKey};
use x25519_dalek::PublicKey;

use crate::HOPS_MAX;

/// One hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Whom the packet passes.
    pub node: NodeId,
    /// The node's key of the epoch in which the packet is expected there.
    pub key: SphinxKey,
    /// How long the node holds the packet, as sampled by the caller. The last hop's never travels.
    pub delay: Duration,
}

/// A route that is refused when it is made, so that it cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    /// Not as many hops as a route of its kind has.
    #[error("route has {hops} hops instead of {expected}")]
    WrongLength {
        /// Hops given.
        hops: usize,
        /// Hops that it must have.
        expected: usize,
    },
    /// No hop, or more than a header has room for.
    #[error("route has {0} hops, a header has room for 1 to 5")]
    Impossible(usize),
    /// A node stands in it twice.
    #[error("a node stands in the route twice")]
    Repeated,
    /// A hop's key is of small order: everybody could open its layer.
    #[error("a hop's key is of small order")]
    LowOrderKey,
    /// A hop's delay does not fit into 64 bits of nanoseconds.
    #[error("a hop's delay is too long for the header")]
    DelayTooLong,
}

/// Whether the last hop may be the first one again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Differ,
    MayMeet,
}

/// One to five distinct hops (but for the ends of a request, which may be one provider), as many as
/// a route of its kind must have.
///
/// Arti's TROVE-2024-003 was a circuit one hop short behind a debug assertion; here the number of
/// hops is checked where the value is made, in every build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    hops: Vec<Hop>,
    nodes_delays: Vec<u64>,
}

impl Route {
    /// A client's request: entry provider, `layers` mixes, exit provider. The two ends may be one
    /// provider, since a contact's mailbox may be hosted by the own entry provider; choosing so is
    /// the caller's to avoid wherever it can.
    ///
    /// # Errors
    /// [`InvalidRoute`].
    pub fn request(hops: Vec<Hop>, layers: usize) -> Result<Self, InvalidRoute> {
        Self::checked(hops, layers.saturating_add(2), Ends::MayMeet)
    }

    /// A client's reply: `layers` mixes, its entry provider.
    ///
    /// # Errors
    /// [`InvalidRoute`].
    pub fn reply(hops: Vec<Hop>, layers: usize) -> Result<Self, InvalidRoute> {
        Self::exactly(hops, layers.saturating_add(1))
    }

    /// A route of `expected` hops: for a mix's own loops, which start and end inside the layers.
    /// The caller says how many hops its place asks for.
    ///
    /// # Errors
    /// [`InvalidRoute`].
    pub fn exactly(hops: Vec<Hop>, expected: usize) -> Result<Self, InvalidRoute> {
        Self::checked(hops, expected, Ends::Differ)
    }

    fn checked(hops: Vec<Hop>, expected: usize, ends: Ends) -> Result<Self, InvalidRoute> {
        if hops.is_empty() || hops.len() > HOPS_MAX {
            return Err(InvalidRoute::Impossible(hops.len()));
        }
        if hops.len() != expected {
            return Err(InvalidRoute::WrongLength {
                hops: hops.len(),
                expected,
            });
        }
        for (i, hop) in hops.iter().enumerate() {
            let last = i.saturating_add(1) == hops.len();
            let first_may = usize::from(last && ends == Ends::MayMeet);
            let earlier = hops.iter().take(i).skip(first_may);
            if earlier.into_iter().any(|other| other.node == hop.node) {
                return Err(InvalidRoute::Repeated);
            }
            if hop.key.is_small_order() {
                return Err(InvalidRoute::LowOrderKey);
            }
        }
        let nodes_delays = hops
            .iter()
            .map(|hop| u64::try_from(hop.delay.as_nanos()))
            .collect::<Result<_, _>>()
            .map_err(|_| InvalidRoute::DelayTooLong)?;
        Ok(Self { hops, nodes_delays })
    }

    /// The hops, first to last.
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// Whom the packet is handed to first.
    pub fn first(&self) -> NodeId {
        self.hops
            .first()
            .map_or(NodeId::from_bytes([0; 32]), |hop| hop.node)
    }

    pub(crate) fn sphinx_nodes(&self) -> Vec<Node> {
        self.hops
            .iter()
            .map(|hop| {
                Node::new(
                    NodeAddressBytes::from_bytes(hop.node.to_bytes()),
                    PublicKey::from(hop.key.to_bytes()),
                )
            })
            .collect()
    }

    /// Whole nanoseconds; the library's own sampler, which makes zeros of a bad distribution from
    /// randomness of its own, is never called.
    pub(crate) fn sphinx_delays(&self) -> Vec<Delay> {
        self.nodes_delays
            .iter()
            .map(|&ns| Delay::new_from_nanos(ns))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(n: u8) -> Hop {
        Hop {
            node: NodeId::from_bytes([n; 32]),
            key: SphinxKey::from_bytes([n.wrapping_add(9); 32]),
            delay: Duration::from_millis(200),
        }
    }

    fn hops(n: u8) -> Vec<Hop> {
        (0..n).map(hop).collect()
    }

    #[test]
    fn a_route_cannot_be_built_empty_short_long_or_with_a_node_twice() {
        assert_eq!(Route::request(hops(0), 3), Err(InvalidRoute::Impossible(0)));
        assert_eq!(Route::exactly(vec![], 0), Err(InvalidRoute::Impossible(0)));
        assert_eq!(Route::request(hops(6), 4), Err(InvalidRoute::Impossible(6)));
        for (hops_given, layers) in [(1, 3), (2, 3), (3, 3), (4, 3), (5, 2)] {
            assert_eq!(
                Route::request(hops(hops_given), layers),
                Err(InvalidRoute::WrongLength {
                    hops: hops_given.into(),
                    expected: layers + 2
                })
            );
        }
        assert!(Route::reply(hops(5), 3).is_err() && Route::reply(hops(3), 3).is_err());
        assert!(Route::request(hops(5), 3).is_ok() && Route::reply(hops(4), 3).is_ok());
        let mut twice = hops(5);
        twice[4] = twice[1];
        assert_eq!(Route::request(twice, 3), Err(InvalidRoute::Repeated));
    }

    #[test]
    fn only_the_ends_of_a_request_may_be_one_node() {
        let mut ends = hops(5);
        ends[4] = ends[0];
        assert!(Route::request(ends.clone(), 3).is_ok());
        assert_eq!(Route::exactly(ends, 5), Err(InvalidRoute::Repeated));
        let mut reply = hops(4);
        reply[3] = reply[0];
        assert_eq!(Route::reply(reply, 3), Err(InvalidRoute::Repeated));
    }

    #[test]
    fn a_hop_whose_layer_everybody_could_open_is_refused() {
        let mut route = hops(5);
        route[2].key = SphinxKey::from_bytes([0; 32]);
        assert_eq!(Route::request(route, 3), Err(InvalidRoute::LowOrderKey));
    }

    #[test]
    fn a_delay_that_the_header_cannot_carry_is_refused_not_cut() {
        let mut route = hops(5);
        route[2].delay = Duration::from_secs(u64::MAX);
        assert_eq!(Route::request(route, 3), Err(InvalidRoute::DelayTooLong));
    }
}
