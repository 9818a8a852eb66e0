//! Reads the outer headers of TLS records as they pass: their types and lengths, nothing else.

/// `change_cipher_spec`, `alert`, `handshake`: before the traffic keys (RFC 8446 §5.1).
const PLAIN_TYPES: std::ops::RangeInclusive<u8> = 20..=22;
const APPLICATION_DATA: u8 = 23;
const HEADER_BYTES: usize = 5;
/// Header, two bytes of alert, one of inner type, sixteen of tag.
const CLOSE_NOTIFY_BYTES: usize = 24;

/// The outer header of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Outer content type.
    pub kind: u8,
    /// Length on the wire, header included.
    pub bytes: usize,
}

/// Splits one direction of a connection into records.
#[derive(Default, Debug)]
pub struct Records {
    header: Vec<u8>,
    body_left: usize,
}

impl Records {
    /// Takes the bytes that passed and returns the records that begin in them.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Record> {
        let mut begun = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.body_left.min(bytes.len());
            self.body_left = self.body_left.saturating_sub(skipped);
            bytes = bytes.get(skipped..).unwrap_or_default();
            if self.body_left > 0 || bytes.is_empty() {
                continue;
            }
            let wanted = HEADER_BYTES
                .saturating_sub(self.header.len())
                .min(bytes.len());
            let (head, rest) = bytes.split_at(wanted);
            self.header.extend_from_slice(head);
            bytes = rest;
            if let [kind, _, _, high, low] = self.header[..] {
                self.body_left = usize::from(u16::from_be_bytes([high, low]));
                begun.push(Record {
                    kind,
                    bytes: self.body_left.saturating_add(HEADER_BYTES),
                });
                self.header.clear();
            }
        }
        begun
    }
}

/// Lengths of one direction's records that carry frames: all but those of outer type 20 to 22, the
/// first of type 23 (the handshake's flight) and a close_notify at the end.
pub fn frame_lengths(records: &[Record]) -> Vec<usize> {
    let mut data: Vec<usize> = records
        .iter()
        .filter(|record| !PLAIN_TYPES.contains(&record.kind))
        .scan(false, |flight_seen, record| {
            let first = !*flight_seen && record.kind == APPLICATION_DATA;
            *flight_seen |= first;
            Some((!first).then_some(record.bytes))
        })
        .flatten()
        .collect();
    if data.last() == Some(&CLOSE_NOTIFY_BYTES) {
        data.pop();
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: u16) -> Vec<u8> {
        let [high, low] = body.to_be_bytes();
        let mut bytes = vec![kind, 3, 3, high, low];
        bytes.resize(HEADER_BYTES + usize::from(body), 0);
        bytes
    }

    #[test]
    fn records_are_found_however_the_bytes_are_cut() {
        let wire = [
            record(22, 90),
            record(23, 700),
            record(23, 2431),
            record(23, 19),
        ]
        .concat();
        let expected = [(22, 95), (23, 705), (23, 2436), (23, 24)];
        for size in [1, 3, 7, 1000, wire.len()] {
            let mut records = Records::default();
            let seen: Vec<_> = wire
                .chunks(size)
                .flat_map(|part| records.push(part))
                .collect();
            assert_eq!(
                seen.iter().map(|r| (r.kind, r.bytes)).collect::<Vec<_>>(),
                expected
            );
            assert_eq!(frame_lengths(&seen), [2436]);
        }
    }
}
