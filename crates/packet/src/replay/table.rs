//! The table: create, open, insert, retire.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::DerefMut;
use std::sync::atomic::{Ordering, compiler_fence};

use rand_core::CryptoRng;
use whist_types::{Epoch, Secret};
use zeroize::Zeroize;

use super::header::{Header, SLOT_BYTES, State, newest};
use super::page::{
    CheckKey, PAGE_BYTES, PAGE_HEADER_BYTES, SLOTS, TAG_BYTES, Verdict, check_of, halves, slots,
};
use crate::{ReplayTag, SphinxSecret};

/// Generation of a table that was made and neither opened nor marked since.
pub const FIRST_GENERATION: u64 = 1;

// Our choices.

/// Tags for each page that [`bytes_for`] plans with, of 255: at 85 % a page and its 15 neighbours
/// are full together with a chance below 1e-20.
const PLANNED_TAGS_PER_PAGE: usize = 216;
/// Pages that a lookup may pass on from a full one: bounds the work of a packet.
const PROBE_PAGES_MAX: u64 = 16;
/// Tables up to this size (64 MiB) are checked whole when opened; larger ones page by page at
/// first touch, so that a restart with 100 million tags serves at once.
const PAGES_CHECKED_AT_OPEN: u64 = 16_384;

const _: () = assert!(PAGE_BYTES <= 20 * PLANNED_TAGS_PER_PAGE);
const _: () = assert!(PLANNED_TAGS_PER_PAGE < SLOTS);

/// Bytes of a region that holds `tags` tags: under 20 B a tag for large tables.
pub const fn bytes_for(tags: usize) -> usize {
    tags.div_ceil(PLANNED_TAGS_PER_PAGE)
        .saturating_add(if tags == 0 { 2 } else { 1 })
        .saturating_mul(PAGE_BYTES)
}

/// Erases a region: the key first, then the tags.
pub fn wipe(memory: &mut [u8]) {
    if let Some(first) = memory.get_mut(..PAGE_BYTES) {
        first.zeroize();
    }
    compiler_fence(Ordering::SeqCst);
    memory.fill(0);
    compiler_fence(Ordering::SeqCst);
}

/// A region that gives no table. Its key is lost; there is never an empty table in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Too small for a header and a page.
    #[error("region too small for a replay table")]
    TooSmall,
    /// No valid header.
    #[error("no valid header in the region")]
    Header,
    /// A key was being moved in; it has opened no packet.
    #[error("the key had not entered service")]
    Entering,
    /// The region is not as long as its header says.
    #[error("region cut or grown")]
    Length,
    /// Older than the record kept elsewhere: an old copy was put in its place.
    #[error("table of generation {found}, {recorded} was recorded")]
    Older {
        /// Generation of the region.
        found: u64,
        /// Generation recorded elsewhere.
        recorded: u64,
    },
    /// The same key stands in both regions: one of them is a copy.
    #[error("the same epoch's table stands in both regions")]
    Doubled,
    /// A page does not check out.
    #[error("a page does not check out")]
    Page,
}

/// A region that was refused, given back.
pub struct Refused<M> {
    /// Why.
    pub why: Damaged,
    /// The region, unchanged.
    pub memory: M,
}

impl<M> fmt::Debug for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refused({:?})", self.why)
    }
}

/// What became of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Inserted {
    /// It was not there and now is: the packet may pass.
    Fresh,
    /// It was there.
    Seen,
    /// It does not fit: the packet must be dropped. Nothing is forgotten for it.
    Full,
    /// The page that would hold it does not check out: the key must be retired.
    Damaged,
}

/// A key in service with its tags, in one region of memory.
pub struct ReplayTable<M> {
    memory: M,
    header: Header,
    /// Which of the two header slots counts.
    slot: usize,
    secret: SphinxSecret,
    /// Keys the tags: of this node, this key and this table.
    tag_key: Secret<32>,
    check_key: CheckKey,
    /// One bit a page: held against its check since the table was opened.
    verified: Vec<u64>,
    tags: u64,
    #[cfg(test)]
    pub(super) journal: Vec<(usize, Vec<u8>)>,
}

