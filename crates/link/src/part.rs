//! Blobs larger than a frame: descriptors, consensus bundles.

use std::fmt;

use whist_types::{Reader, Writer};

use crate::Malformed;

/// Data bytes of a part.
pub const PART_BYTES: usize = 2400;

/// Bytes of the length at the start of a blob.
const LENGTH_BYTES: usize = 4;

/// One piece of a blob. The body of the frames that carry blobs:
///
/// | offset | size | field | |
/// |---|---|---|---|
/// | 0 | 4 | stream | number of the blob on this link, chosen by its sender |
/// | 4 | 2 | index | from 0 |
/// | 6 | 2 | count | parts of the blob, at least 1 |
/// | 8 | 2400 | data | the blob's bytes from `index × 2400` |
///
/// The blob is `length u32 ‖ bytes ‖ zeros` up to `count × 2400`.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Number of the blob on this link.
    pub stream: u32,
    /// Which part, from 0.
    pub index: u16,
    /// How many parts.
    pub count: u16,
    /// The data.
    pub data: [u8; PART_BYTES],
}

impl Part {
    /// Bytes of a part in a frame's body.
    pub const BYTES: usize = 4 + 2 + 2 + PART_BYTES;

    /// Writes the part.
    pub(crate) fn write(&self, w: &mut Writer) {
        w.u32(self.stream).u16(self.index).u16(self.count);
        w.put(&self.data);
    }

    /// Reads a part.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let part = Self {
            stream: r.u32()?,
            index: r.u16()?,
            count: r.u16()?,
            data: r.array()?,
        };
        if part.index >= part.count {
            return Err(Malformed::Field);
        }
        Ok(part)
    }
}

const _: () = assert!(Part::BYTES == 2408);
const _: () = assert!(Part::BYTES <= crate::BODY_BYTES);

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({} {}/{})", self.stream, self.index, self.count)
    }
}

/// Cuts a blob into parts, as few as hold it. A blob above 65,535 parts (157 MB) gives none.
pub fn split(stream: u32, blob: &[u8]) -> Vec<Part> {
    split_padded(stream, blob, 1)
}

/// Cuts a blob into parts and adds zero ones until their number is a multiple of `multiple`, so
/// that the number of frames says little of the blob. A blob above 65,535 parts gives none.
pub fn split_padded(stream: u32, blob: &[u8], multiple: u16) -> Vec<Part> {
    let Ok(length) = u32::try_from(blob.len()) else {
        return Vec::new();
    };
    let mut bytes = Vec::with_capacity(blob.len().saturating_add(LENGTH_BYTES));
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(blob);
    let wanted = bytes
        .len()
        .div_ceil(PART_BYTES)
        .next_multiple_of(usize::from(multiple.max(1)));
    let Ok(count) = u16::try_from(wanted) else {
        return Vec::new();
    };
    let chunks = bytes.chunks(PART_BYTES).chain(std::iter::repeat(&[][..]));
    (0..count)
        .zip(chunks)
        .map(|(index, chunk)| {
            let mut data = [0; PART_BYTES];
            if let Some(head) = data.get_mut(..chunk.len()) {
                head.copy_from_slice(chunk);
            }
            Part {
                stream,
                index,
                count,
                data,
            }
        })
        .collect()
}

/// Puts the parts of one kind on one link together again.
///
/// A link keeps order, so the parts of a blob come one after another. A part with index 0 begins a
/// new blob and drops an unfinished one; any other that does not continue the blob is malformed.
/// Memory grows with the bytes that came, never with a count or a length that was announced.
#[derive(Debug)]
pub struct Assembler {
    parts_max: u16,
    stream: u32,
    count: u16,
    next: u16,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Takes blobs of up to `parts_max` parts.
    pub const fn new(parts_max: u16) -> Self {
        Self {
            parts_max,
            stream: 0,
            count: 0,
            next: 0,
            bytes: Vec::new(),
        }
    }

    /// Takes the next part; the blob, when it is whole.
    ///
    /// # Errors
    /// A part out of order, a blob above the limit, a length that does not fit, padding that is
    /// not zero. Nothing of the blob is kept then.
    pub fn push(&mut self, part: Part) -> Result<Option<Vec<u8>>, Malformed> {
        let result = self.add(&part);
        if !matches!(result, Ok(None)) {
            self.bytes = Vec::new();
            self.count = 0;
            self.next = 0;
        }
        result
    }

    fn add(&mut self, part: &Part) -> Result<Option<Vec<u8>>, Malformed> {
        if part.count > self.parts_max {
            return Err(Malformed::TooLarge);
        }
        if part.index == 0 {
            self.stream = part.stream;
            self.count = part.count;
            self.next = 0;
            self.bytes.clear();
        }
        let expected = (self.stream, self.next, self.count);
        if (part.stream, part.index, part.count) != expected || part.index >= part.count {
            return Err(Malformed::Order);
        }
        self.bytes.extend_from_slice(&part.data);
        self.next = self.next.saturating_add(1);
        if self.next < self.count {
            return Ok(None);
        }
        let mut r = Reader::new(&self.bytes);
        let length = usize::try_from(r.u32()?).map_err(|_| Malformed::TooLarge)?;
        // The length is checked against what is here; it never sizes an allocation beyond it.
        let blob = r.slice(length)?;
        if r.rest().iter().any(|&b| b != 0) {
            return Err(Malformed::Padding);
        }
        Ok(Some(blob.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(parts: Vec<Part>) -> Result<Option<Vec<u8>>, Malformed> {
        let mut assembler = Assembler::new(64);
        let mut last = Ok(None);
        for part in parts {
            last = assembler.push(part);
            if last.is_err() {
                break;
            }
        }
        last
    }

    #[test]
    fn a_blob_of_any_size_survives_its_parts() {
        for size in [0_usize, 1, 2395, 2396, 2397, 4796, 4797, 100_000] {
            let blob: Vec<u8> = (0..size).map(|i| (i % 251).try_into().unwrap()).collect();
            let parts = split(9, &blob);
            assert_eq!(parts.len(), (size + 4).div_ceil(PART_BYTES));
            assert_eq!(assemble(parts), Ok(Some(blob.clone())));
            let padded = split_padded(9, &blob, 16);
            assert_eq!(padded.len() % 16, 0);
            assert_eq!(assemble(padded), Ok(Some(blob)));
        }
    }

    #[test]
    fn a_part_out_of_order_is_malformed_and_a_new_blob_begins_at_index_zero() {
        let parts = split(1, &[7; 9000]);
        let mut assembler = Assembler::new(64);
        assert_eq!(assembler.push(parts[1].clone()), Err(Malformed::Order));
        assert_eq!(assembler.push(parts[0].clone()), Ok(None));
        assert_eq!(assembler.push(parts[2].clone()), Err(Malformed::Order));
        assert_eq!(assembler.push(parts[1].clone()), Err(Malformed::Order));
        assert_eq!(assembler.push(parts[0].clone()), Ok(None));
        let other = split(2, &[8; 10]);
        assert_eq!(assembler.push(other[0].clone()), Ok(Some(vec![8; 10])));
    }

    #[test]
    fn a_length_that_lies_is_malformed_and_allocates_nothing() {
        let mut lie = split(1, &[7; 10]);
        lie[0].data[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(assemble(lie), Err(Malformed::Size));
        let mut short = split(1, &[7; 10]);
        short[0].data[3] = 9;
        assert_eq!(assemble(short), Err(Malformed::Padding));
        assert_eq!(
            Assembler::new(2).push(split(1, &[7; 9000])[0].clone()),
            Err(Malformed::TooLarge)
        );
    }
}
