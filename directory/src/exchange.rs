//! What comes on links: greetings, descriptors, signatures, questions for documents, documents.

use whist_link::{DocGet, Frame, Hello, LinkId, Part, split};
use whist_netdoc::{
    Accepted, DESCRIPTOR_BYTES_MAX, Kind, LONE_SIGNATURE_BYTES, Proposal, Refused,
    SignedDescriptor, SignedHeader,
};
use whist_types::{ConsensusHash, Epoch, IdentityKey, Layer, Wall};

use crate::links::{Allowance, Peer, authority_links};
use crate::round::Judged;
use crate::{Authority, Event, Ignored, Record, limits};

type Outcome = Result<(), Ignored>;

impl Authority {
    pub(crate) fn frame(&mut self, link: LinkId, frame: Frame) -> Outcome {
        let Some(peer) = self.peers.get_mut(&link) else {
            return Ok(());
        };
        if !peer.greeted && !matches!(frame, Frame::Hello(_)) {
            return Err(Ignored::Malformed);
        }
        let malformed = |_| Ignored::Malformed;
        match frame {
            Frame::Hello(hello) => self.greeted(link, hello),
            Frame::Dummy => Ok(()),
            Frame::DocGet(get) => self.serve(link, get),
            Frame::Descriptor(part) => match peer.descriptors.push(*part).map_err(malformed)? {
                Some(bytes) => self.descriptor(link, bytes),
                None => Ok(()),
            },
            Frame::Signature(part) => match peer.signatures.push(*part).map_err(malformed)? {
                Some(bytes) => self.signature(link, &bytes),
                None => Ok(()),
            },
            Frame::DocChunk(part) => self.chunk(link, *part),
            Frame::Packet(_) | Frame::Reply(_) | Frame::Vote(_) => Err(Ignored::Malformed),
        }
    }

    fn peer(&mut self, link: LinkId) -> Result<&mut Peer, Ignored> {
        self.peers.get_mut(&link).ok_or(Ignored::Unwanted)
    }

    fn greeted(&mut self, link: LinkId, hello: Hello) -> Outcome {
        let own = self.follower.hash();
        let (window, wall) = (self.trusted.schedule().key_window_ms, self.now.wall);
        let peer = self.peer(link)?;
        let Hello::Node {
            version,
            consensus,
            time,
        } = hello
        else {
            return Err(Ignored::Malformed);
        };
        if peer.greeted || version != Hello::VERSION {
            return Err(Ignored::Malformed);
        }
        peer.greeted = true;
        let Some(authority) = peer.authority else {
            return Ok(());
        };
        let off = time.since(wall).max(wall.since(time));
        if off.as_millis() > u128::from(window) {
            let seconds = off.as_secs();
            self.event(Event::ClockOff { authority, seconds });
        }
        // It may be ahead of us; what is older than ours is refused when it comes.
        if consensus != own && consensus != ConsensusHash::from_bytes([0; 32]) {
            self.ask(link);
        }
        Ok(())
    }

    /// Gives an authority whose link came up what it may have missed.
    pub(crate) fn bring_up_to_date(&mut self, link: LinkId) {
        let bytes = self.pool.bytes_after(self.epoch());
        let descriptors: Vec<_> = bytes.map(<[u8]>::to_vec).collect();
        for bytes in descriptors {
            self.send_blob(link, &bytes, Frame::Descriptor);
        }
        if let Some(round) = self.round.as_ref().filter(|round| round.saved) {
            let signature = round.lone_signature();
            self.send_blob(link, &signature, Frame::Signature);
        }
    }

    fn send_blob(&mut self, link: LinkId, blob: &[u8], frame: fn(Box<Part>) -> Frame) {
        let Some(peer) = self.peers.get_mut(&link) else {
            return;
        };
        for part in split(peer.next_stream(), blob) {
            peer.queue(frame(Box::new(part)));
        }
    }

    fn broadcast(&mut self, except: Option<LinkId>, blob: &[u8], frame: fn(Box<Part>) -> Frame) {
        for link in authority_links(&self.peers) {
            if Some(link) != except {
                self.send_blob(link, blob, frame);
            }
        }
    }

