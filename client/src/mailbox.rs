//! The own mailbox: its key, its addresses and who has which, and the items that are decoys.

use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::{Signer, SigningKey};
use rand_core::{CryptoRng, Rng as _};
use whist_packet::SurbHash;
use whist_packet::request::{Add, Create, Get, ITEM_BYTES, Request, Revoke, signing_bytes};
use whist_timing::Rng;
use whist_types::{Epoch, MailboxAddress, MailboxKey, NodeId, Salt16};

use crate::ids::{ContactId, InvitationId};
use crate::limits::SPARE_ADDRESSES;
use crate::numbers::Report;

/// Who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Use {
    /// Nobody yet.
    Spare,
    /// Whoever opens this invitation.
    Invitation(InvitationId),
    /// A contact.
    Contact(ContactId),
    /// Whoever has the own address.
    Everybody,
}

#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Address {
    salt: Salt16,
    address: MailboxAddress,
    used_by: Use,
    /// Whether the provider knows it.
    registered: bool,
}

/// The mailbox; its row is itself.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub struct Mailbox {
    provider: NodeId,
    secret: [u8; 32],
    created: bool,
    addresses: Vec<Address>,
    /// Out of use, but known to the provider still.
    leaving: Vec<MailboxAddress>,
}

impl Mailbox {
    /// A mailbox to be made at `provider`, with 32 spare addresses.
    pub fn new(provider: NodeId, rng: &mut impl CryptoRng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let mut mailbox = Self {
            provider,
            secret,
            created: false,
            addresses: Vec::new(),
            leaving: Vec::new(),
        };
        mailbox.grow(SPARE_ADDRESSES, rng);
        mailbox
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(&self.secret)
    }

    /// Its public key.
    pub fn key(&self) -> MailboxKey {
        MailboxKey::from_bytes(self.signing().verifying_key().to_bytes())
    }

    /// Where it is.
    pub const fn provider(&self) -> NodeId {
        self.provider
    }

    /// Whether the provider made it.
    pub const fn is_created(&self) -> bool {
        self.created
    }

    /// The provider made it, with its first addresses.
    pub fn created(&mut self) {
        self.created = true;
        let first = self.addresses.iter_mut().take(SPARE_ADDRESSES);
        first.for_each(|address| address.registered = true);
    }

    /// Makes `count` more spare addresses and gives their salts, to be registered.
    pub fn grow(&mut self, count: usize, rng: &mut impl CryptoRng) -> Vec<Salt16> {
        let key = self.key();
        let mut salts = Vec::with_capacity(count);
        for _ in 0..count {
            let mut salt = [0; 16];
            rng.fill_bytes(&mut salt);
            let salt = Salt16::from_bytes(salt);
            salts.push(salt);
            self.addresses.push(Address {
                address: key.address(&salt),
                salt,
                used_by: Use::Spare,
                registered: false,
            });
        }
        salts
    }

    /// Salts of addresses that a made mailbox's provider does not know yet, as many as one request
    /// takes.
    pub fn unregistered(&self) -> Vec<Salt16> {
        let unknown = self.addresses.iter().filter(|a| !a.registered);
        unknown.map(|a| a.salt).take(SPARE_ADDRESSES).collect()
    }

    /// The provider knows these addresses now.
    pub fn registered(&mut self, salts: &[Salt16]) {
        for address in &mut self.addresses {
            address.registered |= salts.contains(&address.salt);
        }
    }

    /// Takes a spare address that the provider has said it knows: what is put to one that it does
    /// not know yet is lost, and answered as if it were stored.
    pub fn allot(&mut self, used_by: Use) -> Option<MailboxAddress> {
        let spare = self
            .addresses
            .iter_mut()
            .find(|a| a.used_by == Use::Spare && a.registered)?;
        spare.used_by = used_by;
        Some(spare.address)
    }

    /// Whether there is an address that [`Self::allot`] would give.
    pub fn has_free(&self) -> bool {
        let free = |a: &Address| a.used_by == Use::Spare && a.registered;
        self.addresses.iter().any(free)
    }

