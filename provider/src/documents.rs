//! Documents under way, cut into parts: however many sessions are sent one, it is held once.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use whist_link::{Part, split_padded};

use crate::limits;

/// The documents that sessions still wait for, by their BLAKE3.
#[derive(Debug, Default)]
pub(crate) struct Documents(BTreeMap<[u8; 32], Weak<[Part]>>);

impl Documents {
    /// The parts of a document; those that another session was given, if it still has them. Their
    /// stream is zero, the sessions number theirs.
    pub(crate) fn parts(&mut self, document: &[u8]) -> Arc<[Part]> {
        let hash = *blake3::hash(document).as_bytes();
        if let Some(parts) = self.0.get(&hash).and_then(Weak::upgrade) {
            return parts;
        }
        // As many stay as documents are under way.
        self.0.retain(|_, parts| parts.strong_count() > 0);
        let multiple = u16::try_from(limits::DOC_FRAMES_MULTIPLE).unwrap_or(1);
        let parts: Arc<[Part]> = split_padded(0, document, multiple).into();
        self.0.insert(hash, Arc::downgrade(&parts));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_are_sent_one_document_share_its_parts() {
        let mut documents = Documents::default();
        let first = documents.parts(&[1; 60_000]);
        assert_eq!(first.len() % limits::DOC_FRAMES_MULTIPLE, 0);
        assert!(Arc::ptr_eq(&first, &documents.parts(&[1; 60_000])));
        assert!(!Arc::ptr_eq(&first, &documents.parts(&[2; 60_000])));
    }

    #[test]
    fn a_document_that_nobody_waits_for_is_not_held() {
        let mut documents = Documents::default();
        for seed in 0..100 {
            drop(documents.parts(&[seed; 100]));
            assert_eq!(documents.0.len(), 1);
        }
    }
}
