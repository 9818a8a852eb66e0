//! One epoch's signing: our header, and the signatures over it.

use std::collections::BTreeMap;

use whist_netdoc::{AuthoritySignature, Bundle, Header, Refused, SignedHeader, TrustedAuthorities};
use whist_types::Epoch;

use crate::Ignored;
use crate::pool::lowest_kept;

/// What an authority signed: header and signature of each author, to see whether one signs twice.
#[derive(Debug)]
struct Heard {
    header: Header,
    signed: SignedHeader,
    excluded: bool,
}

/// The document that this authority signed for an epoch.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) header: Header,
    bundle: Bundle,
    own: AuthoritySignature,
    /// The signature may leave: it is on disk.
    pub(crate) saved: bool,
    pub(crate) ticket: u64,
}

impl Round {
    pub(crate) fn new(
        header: Header,
        bundle: Bundle,
        own: AuthoritySignature,
        ticket: u64,
    ) -> Self {
        Self {
            header,
            bundle,
            own,
            saved: false,
            ticket,
        }
    }

    /// What was signed before a restart, from the disk; checked against the network and our key.
    pub(crate) fn restore(
        bytes: &[u8],
        trusted: &TrustedAuthorities,
        index: u8,
    ) -> Result<Self, Refused> {
        let bundle = Bundle::dangerously_from_bytes(bytes)?;
        let signed = SignedHeader::parse(bundle.signed_bytes())?;
        let own = match signed.signatures() {
            [own] if own.index() == index => own.clone(),
            _ => return Err(Refused::Malformed("signed document")),
        };
        if signed.header().network != trusted.network_hash() {
            return Err(Refused::OtherNetwork);
        }
        own.verify(trusted, signed.header())?;
        Ok(Self {
            header: signed.header().clone(),
            bundle,
            own,
            saved: true,
            ticket: 0,
        })
    }

    /// What goes to the other authorities.
    pub(crate) fn lone_signature(&self) -> Vec<u8> {
        SignedHeader::new(self.header.clone(), vec![self.own.clone()]).to_bytes()
    }

    /// The consensus, if enough authorities signed our header.
    pub(crate) fn complete(&self, heard: &Signatures, quorum: usize) -> Option<Vec<u8>> {
        let mut signatures = heard.over(&self.header);
        signatures.push(self.own.clone());
        (self.saved && signatures.len() >= quorum).then(|| {
            let signed = SignedHeader::new(self.header.clone(), signatures);
            self.bundle.with_signatures(&signed).to_bytes()
        })
    }
}

/// Signatures heard of other authorities, by epoch and author. Bounded: one header an author and
/// epoch, and few epochs ([`Signatures::forget`], at the start of each).
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    heard: BTreeMap<(Epoch, u8), Heard>,
}

/// What a signature turned out to be.
#[derive(Debug)]
pub(crate) enum Judged {
    /// New, and to be counted with its header.
    New,
    /// The author signed another header of this epoch before: the two, as evidence.
    Equivocation(Vec<u8>),
}

impl Signatures {
    /// Takes one verified signature of `author`.
    pub(crate) fn add(&mut self, author: u8, signed: SignedHeader) -> Result<Judged, Ignored> {
        let header = signed.header().clone();
        let key = (header.epoch, author);
        let Some(before) = self.heard.get_mut(&key) else {
            let heard = Heard {
                header,
                signed,
                excluded: false,
            };
            self.heard.insert(key, heard);
            return Ok(Judged::New);
        };
        if before.header == header {
            return Err(Ignored::Known);
        }
        if before.excluded {
            return Err(Ignored::Equivocates);
        }
        before.excluded = true;
        let evidence = [before.signed.to_bytes(), signed.to_bytes()].concat();
        Ok(Judged::Equivocation(evidence))
    }

    /// Whether this author was heard with this very header.
    pub(crate) fn holds(&self, author: u8, header: &Header) -> bool {
        self.heard
            .get(&(header.epoch, author))
            .is_some_and(|heard| heard.header == *header)
    }

    /// Signatures over `header` by authors that signed nothing else.
    fn over(&self, header: &Header) -> Vec<AuthoritySignature> {
        self.heard
            .values()
            .filter(|heard| heard.header == *header && !heard.excluded)
            .flat_map(|heard| heard.signed.signatures().iter().cloned())
            .collect()
    }

    /// How many authors signed `header`.
    pub(crate) fn count(&self, header: &Header) -> usize {
        self.over(header).len()
    }

    /// Forgets epochs before `epoch`, and the lowest of too many.
    pub(crate) fn forget(&mut self, epoch: Epoch) {
        let lowest = lowest_kept(self.heard.keys().map(|(of, _)| *of));
        let lowest = lowest.map_or(epoch, |lowest| lowest.max(epoch));
        self.heard.retain(|(of, _), _| *of >= lowest);
    }
}
