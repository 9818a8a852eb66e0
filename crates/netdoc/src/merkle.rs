//! Merkle trees over BLAKE3: the root of the nodes, and the range of all earlier headers.
//!
//! Leaves and nodes are hashed under different labels, so that a node can never pass for a leaf.
//! The range is a Merkle mountain range whose peaks are bagged from the right, which gives the tree
//! of RFC 6962 §2.1: appending costs O(log n), and a proof is one path of at most ⌈log₂ n⌉ hashes.

use borsh::{BorshDeserialize, BorshSerialize};
use whist_types::ConsensusHash;

const LEAF: &str = "whist 2026 merkle leaf v1";
const NODE: &str = "whist 2026 merkle node v1";
const ROOT: &str = "whist 2026 merkle root v1";

/// Hashes of a path; 40 leave room for 2⁴⁰ epochs, and bound what a peer can make us compute.
pub(crate) const PATH_MAX: usize = 40;

/// A hash inside a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TreeHash([u8; 32]);

impl TreeHash {
    /// Wraps the bytes as they stand in a document.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand in a document.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn leaf(bytes: &[u8]) -> TreeHash {
    TreeHash(blake3::derive_key(LEAF, bytes))
}

fn node(left: &TreeHash, right: &TreeHash) -> TreeHash {
    let mut hasher = blake3::Hasher::new_derive_key(NODE);
    hasher.update(&left.0);
    hasher.update(&right.0);
    TreeHash(*hasher.finalize().as_bytes())
}

fn root(count: u64, bagged: Option<TreeHash>) -> TreeHash {
    let mut hasher = blake3::Hasher::new_derive_key(ROOT);
    hasher.update(&count.to_be_bytes());
    if let Some(bagged) = bagged {
        hasher.update(&bagged.0);
    }
    TreeHash(*hasher.finalize().as_bytes())
}

/// Peaks of a range that grows at its right end: (height, hash), highest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Peaks(Vec<(u8, TreeHash)>);

impl Peaks {
    fn push(&mut self, leaf: TreeHash) {
        let (mut height, mut hash) = (0u8, leaf);
        while let Some((_, left)) = self.0.pop_if(|(h, _)| *h == height) {
            hash = node(&left, &hash);
            height = height.saturating_add(1);
        }
        self.0.push((height, hash));
    }

    fn bagged(&self) -> Option<TreeHash> {
        self.0
            .iter()
            .rev()
            .map(|(_, hash)| *hash)
            .reduce(|right, left| node(&left, &right))
    }
}

/// The root over `leaves` in their order; their number is part of it.
pub fn merkle_root<B: AsRef<[u8]>>(leaves: impl IntoIterator<Item = B>) -> TreeHash {
    let mut peaks = Peaks::default();
    let mut count = 0u64;
    for bytes in leaves {
        peaks.push(leaf(bytes.as_ref()));
        count = count.saturating_add(1);
    }
    root(count, peaks.bagged())
}

/// The range over the hashes of all headers so far, in the order of their epochs.
///
/// Keeps the hashes of all full subtrees (64 B a header), so that a provider proves an extension to
/// each of its clients in O(log² n).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mmr {
    leaves: Vec<ConsensusHash>,
    /// `levels[h][i]` is the hash over the leaves from `i·2ʰ` to `(i+1)·2ʰ`.
    levels: Vec<Vec<TreeHash>>,
}

impl Mmr {
    /// The range over `leaves`.
    pub fn from_leaves(leaves: impl IntoIterator<Item = ConsensusHash>) -> Self {
        let mut range = Self::default();
        leaves.into_iter().for_each(|hash| range.push(hash));
        range
    }

    /// Appends a header.
    pub fn push(&mut self, hash: ConsensusHash) {
        self.leaves.push(hash);
        let mut full = Some(leaf(hash.as_bytes()));
        for level in &mut self.levels {
            let Some(hash) = full else {
                return;
            };
            level.push(hash);
            full = match level.as_chunks::<2>() {
                (pairs, []) => pairs.last().map(|[left, right]| node(left, right)),
                _ => None,
            };
        }
        self.levels.extend(full.map(|hash| vec![hash]));
    }

    /// Number of headers.
    pub fn count(&self) -> u64 {
        u64::try_from(self.leaves.len()).unwrap_or(u64::MAX)
    }

    /// The root, which binds the count.
    pub fn root(&self) -> TreeHash {
        root(self.count(), self.over(0, self.leaves.len()))
    }

    /// The headers from the `from`-th on; none if there are fewer.
    pub fn leaves_from(&self, from: u64) -> &[ConsensusHash] {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.leaves.get(from..).unwrap_or_default()
    }

    /// The position of a header.
    pub fn position(&self, hash: &ConsensusHash) -> Option<u64> {
        // Searched from the newest: who asks was seldom away for long.
        self.leaves
            .iter()
            .rposition(|leaf| leaf == hash)
            .and_then(|at| u64::try_from(at).ok())
    }

    /// Shows that the header at `index` is in the range of the first `count` headers.
    pub fn prove(&self, index: u64, count: u64) -> Option<InclusionProof> {
        if index >= count || count > self.count() {
            return None;
        }
        let mut path = Vec::new();
        let (at, len) = (usize::try_from(index).ok()?, usize::try_from(count).ok()?);
        self.climb_to(at, 0, len, &mut path)?;
        Some(InclusionProof { index, count, path })
    }

