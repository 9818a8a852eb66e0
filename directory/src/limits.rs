//! Every limit of an authority, with the reason for its number.

use std::time::Duration;

// From the specification: the timeline of an epoch, in thousandths of its length before the start
// of the epoch that the consensus is for.

/// Descriptors from nodes are taken until then …
pub const NODES_CLOSE_PERMILLE: u64 = 450;
/// … and from other authorities until then, so that what one honest authority took reaches all of
/// them in time (3 minutes of an hour's epoch). Then the list is fixed, signed and exchanged.
pub const FIX_PERMILLE: u64 = 400;
/// Who has no consensus by then asks the other authorities for theirs.
pub const REPAIR_PERMILLE: u64 = 350;

// Our choices.

/// Between two questions for a missing consensus: this share of an epoch, within the bounds below.
pub const REPAIR_SHARE: u32 = 50;
/// Not more often than a link's round trip around the world.
pub const REPAIR_MIN: Duration = Duration::from_millis(300);
/// Not so seldom that an hour's epoch would allow fewer than ten attempts before it starts.
pub const REPAIR_MAX: Duration = Duration::from_secs(60);
/// The wall clock is looked at this often at least: it may jump.
pub const TICK_MAX: Duration = Duration::from_secs(10);

/// Parts of a descriptor.
pub const DESCRIPTOR_PARTS_MAX: u16 = 1;
/// Parts of a header with one signature.
pub const SIGNATURE_PARTS_MAX: u16 = 2;
/// Parts of a bundle of the largest size.
pub const BUNDLE_PARTS_MAX: u16 = 2_622;

/// Frames that go to a link at once: a quarter of the queue that the driver keeps for it …
pub const BURST_FRAMES: usize = 128;
/// … and the time between two such bursts: 3 MB/s, which a slower link than 25 Mbit/s cannot take.
pub const BURST_GAP: Duration = Duration::from_millis(100);

/// Descriptors that a node's link may send in an epoch: its own, again after each of some restarts.
pub const NODE_DESCRIPTORS: u32 = 16;
/// Descriptors that an authority's link may send in an epoch: every node's, for two epochs, twice.
pub const AUTHORITY_DESCRIPTORS: u32 = 16_384;
/// Different descriptors of one node for one epoch that are looked at: a node that changes its mind
/// more often only makes the authorities disagree.
pub const DESCRIPTOR_CHANGES: u8 = 8;
/// Bundles that a link may ask for in an epoch: retries every few seconds of a short epoch.
pub const BUNDLES_ASKED: u32 = 64;
/// Signatures that an authority's link may send in an epoch: one, again after each reconnect.
pub const SIGNATURES: u32 = 64;
/// Links at once. The driver accepts 3,500 sockets, 512 of them for handshakes: so many are left
/// that a newcomer always finds one, whoever holds the others. A network of more nodes takes turns.
pub const LINKS_MAX: usize = 2_800;
/// Of these, links of keys that are not admitted, as anybody can make them. A node that is admitted
/// and in no consensus yet needs one for a round trip, in which it describes itself …
pub const STRANGERS_MAX: usize = 64;
/// … and is closed after this if it did not. The oldest goes where a newcomer finds no place.
pub const STRANGER_LIFE: Duration = Duration::from_secs(30);
/// Links of one node: one is in use, the others may be halves of broken ones. The oldest goes.
pub const LINKS_PER_NODE: usize = 4;
/// Links of one authority. Each new one is told all that it may have missed, so the older one goes.
pub const LINKS_PER_AUTHORITY: usize = 1;
/// Descriptors are taken for this many epochs ahead: the next, and the one after it from nodes
/// whose clocks are ahead.
pub const EPOCHS_AHEAD: u64 = 2;
/// Descriptors and signatures of this many epochs are kept where no consensus ends their time: as
/// many as may come in, and as many again from before or after a jump of the clock.
pub const EPOCHS_HEARD: usize = 6;
/// A consensus needs this many providers, since entry and exit differ.
pub const PROVIDERS_MIN: usize = 2;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use whist_link::PART_BYTES;
    use whist_netdoc::{BUNDLE_BYTES_MAX, DESCRIPTOR_BYTES_MAX, LONE_SIGNATURE_BYTES, NODES_MAX};

    use super::*;

    #[test]
    fn every_blob_of_its_largest_size_fits_its_parts_and_no_more() {
        let parts = |bytes: usize| u16::try_from((bytes + 4).div_ceil(PART_BYTES)).unwrap();
        assert_eq!(DESCRIPTOR_PARTS_MAX, parts(DESCRIPTOR_BYTES_MAX));
        assert_eq!(SIGNATURE_PARTS_MAX, parts(LONE_SIGNATURE_BYTES));
        assert_eq!(BUNDLE_PARTS_MAX, parts(BUNDLE_BYTES_MAX));
        assert_eq!(AUTHORITY_DESCRIPTORS, 4 * u32::try_from(NODES_MAX).unwrap());
    }
}
