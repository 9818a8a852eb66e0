//! A key in service and the tags of the packets that it opened, together in one region of memory
//! (protocol.md §5).
//!
//! The region is whatever the caller maps: the table is code over `&mut [u8]`. A process that is
//! killed finds key and tags where it left them; a region that does not check out gives no key at
//! all, never an empty table under the old one.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 128 | header, slot A |
//! | 128 | 128 | header, slot B: the valid slot of the higher generation counts |
//! | 256 | 3,840 | zeros |
//! | 4,096 × (1 + p) | 4,096 | page p: check 8, zeros 8, 255 slots of a 16 B tag (zeros: free) |
//!
//! A page's check is a keyed sum of its tags and its number, so that an insert is two stores, the
//! tag and then the check. A kill between any two bytes of them leaves a page that differs from
//! its check by one tag; it is recognised, kept and repaired. Any other difference is damage.

mod header;
mod page;
mod table;
#[cfg(test)]
mod tests;

pub use header::{Found, inspect};
pub use table::{Damaged, FIRST_GENERATION, Inserted, Refused, ReplayTable, bytes_for, wipe};
