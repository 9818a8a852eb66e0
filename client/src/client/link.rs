//! The one link: to the entry guard, or before there is one to a bootstrap provider, from which
//! the first consensus comes after `HELLO`.

use rand_core::CryptoRng;
use rand_core::Rng as _;
use whist_link::{Assembler, Backoff, Dialer, Frame, Hello, LinkId, Output, Part, Reply, Target};
use whist_netdoc::{Accepted, Bootstrap, Refused};
use whist_types::{Instant, NodeId, Now, SessionAddress};

use crate::api::{Effect, Event};
use crate::client::{Client, loss_limits};
use crate::indicators::Indicator;
use crate::limits::{BOOTSTRAP_PATIENCE, DOCUMENT_PARTS_MAX};
use crate::rows::Table;
use whist_timing::LossTest;

/// The link and what belongs to it alone.
pub(super) struct EntryLink {
    dialer: Dialer<NodeId>,
    link: Option<LinkId>,
    peer: Option<NodeId>,
    session: SessionAddress,
    greeted: bool,
    assembler: Assembler,
    /// When another bootstrap provider is tried.
    patience: Option<Instant>,
}

impl EntryLink {
    pub(super) fn new() -> Self {
        Self {
            // Nothing waits for a link: what is not sent at its tick is not sent.
            dialer: Dialer::new(Backoff::default(), 0),
            link: None,
            peer: None,
            session: SessionAddress::from_bytes([0; 32]),
            greeted: false,
            assembler: Assembler::new(DOCUMENT_PARTS_MAX),
            patience: None,
        }
    }

    /// Wants a link to this provider and no other.
    pub(super) fn want(&mut self, id: NodeId, target: Target) {
        if self.wanted() != Some(id) {
            self.reset();
        }
        self.dialer.want([(id, target)]);
    }

    pub(super) fn wanted(&self) -> Option<NodeId> {
        self.dialer.wanted().next().copied()
    }

    /// The provider at the other end, once both sides have said `HELLO`.
    pub(super) fn connected(&self) -> Option<NodeId> {
        self.peer.filter(|_| self.greeted && self.link.is_some())
    }

    pub(super) const fn session(&self) -> SessionAddress {
        self.session
    }

    pub(super) fn send(&mut self, frame: Frame) {
        if let Some(peer) = &self.peer {
            // Refused only without a link: then the packet is lost.
            let _ = self.dialer.send(peer, frame);
        }
    }

    fn up(&mut self, now: Instant, link: LinkId, hello: Hello, session: SessionAddress) {
        if let Some(peer) = self.dialer.up(now, link, Frame::Hello(hello)).copied() {
            self.reset();
            self.link = Some(link);
            self.peer = Some(peer);
            self.session = session;
        }
    }

    fn reset(&mut self) {
        self.link = None;
        self.peer = None;
        self.greeted = false;
        self.assembler = Assembler::new(DOCUMENT_PARTS_MAX);
    }

    fn down(&mut self, now: Instant, link: LinkId, rng: &mut impl CryptoRng) -> bool {
        let ours = self.link == Some(link);
        self.dialer.down(now, link, rng);
        if ours {
            self.reset();
        }
        ours
    }

    fn close(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        if let Some(link) = self.link {
            self.dialer.close(now, link, rng);
        }
        self.reset();
    }

    pub(super) fn poll_output(&mut self, now: Now) -> Option<Output<Effect>> {
        self.dialer.poll_output(now.instant)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dialer
            .poll_timeout()
            .into_iter()
            .chain(self.patience)
            .min()
    }
}

impl Client {
    pub(super) fn link_up(&mut self, now: Now, link: LinkId) {
        let mut session = [0; 32];
        self.rng.fill_bytes(&mut session);
        let session = SessionAddress::from_bytes(session);
        let hello = Hello::Client {
            version: Hello::VERSION,
            consensus: self.follower.hash(),
            session,
            profile: self.account.profile,
        };
        self.entry.up(now.instant, link, hello, session);
    }

    pub(super) fn link_down(&mut self, now: Now, link: LinkId) {
        if self.entry.down(now.instant, link, &mut self.rng) {
            self.off_line();
        }
    }

    /// The clock stops; replies to the old session cannot come any more.
    pub(super) fn off_line(&mut self) {
        if self.emission.is_running() {
            self.emission.stop();
            self.show(Event::Online(false));
            // What was under way is lost with the link, which tells nothing of the mixes.
            self.losses = LossTest::new(loss_limits(self.repeat_law().round_trip));
        }
        self.surbs.clear();
    }

    fn misbehaved(&mut self, now: Now) {
        self.entry.close(now.instant, &mut self.rng);
        self.off_line();
    }

