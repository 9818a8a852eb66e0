//! The rig's provider: it answers requests, and misbehaves as the weather says.

use std::time::Duration;

use ed25519_dalek::{Signature, VerifyingKey};
use whist_netdoc::{SignedHeader, testing};
use whist_packet::SurbHash;
use whist_packet::request::{ReplyBody, Request, signing_bytes};
use whist_types::{ConsensusHash, Epoch, Instant, MailboxAddress, MailboxKey, NodeId, Wall};

use super::{GENESIS_S, Kept, MailboxAt, Rig};

impl Rig {
    fn signed(
        &self,
        request: &Request,
        key: &MailboxKey,
        sig: &[u8; 64],
        surb: &SurbHash,
        exit: NodeId,
    ) {
        let bytes = signing_bytes(request, surb, &exit);
        let key = VerifyingKey::from_bytes(key.as_bytes()).unwrap();
        key.verify_strict(&bytes, &Signature::from_bytes(sig))
            .unwrap();
    }

    pub(super) fn serve(
        &mut self,
        exit: NodeId,
        surb: &SurbHash,
        request: Request,
    ) -> Option<ReplyBody> {
        Some(match &request {
            Request::Echo => ReplyBody::Ok,
            Request::Create(create) => {
                self.signed(&request, &create.mailbox, &create.signature, surb, exit);
                for salt in &create.salts {
                    let address = create.mailbox.address(salt);
                    self.addresses.insert(address, create.mailbox);
                }
                self.mailboxes.entry(create.mailbox).or_insert(MailboxAt {
                    next: 1,
                    ..MailboxAt::default()
                });
                ReplyBody::Created {
                    per_day: 1,
                    burst: 1,
                }
            }
            Request::Add(add) => {
                self.signed(&request, &add.mailbox, &add.signature, surb, exit);
                for salt in &add.salts {
                    self.addresses
                        .insert(add.mailbox.address(salt), add.mailbox);
                }
                ReplyBody::Ok
            }
            Request::Put { address, item } => {
                if self.weather.silent {
                    return None;
                }
                self.put(*address, item);
                ReplyBody::Stored
            }
            Request::Get(get) => {
                self.signed(&request, &get.mailbox, &get.signature, surb, exit);
                self.hand_out(get)
            }
            Request::Publish { drop, blob, .. } => {
                self.drops.entry(*drop).or_insert((blob.clone(), None));
                ReplyBody::Ok
            }
            Request::Fetch { drop, token_hash } => match self.drops.get_mut(drop) {
                Some((blob, token)) => {
                    let bound = *token.get_or_insert(*token_hash);
                    if bound == *token_hash || self.weather.open_drops {
                        ReplyBody::Blob(blob.clone())
                    } else {
                        ReplyBody::Opened
                    }
                }
                None => ReplyBody::None {
                    waiting: 0,
                    oldest: 0,
                },
            },
            Request::Revoke(_) => ReplyBody::Ok,
            Request::Doc { hash, chunk } => self.header_chunk(hash, *chunk),
        })
    }

    fn put(&mut self, address: MailboxAddress, item: &[u8; 1_536]) {
        let nonce = *item.first_chunk().unwrap();
        let hash = *blake3::hash(item).as_bytes();
        let before = self.nonces.insert(nonce, hash);
        assert!(
            before.is_none_or(|it| it == hash),
            "one nonce for two items"
        );
        let Some(key) = self.addresses.get(&address) else {
            return;
        };
        let doubles = self.weather.doubles;
        let at = self.mailboxes.get_mut(key).unwrap();
        // A provider knows an item by its hash for long after it was deleted.
        if doubles || before.is_none() {
            at.items
                .insert(at.next, (address, Box::new(*item), Instant::ZERO));
            at.next += 1;
        }
    }

    fn hand_out(&mut self, get: &whist_packet::request::Get) -> ReplyBody {
        use whist_packet::request::map_contains;
        let (now, weather) = (self.now.instant, self.weather);
        let at = self.mailboxes.get_mut(&get.mailbox).unwrap();
        let contains = |map: &[u8; 64], n: u64| map_contains(map, get.acked, n);
        at.items
            .retain(|n, _| *n > get.acked && !contains(&get.done, *n));
        let oldest = at.items.keys().next().copied().unwrap_or(at.next);
        let waiting = u32::try_from(at.items.len()).unwrap();
        let free = |(n, (_, _, lease)): &(&u64, &mut Kept)| {
            weather.doubles || (*lease <= now && !contains(&get.held, **n))
        };
        let mut items = at.items.iter_mut().filter(free);
        let found = if weather.reversed {
            items.next_back()
        } else {
            items.next()
        };
        match found {
            Some((number, (address, item, lease))) => {
                *lease = now.after(Duration::from_secs(u64::from(get.lease_s)));
                ReplyBody::Item {
                    number: *number,
                    address: *address,
                    waiting,
                    oldest,
                    item: item.clone(),
                }
            }
            None => ReplyBody::None { waiting, oldest },
        }
    }

    /// The authorities sign a second document for epoch 0, and replies name it from now on.
    pub(in crate::client) fn fork(&mut self) {
        let parameters = self.authorities.parameters().clone();
        let genesis = Wall::from_secs(GENESIS_S);
        let mut twins = testing::Authorities::new(5, 4, parameters, genesis);
        let fewer = self.nodes.iter().skip(1).cloned().collect();
        let bundle = twins.make(Epoch::new(0), fewer).unwrap();
        let signed = bundle.signed_bytes().to_vec();
        let hash = SignedHeader::parse(&signed).unwrap().header().hash();
        self.fork = Some((hash, signed));
    }

    fn header_chunk(&self, hash: &ConsensusHash, chunk: u32) -> ReplyBody {
        let none = ReplyBody::None {
            waiting: 0,
            oldest: 0,
        };
        let Some((_, signed)) = self.fork.as_ref().filter(|fork| fork.0 == *hash) else {
            return none;
        };
        let chunks: Vec<&[u8]> = signed.chunks(1_900).collect();
        let mut data = Box::new([0; 1_900]);
        let bytes = chunks[chunk as usize];
        data[..bytes.len()].copy_from_slice(bytes);
        let count = chunks.len() as u32;
        ReplyBody::Doc { chunk, count, data }
    }
}