    fn descriptor(&mut self, link: LinkId, bytes: Vec<u8>) -> Outcome {
        let epoch = self.epoch();
        let peer = self.peer(link)?;
        peer.spend(Allowance::Descriptor, epoch)?;
        let (from_authority, key) = (peer.authority.is_some(), peer.key);
        if bytes.len() > DESCRIPTOR_BYTES_MAX {
            return Err(Ignored::Malformed);
        }
        if let Some(held) = self.pool.held(&bytes) {
            // Sent again over a new link: whose it is was checked when it came first.
            let own = Some(held.identity).filter(|_| held.link == key);
            return self.known_as(link, own).and(Err(Ignored::Known));
        }
        let descriptor = SignedDescriptor::parse(&bytes)
            .and_then(|descriptor| descriptor.verify())
            .map_err(why_refused)?;
        if !from_authority && descriptor.link != key {
            return Err(Ignored::NotItsOwn);
        }
        if !self.admitted.contains(&descriptor.identity) {
            return Err(if from_authority {
                Ignored::AdmittedElsewhere
            } else {
                Ignored::NotAdmitted
            });
        }
        if descriptor.link == key {
            self.known_as(link, Some(descriptor.identity))?;
        }
        self.check_epoch(descriptor.epoch, from_authority)?;
        let (of, mix, report) = (descriptor.epoch, descriptor.id(), descriptor.loops.clone());
        self.pool.add(descriptor, bytes.clone())?;
        self.event(Event::Described { epoch: of });
        if report.alarm {
            self.event(Event::LoopAlarm { mix, report });
        }
        self.broadcast(Some(link), &bytes, Frame::Descriptor);
        Ok(())
    }

    /// The link proved by a descriptor whose node it is.
    fn known_as(&mut self, link: LinkId, identity: Option<IdentityKey>) -> Outcome {
        let peer = self.peer(link)?;
        peer.identity = identity.or(peer.identity);
        peer.known |= identity.is_some();
        Ok(())
    }

    /// Whether a link's peer gets documents: an authority, or a node that is admitted, by its
    /// descriptor or by the newest consensus. Everybody else would have a bundle queued on each of
    /// thousands of links for the price of a key.
    pub(crate) fn is_admitted(&self, peer: &Peer) -> bool {
        let listed = || {
            let newest = self.follower.newest()?;
            let node = newest.nodes().iter().find(|node| node.link == peer.key)?;
            Some(node.identity)
        };
        let admitted = |identity| self.admitted.contains(&identity);
        peer.authority.is_some() || peer.identity.or_else(listed).is_some_and(admitted)
    }

    /// Whether a descriptor for `epoch` may still be taken.
    fn check_epoch(&self, epoch: Epoch, from_authority: bool) -> Outcome {
        let current = self.epoch();
        if epoch <= current || epoch > current.plus(limits::EPOCHS_AHEAD) {
            return Err(Ignored::OtherEpoch);
        }
        let closes = if from_authority {
            limits::FIX_PERMILLE
        } else {
            limits::NODES_CLOSE_PERMILLE
        };
        if self.now.wall >= self.before(epoch, closes) {
            return Err(Ignored::Late);
        }
        Ok(())
    }

    /// The document for `epoch` over what is at hand; none where it would be no network.
    pub(crate) fn propose(&self, epoch: Epoch) -> Option<Proposal> {
        let range = self.follower.range()?;
        let descriptors = self.pool.of(epoch);
        let proposal =
            Proposal::from_descriptors(&self.trusted, epoch, &self.parameters, descriptors, range)
                .ok()?;
        let of_kind = |kind| {
            proposal
                .entries()
                .iter()
                .filter(move |n| n.role.kind() == kind)
        };
        let every_layer = (0..self.parameters.layers)
            .map(Layer::new)
            .all(|layer| of_kind(Kind::Mix).any(|mix| mix.role.layer() == Some(layer)));
        let providers = of_kind(Kind::Provider).count();
        (every_layer && providers >= limits::PROVIDERS_MIN).then_some(proposal)
    }

    /// A record is durable. If it is our signature, it may leave.
    pub(crate) fn saved(&mut self, ticket: u64) {
        let Some(round) = self.round.as_mut().filter(|round| round.ticket == ticket) else {
            return;
        };
        round.saved = true;
        let signature = round.lone_signature();
        self.broadcast(None, &signature, Frame::Signature);
        self.try_complete();
    }