    pub(super) fn frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        if self.entry.link != Some(link) {
            return;
        }
        match frame {
            Frame::Hello(Hello::Node {
                version,
                consensus,
                time,
            }) if version == Hello::VERSION && !self.entry.greeted => {
                self.entry.greeted = true;
                if let Some(seconds) = self.clock.heard(now.instant, time) {
                    self.show(Event::Skew { seconds });
                }
                if let Some(peer) = self.entry.peer {
                    self.heard_of(now, consensus, peer);
                }
            }
            Frame::Dummy if self.entry.greeted => {}
            Frame::Reply(reply) if self.entry.greeted => self.reply_frame(now, *reply),
            Frame::DocChunk(part) if self.entry.greeted => self.document_part(now, *part),
            // Anything else has no business on a client's link.
            _ => self.misbehaved(now),
        }
    }

    fn reply_frame(&mut self, now: Now, reply: Reply) {
        if reply.session == self.entry.session {
            self.on_reply(now, reply.surb, &reply.payload);
        } else {
            self.stats.unexpected_replies = self.stats.unexpected_replies.saturating_add(1);
        }
    }

    fn document_part(&mut self, now: Now, part: Part) {
        // A document that is on its way is waited for: a large one takes minutes.
        if let Some(patience) = &mut self.entry.patience {
            *patience = now.instant.after(BOOTSTRAP_PATIENCE);
        }
        match self.entry.assembler.push(part) {
            Ok(None) => {}
            Ok(Some(blob)) => self.document(now, &blob),
            Err(_) => self.misbehaved(now),
        }
    }

    fn document(&mut self, now: Now, blob: &[u8]) {
        match self.follower.offer(now.wall, blob) {
            Ok(Accepted::New(epoch)) => {
                let row = self.follower.to_bytes();
                self.batch.put(Table::Documents, Vec::new(), row);
                let epoch = epoch.number();
                self.show(Event::Consensus { epoch });
            }
            // Documents that are refused are not the link's fault: a provider may lag, or stand on
            // the wrong side of a split, which `status` shows.
            Ok(Accepted::Known) | Err(_) => {}
        }
        self.save_evidence(now);
    }

    /// Shows an equivocation once, and keeps the proof.
    pub(super) fn save_evidence(&mut self, now: Now) {
        if self.follower.evidence().is_some() && !self.equivocation_told {
            self.equivocation_told = true;
            let row = self.follower.to_bytes();
            self.batch.put(Table::Documents, Vec::new(), row);
            self.show(Event::Equivocation);
            // A banner is the person's; with nobody in it is raised when somebody comes.
            if !self.locked {
                self.raise(now, Indicator::TwoDirectories, None);
            }
        }
    }

    /// Judges header and signatures that a `DOC` reply brought.
    pub(super) fn judge(&mut self, now: Now, signed: &[u8]) -> Result<(), Refused> {
        let verdict = self.follower.challenge(signed);
        self.save_evidence(now);
        verdict
    }

    /// Points the dialer at the entry guard, or before there is one at a bootstrap provider drawn
    /// at random, another one after a while without a document.
    pub(super) fn choose_peer(&mut self, now: Now) {
        let guard = self.account.entry.and_then(|id| {
            let node = self.follower.newest()?.node(&id)?;
            Some((id, target(&node.address, node.link)))
        });
        // With a consensus past its grace and a guard that does not answer, another provider is
        // asked for a document; nothing is sent through it.
        let waited = self.entry.patience.is_some_and(|at| at <= now.instant);
        let wanted = self.entry.wanted();
        let elsewhere = wanted.is_some() && wanted != guard.as_ref().map(|(id, _)| *id);
        // The other one has its time too; then it is the guard's turn again.
        let lost = self.usable(now).is_none()
            && match elsewhere {
                true => !waited,
                false => waited && self.entry.connected().is_none(),
            };
        if let Some((id, target)) = guard.filter(|_| !lost) {
            let serving = self.usable(now).is_some() || self.entry.connected().is_some();
            let until = now.instant.after(BOOTSTRAP_PATIENCE);
            self.entry.patience = match self.entry.patience {
                _ if serving => None,
                Some(at) if !elsewhere => Some(at),
                _ => Some(until),
            };
            if self.entry.wanted() != Some(id) {
                self.off_line();
            }
            self.entry.want(id, target);
            return;
        }
        if self.entry.patience.is_some_and(|at| now.instant < at) {
            return;
        }
        self.entry.patience = Some(now.instant.after(BOOTSTRAP_PATIENCE));
        if let Some(provider) = pick_bootstrap(&self.network.providers, &mut self.rng) {
            let target = target(&provider.address, provider.link);
            self.entry.want(provider.id(), target);
        }
    }
}

fn target(address: &str, key: whist_types::LinkKey) -> Target {
    Target {
        address: address.to_owned(),
        key,
        identify: false,
    }
}

fn pick_bootstrap<'a>(
    providers: &'a [Bootstrap],
    rng: &mut impl CryptoRng,
) -> Option<&'a Bootstrap> {
    let count = u64::try_from(providers.len()).ok()?;
    let place = rng.next_u64().checked_rem(count)?;
    providers.get(usize::try_from(place).ok()?)
}