    /// Hash over the `len` leaves from `from` on, where `from` is a multiple of the largest power
    /// of two that is not above `len`; none over no leaves.
    fn over(&self, from: usize, len: usize) -> Option<TreeHash> {
        if len.is_power_of_two() {
            let height = len.trailing_zeros();
            let place = from.checked_shr(height)?;
            let level = self.levels.get(usize::try_from(height).ok()?)?;
            return level.get(place).copied();
        }
        let (left, right) = (split(len), len.checked_sub(split(len))?);
        if left == 0 {
            return None;
        }
        let left_hash = self.over(from, left)?;
        Some(node(
            &left_hash,
            &self.over(from.checked_add(left)?, right)?,
        ))
    }

    /// Siblings from the leaf at `at` of this subtree upwards (RFC 6962 §2.1.1).
    fn climb_to(&self, at: usize, from: usize, len: usize, path: &mut Vec<TreeHash>) -> Option<()> {
        if len <= 1 {
            return Some(());
        }
        let left = split(len);
        let (middle, right) = (from.checked_add(left)?, len.checked_sub(left)?);
        if at < left {
            self.climb_to(at, from, left, path)?;
            path.push(self.over(middle, right)?);
        } else {
            self.climb_to(at.checked_sub(left)?, middle, right, path)?;
            path.push(self.over(from, left)?);
        }
        Some(())
    }
}

/// The largest power of two below `len`; `len` itself where there is nothing to split.
fn split(len: usize) -> usize {
    match len {
        0 | 1 => len,
        _ => len.div_ceil(2).next_power_of_two(),
    }
}

/// Shows that a header is among those that a later header's range covers.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InclusionProof {
    /// Position of the header.
    pub index: u64,
    /// Number of headers in the range.
    pub count: u64,
    /// Siblings from the leaf upwards.
    pub path: Vec<TreeHash>,
}

impl InclusionProof {
    /// Whether `hash` stands at this place in the range with this root.
    pub fn verifies(&self, hash: &ConsensusHash, range_root: &TreeHash) -> bool {
        if self.index >= self.count || self.path.len() > PATH_MAX {
            return false;
        }
        let mut siblings = self.path.iter();
        let bagged = climb(self.index, self.count, leaf(hash.as_bytes()), &mut siblings);
        siblings.next().is_none()
            && bagged.is_some_and(|bagged| root(self.count, Some(bagged)) == *range_root)
    }
}

/// Recomputes the root of a tree of `count` leaves from the leaf at `index`; depth ≤ 64.
fn climb<'a>(
    index: u64,
    count: u64,
    leaf: TreeHash,
    siblings: &mut impl Iterator<Item = &'a TreeHash>,
) -> Option<TreeHash> {
    if count <= 1 {
        return Some(leaf);
    }
    let left = count.div_ceil(2).checked_next_power_of_two()?;
    if index < left {
        let below = climb(index, left, leaf, siblings)?;
        Some(node(&below, siblings.next()?))
    } else {
        let below = climb(
            index.saturating_sub(left),
            count.saturating_sub(left),
            leaf,
            siblings,
        )?;
        Some(node(siblings.next()?, &below))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn hash(n: u64) -> ConsensusHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        ConsensusHash::from_bytes(bytes)
    }

    #[test]
    fn every_leaf_of_every_small_range_is_proved_and_no_other_passes() {
        for count in 1..40u64 {
            let range = Mmr::from_leaves((0..count).map(hash));
            for index in 0..count {
                let proof = range.prove(index, count).unwrap();
                assert!(proof.verifies(&hash(index), &range.root()));
                assert!(!proof.verifies(&hash(index + 1), &range.root()));
                let moved = InclusionProof {
                    index: (index + 1) % (count + 1),
                    ..proof.clone()
                };
                assert!(!moved.verifies(&hash(index), &range.root()));
                let mut longer = proof.clone();
                longer.path.push(TreeHash([0; 32]));
                assert!(!longer.verifies(&hash(index), &range.root()));
            }
        }
    }

    #[test]
    fn a_proof_against_an_earlier_range_comes_from_the_later_one() {
        let range = Mmr::from_leaves((0..30).map(hash));
        let earlier = Mmr::from_leaves((0..17).map(hash));
        let proof = range.prove(3, 17).unwrap();
        assert!(proof.verifies(&hash(3), &earlier.root()));
        assert!(!proof.verifies(&hash(3), &range.root()));
    }

    #[test]
    fn a_proof_among_100_000_headers_takes_less_than_a_kilobyte() {
        let range = Mmr::from_leaves((0..100_000).map(hash));
        for index in [0, 1, 65_535, 65_536, 99_999] {
            let proof = range.prove(index, 100_000).unwrap();
            assert!(proof.verifies(&hash(index), &range.root()));
            assert!(borsh::to_vec(&proof).unwrap().len() < 1_000);
        }
    }

    #[test]
    fn the_number_of_leaves_is_part_of_the_root() {
        let empty = Mmr::default();
        assert_ne!(empty.root(), Mmr::from_leaves([hash(0)]).root());
        assert_eq!(
            merkle_root([hash(0).as_bytes(), hash(1).as_bytes()]),
            Mmr::from_leaves([hash(0), hash(1)]).root()
        );
    }
}
