//! What a mix says of its own loops in its next descriptor: the alarm of protocol.md §5.

use borsh::{BorshDeserialize, BorshSerialize};
use whist_types::NodeId;

use crate::Refused;

/// Segments that a report names at most: those before and after the one where packets vanish, and
/// as many for a second one. It keeps a descriptor within one part on a link.
pub const LOOP_SEGMENTS_MAX: usize = 4;

/// What loops of a mix met since its last descriptor. It stands in the descriptor alone, for the
/// authorities and whoever runs them: no consensus repeats it, and nobody's routes follow from it.
///
/// | field | size | meaning |
/// |---|---|---|
/// | alarm | 1 | 1 if loops were missing in a row, in all or on a step, since the last descriptor |
/// | segments | 4 + 68 n | at most 4, by rising `from` and `to`; none without the alarm |
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize)]
pub struct LoopReport {
    /// Loops were missing in a row, in all or on one step of their routes.
    pub alarm: bool,
    /// Where the most were missing.
    pub segments: Vec<LoopSegment>,
}

/// How loops fared on one step of their routes. Both counts are rounded down to a power of two, so
/// that they say that a step loses and nothing of when or on which route a loop went.
///
/// | field | size | meaning |
/// |---|---|---|
/// | from | 32 | id of the node that hands loops on |
/// | to | 32 | id of the node that should get them |
/// | sent | 2 | loops over this step whose fate is known: a power of two |
/// | lost | 2 | those of them that did not come back: a power of two, at most `sent` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LoopSegment {
    /// Who hands on.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// Loops.
    pub sent: u16,
    /// Of them, lost.
    pub lost: u16,
}

impl LoopSegment {
    /// A segment with its counts rounded; `None` where nothing was lost.
    pub fn rounded(from: NodeId, to: NodeId, sent: u64, lost: u64) -> Option<Self> {
        let (sent, lost) = (power_of_two(sent)?, power_of_two(lost.min(sent))?);
        Some(Self {
            from,
            to,
            sent,
            lost,
        })
    }
}

/// The largest power of two that is not above `count`, as far as 16 bits hold one.
fn power_of_two(count: u64) -> Option<u16> {
    let log = count.checked_ilog2()?.min(u16::BITS.saturating_sub(1));
    1_u16.checked_shl(log)
}

impl LoopReport {
    /// With the alarm, and the segments in their order.
    pub fn alarm(mut segments: Vec<LoopSegment>) -> Self {
        segments.truncate(LOOP_SEGMENTS_MAX);
        segments.sort_unstable_by_key(|segment| (segment.from, segment.to));
        Self {
            alarm: true,
            segments,
        }
    }

    /// One report has one form: what could carry more than a report is refused.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let pairs = self.segments.iter().zip(self.segments.iter().skip(1));
        let mut ordered = pairs.map(|(one, next)| (one.from, one.to) < (next.from, next.to));
        let rounded = |s: &LoopSegment| {
            s.sent.is_power_of_two() && s.lost.is_power_of_two() && s.lost <= s.sent
        };
        let lawful = self.segments.len() <= LOOP_SEGMENTS_MAX
            && (self.alarm || self.segments.is_empty())
            && ordered.all(|ordered| ordered)
            && self.segments.iter().all(rounded);
        lawful
            .then_some(())
            .ok_or(Refused::Malformed("loop report"))
    }
}