    /// An invitation became a contact.
    pub fn hand_over(&mut self, address: &MailboxAddress, to: ContactId) {
        if let Some(found) = self.addresses.iter_mut().find(|a| a.address == *address) {
            found.used_by = Use::Contact(to);
        }
    }

    /// Takes an address out of use; the provider is to be told.
    pub fn forget(&mut self, address: &MailboxAddress) {
        self.addresses.retain(|a| a.address != *address);
        self.leaving.push(*address);
    }

    /// Addresses that a made mailbox's provider is to forget, as many as one request takes.
    pub fn leaving(&self) -> Vec<MailboxAddress> {
        let leaving = self.leaving.iter().take(SPARE_ADDRESSES);
        leaving.filter(|_| self.created).copied().collect()
    }

    /// The provider forgot these addresses.
    pub fn left(&mut self, gone: &[MailboxAddress]) {
        self.leaving.retain(|address| !gone.contains(address));
    }

    /// Who has this address.
    pub fn use_of(&self, address: &MailboxAddress) -> Option<Use> {
        self.addresses
            .iter()
            .find(|a| a.address == *address)
            .map(|a| a.used_by)
    }

    /// Spare addresses, known to the provider or on the way to it.
    pub fn spare(&self) -> usize {
        let spare = |a: &&Address| a.used_by == Use::Spare;
        self.addresses.iter().filter(spare).count()
    }

    /// Any address, all with equal chance: live and spare, those of contacts included.
    pub fn any_address(&self, rng: &mut Rng) -> Option<MailboxAddress> {
        let known: Vec<&Address> = self
            .addresses
            .iter()
            .filter(|a| a.registered || !self.created)
            .collect();
        let count = u64::try_from(known.len()).ok()?;
        // 64 random bits: the bias is below 2^-50 for any number of addresses.
        let place = rng.next_u64().checked_rem(count)?;
        let place = usize::try_from(place).ok()?;
        known.get(place).map(|a| a.address)
    }

    fn sign(&self, request: &Request, surb: &SurbHash) -> [u8; 64] {
        let bytes = signing_bytes(request, surb, &self.provider);
        self.signing().sign(&bytes).to_bytes()
    }

    /// A poll.
    pub fn get(&self, epoch: Epoch, report: &Report, lease_s: u32, surb: &SurbHash) -> Request {
        let mut get = Box::new(Get {
            mailbox: self.key(),
            epoch,
            acked: report.acked,
            done: report.done,
            held: report.held,
            lease_s,
            wanted: 0,
            signature: [0; 64],
        });
        get.signature = self.sign(&Request::Get(get.clone()), surb);
        Request::Get(get)
    }

    /// The request that makes the mailbox.
    pub fn create(&self, epoch: Epoch, proof: [u8; 64], surb: &SurbHash) -> Request {
        let mut salts = [Salt16::from_bytes([0; 16]); SPARE_ADDRESSES];
        for (salt, address) in salts.iter_mut().zip(&self.addresses) {
            *salt = address.salt;
        }
        let mut create = Box::new(Create {
            mailbox: self.key(),
            epoch,
            salts,
            proof,
            signature: [0; 64],
        });
        create.signature = self.sign(&Request::Create(create.clone()), surb);
        Request::Create(create)
    }

    /// The request that registers more addresses.
    pub fn add(&self, epoch: Epoch, salts: &[Salt16], surb: &SurbHash) -> Request {
        let mut add = Box::new(Add {
            mailbox: self.key(),
            epoch,
            salts: salts.to_vec(),
            signature: [0; 64],
        });
        add.signature = self.sign(&Request::Add(add.clone()), surb);
        Request::Add(add)
    }

