//! Anything in any order: nothing panics, and every packet is accounted for.

use std::time::Duration;

use rand_core::{Rng as _, SeedableRng as _};
use whist_link::{Frame, Input, LinkId};
use whist_packet::request::{Request, encode_request};
use whist_types::{Instant, MailboxAddress};

use crate::rig::Rig;

struct Chaos {
    rig: Rig,
    rng: chacha20::ChaCha20Rng,
    clients: Vec<(LinkId, u8)>,
    mixes: Vec<LinkId>,
    seen: Vec<Frame>,
    addresses: u8,
}

impl Chaos {
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.next_u64()).unwrap() % n
    }

    fn step(&mut self) {
        match self.below(12) {
            0 => {
                self.addresses = self.addresses % 200 + 1;
                let profile = u8::try_from(self.below(3)).unwrap();
                let link = self.rig.client(self.addresses, profile);
                self.clients.push((link, self.addresses));
            }
            1 if self.mixes.len() < 8 => {
                let layer = [2, 2, 2, 0, 1][self.below(5)];
                self.mixes.push(self.rig.mix_link(layer));
            }
            2 | 3 => {
                let delay = Duration::from_millis(self.rng.next_u64() % 400);
                let frame = self.rig.through_us(delay);
                self.send(frame);
            }
            4 => {
                let frame = self.request();
                self.send(frame);
            }
            5 | 6 => {
                let at = self.below(self.clients.len() + 1);
                let session = self.clients.get(at).map_or(250, |(_, address)| *address);
                let me = self.rig.node.id();
                let (surb, _, _) = self.rig.surb(me, session);
                let (_, packet) = surb.reply(&[5; 2048]).unwrap();
                let frame = self.rig.mixed_to_us(packet);
                self.send(frame);
            }
            7 => {
                let mut bytes = Box::new([0; 2413]);
                self.rng.fill_bytes(&mut *bytes);
                self.send(Frame::Packet(bytes));
            }
            8 if !self.seen.is_empty() => {
                let at = self.below(self.seen.len());
                let frame = self.seen[at].clone();
                self.send(frame);
            }
            9 => self.push_back(),
            10 if self.clients.len() > 3 => {
                let at = self.below(self.clients.len());
                let (link, _) = self.clients.swap_remove(at);
                if !self.rig.closed.contains(&link) {
                    self.rig.input(Input::Down { link });
                }
            }
            _ => {
                let ms = self.rng.next_u64() % 300;
                self.rig.wait(Duration::from_millis(ms));
            }
        }
        self.rig.stats();
    }

    fn request(&mut self) -> Frame {
        let last = self.rig.other_provider();
        let (surb, _, _) = self.rig.surb(last, 7);
        let request = match self.below(3) {
            0 => Request::Echo,
            _ => Request::Put {
                address: MailboxAddress::from_bytes([1; 32]),
                item: Box::new([2; 1536]),
            },
        };
        let payload = encode_request(&request, &surb, &mut self.rng);
        self.rig
            .ending_here(&whist_packet::Destination::REQUEST, &payload)
    }

    /// Over any link that is open, the right kind or not.
    fn send(&mut self, frame: Frame) {
        self.seen.push(frame.clone());
        let (clients, mixes) = (self.clients.len(), self.mixes.len());
        if clients + mixes == 0 {
            return;
        }
        let at = self.below(clients + mixes);
        let clients = self.clients.iter().map(|(link, _)| *link);
        let link = clients.chain(self.mixes.iter().copied()).nth(at).unwrap();
        if !self.rig.closed.contains(&link) {
            self.rig.frame(link, frame);
        }
    }

    /// A frame that left comes back, as from a full queue.
    fn push_back(&mut self) {
        let open = |sent: &(Instant, LinkId, Frame), closed: &[LinkId]| !closed.contains(&sent.1);
        let Some(last) = self.rig.sent.pop() else {
            return;
        };
        if open(&last, &self.rig.closed) {
            let (_, link, frame) = last;
            self.rig.input(Input::Full { link, frame });
        }
    }
}

#[test]
fn whatever_comes_every_packet_is_accounted_for() {
    let mut sums = [0; 3];
    for seed in 0..4 {
        let mut chaos = Chaos {
            rig: Rig::new(),
            rng: chacha20::ChaCha20Rng::seed_from_u64(seed),
            clients: Vec::new(),
            mixes: Vec::new(),
            seen: Vec::new(),
            addresses: 0,
        };
        for _ in 0..1_500 {
            chaos.step();
        }
        chaos.rig.wait(Duration::from_secs(600));
        let stats = chaos.rig.stats();
        assert_eq!((stats.held_packets, stats.held_answers), (0, 0));
        assert!(stats.dropped.len() > 6, "{stats:?}");
        let ends = [stats.forwarded, stats.answered, stats.delivered];
        sums.iter_mut().zip(ends).for_each(|(sum, n)| *sum += n);
    }
    assert!(sums.iter().all(|sum| *sum > 10), "{sums:?}");
}