    fn signature(&mut self, link: LinkId, bytes: &[u8]) -> Outcome {
        let current = self.epoch();
        let peer = self.peer(link)?;
        let author = peer.authority.ok_or(Ignored::Unwanted)?;
        peer.spend(Allowance::Signature, current)?;
        if bytes.len() != LONE_SIGNATURE_BYTES {
            return Err(Ignored::Malformed);
        }
        let signed = SignedHeader::parse(bytes).map_err(why_refused)?;
        let header = signed.header();
        let (epoch, hash) = (header.epoch, header.hash());
        let [signature] = signed.signatures() else {
            return Err(Ignored::Malformed);
        };
        if signature.index() != author || header.network != self.trusted.network_hash() {
            return Err(Ignored::BadSignature);
        }
        if epoch < current || epoch > current.plus(limits::EPOCHS_AHEAD) {
            return Err(Ignored::OtherEpoch);
        }
        if self.signatures.holds(author, header) {
            return Err(Ignored::Known);
        }
        signature
            .verify(&self.trusted, header)
            .map_err(why_refused)?;
        match self.signatures.add(author, signed)? {
            Judged::New => {}
            Judged::Equivocation(evidence) => {
                let authority = author;
                self.save(Record::Evidence { authority, epoch }, evidence);
                self.event(Event::Equivocation { authority, epoch });
                return Err(Ignored::Equivocates);
            }
        }
        let ours = self
            .round
            .as_ref()
            .filter(|round| round.header.epoch == epoch);
        if ours.is_some_and(|round| round.header.hash() != hash) {
            return Err(Ignored::Disagrees);
        }
        self.try_complete();
        Ok(())
    }

    fn try_complete(&mut self) {
        let quorum = self.trusted.quorum();
        let Some(round) = &self.round else {
            return;
        };
        if self.follower.at(round.header.epoch).is_some() {
            return;
        }
        if let Some(bundle) = round.complete(&self.signatures, quorum) {
            // Our own work: a refusal would be a bug here, and is counted as one.
            if let Err(why) = self.offer(&bundle) {
                self.event(Event::Ignored(why));
            }
        }
    }

    fn serve(&mut self, link: LinkId, get: DocGet) -> Outcome {
        let epoch = self.epoch();
        let peer = self.peer(link)?;
        peer.spend(Allowance::Bundle, epoch)?;
        let peer = self.peers.get(&link).ok_or(Ignored::Unwanted)?;
        if !self.is_admitted(peer) {
            return Err(Ignored::Stranger);
        }
        if peer.has_bundle_waiting() {
            return Err(Ignored::Busy);
        }
        if let Some(bundle) = self.follower.bundle_at(get.epoch, get.leaves_from) {
            self.send_blob(link, &bundle, Frame::DocChunk);
        }
        Ok(())
    }

    fn chunk(&mut self, link: LinkId, part: Part) -> Outcome {
        let peer = self.peer(link)?;
        if !peer.asked {
            return Err(Ignored::Malformed);
        }
        match peer.bundles.push(part) {
            Ok(Some(bundle)) => {
                peer.asked = false;
                self.offer(&bundle)
            }
            Ok(None) => Ok(()),
            Err(_) => Err(Ignored::Malformed),
        }
    }

    fn offer(&mut self, bundle: &[u8]) -> Outcome {
        let split_before = self.follower.evidence().is_some();
        match self.follower.offer(self.now.wall, bundle) {
            Ok(Accepted::Known) => Ok(()),
            Ok(Accepted::New(epoch)) => {
                let chain = self.follower.to_bytes();
                self.save(Record::Chain, chain);
                if let Some(newest) = self.follower.newest() {
                    let (nodes, hash) = (newest.nodes().len(), newest.hash());
                    self.event(Event::Consensus { epoch, nodes, hash });
                }
                Ok(())
            }
            Err(Refused::Equivocation(epoch)) if !split_before => {
                let chain = self.follower.to_bytes();
                self.save(Record::Chain, chain);
                self.event(Event::Split { epoch });
                Err(Ignored::RefusedConsensus)
            }
            Err(_) => Err(Ignored::RefusedConsensus),
        }
    }

    /// When the list for `epoch` is fixed.
    pub fn fixes_at(&self, epoch: Epoch) -> Wall {
        self.before(epoch, limits::FIX_PERMILLE)
    }
}

fn why_refused(refused: Refused) -> Ignored {
    match refused {
        Refused::BadSignature => Ignored::BadSignature,
        _ => Ignored::Malformed,
    }
}
