//! What a puppet finds in a packet, and where that goes next.

use std::time::Duration;

use whist_packet::request::{ReplyBody, encode_reply, parse_request};
use whist_packet::{Packet, SphinxSecret, Unwrapped, unwrap};
use whist_timing::Rng;
use whist_types::{ConsensusHash, NodeId};

use super::stage::mark_of;

/// The contents of a packet that reached a puppet.
pub(super) enum Found {
    /// The test's packet of this number ends here.
    Mark(u64),
    /// For the next node: mixed, or an answer to a request. Puppets hold nothing back.
    Pass(NodeId, Packet),
    /// Nothing that this key opens, or nobody to answer.
    Nothing,
}

/// Opens a packet as a mix or a provider would that answers every request with `ok`.
pub(super) fn open(
    packet: &Packet,
    secret: &SphinxSecret,
    held: &ConsensusHash,
    rng: &mut Rng,
) -> Found {
    let Ok(opened) = unwrap(packet.clone(), secret, Duration::MAX) else {
        return Found::Nothing;
    };
    let payload = match opened.content {
        Unwrapped::Forward { next, packet, .. } => return Found::Pass(next, packet),
        Unwrapped::Final { payload, .. } => payload,
    };
    let Ok(request) = payload.request() else {
        return Found::Nothing;
    };
    if let Some(mark) = mark_of(&*request) {
        return Found::Mark(mark);
    }
    let Ok((surb, _)) = parse_request(&request) else {
        return Found::Nothing;
    };
    let answer = surb.reply(&encode_reply(held, &ReplyBody::Ok, rng));
    answer.map_or(Found::Nothing, |(first, packet)| Found::Pass(first, packet))
}