impl<M: DerefMut<Target = [u8]>> ReplayTable<M> {
    /// Moves a key into a region, over whatever was there, and starts with no tags.
    ///
    /// # Errors
    /// [`Damaged::TooSmall`].
    pub fn create(
        memory: M,
        epoch: Epoch,
        secret: &SphinxSecret,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Refused<M>> {
        let Some(pages) = pages_of(&memory) else {
            let why = Damaged::TooSmall;
            return Err(Refused { why, memory });
        };
        let header = Header {
            state: State::Entering,
            generation: 0,
            epoch,
            pages,
            region_bytes: u64::try_from(memory.len()).unwrap_or(u64::MAX),
            salt: Secret::random(rng),
            secret: secret.expose(),
        };
        let mut table = Self::assemble(memory, 1, header);
        wipe(&mut table.memory);
        table.mark(State::Entering, 0);
        for page in 0..pages {
            let empty = table.check_key.of_empty(page).to_le_bytes();
            table.store(page_at(page), &empty);
        }
        table.verified.fill(u64::MAX);
        table.mark(State::Ready, FIRST_GENERATION);
        Ok(table)
    }

    /// Opens the table that a process left, and marks it as opened once more. `recorded` is the
    /// generation that was last kept elsewhere ([`ReplayTable::generation`]).
    ///
    /// # Errors
    /// The region and what is wrong with it. Its key must not be used again.
    pub fn open(memory: M, recorded: u64) -> Result<Self, Refused<M>> {
        let Some((slot, header)) = newest(&memory) else {
            let why = Damaged::Header;
            return Err(Refused { why, memory });
        };
        let length = u64::try_from(memory.len()).unwrap_or(u64::MAX);
        let why = if header.state == State::Entering {
            Some(Damaged::Entering)
        } else if header.region_bytes != length || pages_of(&memory) != Some(header.pages) {
            Some(Damaged::Length)
        } else if header.generation < recorded {
            let found = header.generation;
            Some(Damaged::Older { found, recorded })
        } else {
            None
        };
        if let Some(why) = why {
            return Err(Refused { why, memory });
        }
        let mut table = Self::assemble(memory, slot, header);
        if table.header.pages <= PAGES_CHECKED_AT_OPEN
            && !(0..table.header.pages).all(|page| table.verify(page))
        {
            let why = Damaged::Page;
            let memory = table.memory;
            return Err(Refused { why, memory });
        }
        table.advance();
        Ok(table)
    }

    fn assemble(memory: M, slot: usize, header: Header) -> Self {
        let mut material = *header.secret.expose();
        let mut hasher = blake3::Hasher::new_derive_key("whist 2026 replay tag key v1");
        hasher.update(&material).update(header.salt.expose());
        let tag_key = Secret::new(*hasher.finalize().as_bytes());
        material.zeroize();
        let check = blake3::derive_key("whist 2026 replay page check v1", tag_key.expose());
        let (a, b) = check.first_chunk().map_or((0, 0), halves);
        let words = usize::try_from(header.pages.div_ceil(64)).unwrap_or(0);
        Self {
            memory,
            slot,
            secret: SphinxSecret::from_secret(&header.secret),
            header,
            tag_key,
            check_key: CheckKey { a, b },
            verified: vec![0; words],
            tags: 0,
            #[cfg(test)]
            journal: Vec::new(),
        }
    }

    /// Looks a tag up and enters it. The packet may pass only if it was [`Inserted::Fresh`].
    pub fn insert(&mut self, tag: &ReplayTag) -> Inserted {
        let tag = self.stored_form(tag);
        let (place, offset) = halves(&tag);
        let Some(pages) = NonZeroU64::new(self.header.pages) else {
            return Inserted::Full;
        };
        let start = offset % 255;
        for step in 0..PROBE_PAGES_MAX.min(pages.get()) {
            let page = (place % pages).wrapping_add(step) % pages;
            if !self.verify(page) {
                return Inserted::Damaged;
            }
            match find(self.page(page), usize::try_from(start).unwrap_or(0), &tag) {
                Place::Here => return Inserted::Seen,
                Place::Free(slot) => {
                    self.enter(page, slot, &tag);
                    return Inserted::Fresh;
                }
                Place::Nowhere => {}
            }
        }
        Inserted::Full
    }

    /// The key. Its tags are in this table and nowhere else.
    pub const fn secret(&self) -> &SphinxSecret {
        &self.secret
    }

    /// The epoch of the key.
    pub const fn epoch(&self) -> Epoch {
        self.header.epoch
    }

    /// Grows each time the table is opened or [`ReplayTable::advance`] is called; kept elsewhere,
    /// it tells this table from an older copy.
    pub const fn generation(&self) -> u64 {
        self.header.generation
    }

    /// Tags in the pages that were looked at since the table was opened.
    pub const fn tags(&self) -> u64 {
        self.tags
    }

    /// Tags that fit for certain to plan with ([`bytes_for`]).
    pub fn capacity(&self) -> u64 {
        self.header
            .pages
            .saturating_mul(u64::try_from(PLANNED_TAGS_PER_PAGE).unwrap_or(u64::MAX))
    }

    /// Marks a new generation. The other header slot is written whole and only then counts.
    pub fn advance(&mut self) {
        self.mark(State::Ready, self.header.generation.saturating_add(1));
    }

    /// Gives the region back as it is, key and tags in it: what a kill leaves.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// Erases the key and its tags, and gives the region back.
    pub fn retire(mut self) -> M {
        wipe(&mut self.memory);
        self.memory
    }

    #[cfg(test)]
    pub(super) fn memory_for_test(&self) -> Vec<u8> {
        self.memory.to_vec()
    }

    fn mark(&mut self, state: State, generation: u64) {
        self.slot = 1_usize.saturating_sub(self.slot);
        self.header.state = state;
        self.header.generation = generation;
        let mut bytes = self.header.encode();
        self.store(self.slot.saturating_mul(SLOT_BYTES), &bytes);
        bytes.zeroize();
    }

    /// BLAKE3 of the derived tag under the table's key, 16 B of it: what the table holds tells
    /// nobody without the key which packets came. Zeros mean a free slot.
    fn stored_form(&self, tag: &ReplayTag) -> [u8; TAG_BYTES] {
        let hash = blake3::keyed_hash(self.tag_key.expose(), tag.as_bytes());
        let tag = hash.as_bytes().first_chunk().copied().unwrap_or([0; 16]);
        if tag == [0; TAG_BYTES] {
            [1; TAG_BYTES]
        } else {
            tag
        }
    }

    fn page(&self, page: u64) -> &[u8] {
        let at = page_at(page);
        self.memory
            .get(at..at.saturating_add(PAGE_BYTES))
            .unwrap_or_default()
    }

    /// The tag first and then the check: a kill in between leaves a page that differs from its
    /// check by one tag of a packet that went nowhere.
    fn enter(&mut self, page: u64, slot: usize, tag: &[u8; TAG_BYTES]) {
        let check = check_of(self.page(page)).unwrap_or(0) ^ self.check_key.of_tag(slot, tag);
        let at = page_at(page);
        let slot_at = slot
            .saturating_mul(TAG_BYTES)
            .saturating_add(PAGE_HEADER_BYTES);
        self.store(at.saturating_add(slot_at), tag);
        self.store(at, &check.to_le_bytes());
        self.tags = self.tags.saturating_add(1);
    }

    /// Holds a page against its check at first touch, and completes an insert that was cut short.
    fn verify(&mut self, page: u64) -> bool {
        let word = usize::try_from(page / 64).unwrap_or(usize::MAX);
        let bit = 1_u64 << (page % 64);
        if self.verified.get(word).is_some_and(|w| w & bit != 0) {
            return true;
        }
        let tags = match self.check_key.verify(page, self.page(page)) {
            Verdict::Damaged => return false,
            Verdict::Whole { tags } => tags,
            Verdict::Unfinished { check, tags } => {
                self.store(page_at(page), &check.to_le_bytes());
                tags
            }
        };
        self.tags = self.tags.saturating_add(tags);
        if let Some(w) = self.verified.get_mut(word) {
            *w |= bit;
        }
        true
    }

    /// Every write goes through here, in program order: the compiler may not move it.
    fn store(&mut self, at: usize, bytes: &[u8]) {
        compiler_fence(Ordering::SeqCst);
        let to = at..at.saturating_add(bytes.len());
        if let Some(to) = self.memory.get_mut(to) {
            to.copy_from_slice(bytes);
        }
        compiler_fence(Ordering::SeqCst);
        #[cfg(test)]
        self.journal.push((at, bytes.to_vec()));
    }
}

impl<M> fmt::Debug for ReplayTable<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayTable(epoch {})", self.header.epoch)
    }
}

enum Place {
    Here,
    Free(usize),
    Nowhere,
}

/// Linear probing inside one page. Nothing is ever removed, so a free slot ends the search.
fn find(page: &[u8], start: usize, tag: &[u8; TAG_BYTES]) -> Place {
    let ring = slots(page).enumerate();
    for (slot, held) in ring.clone().skip(start).chain(ring.take(start)) {
        if held == tag {
            return Place::Here;
        }
        if *held == [0; TAG_BYTES] {
            return Place::Free(slot);
        }
    }
    Place::Nowhere
}

fn pages_of(memory: &[u8]) -> Option<u64> {
    let pages = (memory.len() / PAGE_BYTES).checked_sub(1)?;
    u64::try_from(pages).ok().filter(|&pages| pages > 0)
}

fn page_at(page: u64) -> usize {
    usize::try_from(page)
        .unwrap_or(usize::MAX)
        .saturating_add(1)
        .saturating_mul(PAGE_BYTES)
}