    /// The request that takes addresses back.
    pub fn revoke(&self, epoch: Epoch, gone: &[MailboxAddress], surb: &SurbHash) -> Request {
        let mut revoke = Box::new(Revoke {
            mailbox: self.key(),
            epoch,
            addresses: gone.to_vec(),
            signature: [0; 64],
        });
        revoke.signature = self.sign(&Request::Revoke(revoke.clone()), surb);
        Request::Revoke(revoke)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// An item that looks like any other, and that its maker knows again without having kept it:
/// random bytes, the first 32 of which are a random half and its keyed hash.
pub fn decoy(key: &[u8; 32], rng: &mut Rng) -> Box<[u8; ITEM_BYTES]> {
    let mut item = Box::new([0; ITEM_BYTES]);
    rng.fill_bytes(item.as_mut_slice());
    let mark = mark(key, &item);
    item.iter_mut()
        .skip(MARK_FROM)
        .zip(mark)
        .for_each(|(to, from)| *to = from);
    item
}

/// Whether an item is a decoy of the key's owner.
pub fn is_decoy(key: &[u8; 32], item: &[u8; ITEM_BYTES]) -> bool {
    let (_, rest) = item.split_at(MARK_FROM);
    rest.starts_with(&mark(key, item))
}

const MARK_FROM: usize = 16;

fn mark(key: &[u8; 32], item: &[u8; ITEM_BYTES]) -> [u8; 16] {
    let (head, _) = item.split_at(MARK_FROM);
    let hash = blake3::keyed_hash(key, head);
    let (mark, _) = hash.as_bytes().split_at(MARK_FROM);
    <[u8; 16]>::try_from(mark).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;
    use std::collections::BTreeMap;

    fn rng() -> Rng {
        Rng::from_seed([1; 32])
    }

    #[test]
    fn a_new_mailbox_has_32_spare_addresses_and_each_is_given_once() {
        let mut mailbox = Mailbox::new(NodeId::from_bytes([1; 32]), &mut rng());
        assert_eq!(mailbox.spare(), 32);
        assert!(!mailbox.has_free() && mailbox.allot(Use::Contact(ContactId::new(0))).is_none());
        mailbox.created();
        let mut given = Vec::new();
        for id in 0..32 {
            let used_by = Use::Contact(ContactId::new(id));
            let address = mailbox.allot(used_by).unwrap();
            assert_eq!(mailbox.use_of(&address), Some(used_by));
            assert!(!given.contains(&address));
            given.push(address);
        }
        assert_eq!(mailbox.allot(Use::Contact(ContactId::new(99))), None);
    }

    #[test]
    fn an_address_that_the_provider_does_not_know_yet_is_not_given_out() {
        let mut mailbox = Mailbox::new(NodeId::from_bytes([1; 32]), &mut rng());
        mailbox.created();
        while mailbox.allot(Use::Contact(ContactId::new(1))).is_some() {}
        let salts = mailbox.grow(2, &mut rng());
        assert_eq!(mailbox.allot(Use::Contact(ContactId::new(1))), None);
        mailbox.registered(&salts);
        assert!(mailbox.allot(Use::Contact(ContactId::new(1))).is_some());
    }

    #[test]
    fn decoys_go_to_all_addresses_alike_whoever_has_them() {
        let mut mailbox = Mailbox::new(NodeId::from_bytes([1; 32]), &mut rng());
        mailbox.created();
        mailbox.allot(Use::Contact(ContactId::new(1)));
        let mut rng = rng();
        let mut counts: BTreeMap<MailboxAddress, u32> = BTreeMap::new();
        for _ in 0..32_000 {
            *counts
                .entry(mailbox.any_address(&mut rng).unwrap())
                .or_default() += 1;
        }
        assert_eq!(counts.len(), 32);
        let square = |n: u32| (f64::from(n) - 1_000.0).powi(2) / 1_000.0;
        let chi: f64 = counts.values().map(|&n| square(n)).sum();
        // The 99.9 % quantile of χ² with 31 degrees of freedom.
        assert!(chi < 61.1, "{chi}");
    }

    #[test]
    fn a_decoy_is_known_again_by_its_maker_alone() {
        let mut rng = rng();
        let item = decoy(&[1; 32], &mut rng);
        assert!(is_decoy(&[1; 32], &item));
        assert!(!is_decoy(&[2; 32], &item));
        let mut other = item;
        other[20] ^= 1;
        assert!(!is_decoy(&[1; 32], &other));
    }
}
