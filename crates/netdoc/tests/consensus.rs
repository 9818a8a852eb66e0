//! What is refused, each with a document that is right but for one thing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use borsh::{BorshDeserialize, BorshSerialize};
use whist_netdoc::testing::{Authorities, entries, entry};
use whist_netdoc::{
    BUNDLE_BYTES_MAX, Bundle, Consensus, Extension, HEADER_BYTES, NodeRole, Parameters, Refused,
    SIGNATURE_BYTES, SignedHeader, quorum_of,
};
use whist_types::{Epoch, Layer, Wall};

const LENGTH: u64 = 10_000;

fn authorities() -> Authorities {
    Authorities::new(7, 4, Parameters::demo(), Wall::default())
}

fn at(epoch: u64) -> Wall {
    Wall::from_millis(epoch * LENGTH + LENGTH / 2)
}

fn verify(authorities: &Authorities, bytes: &[u8], now: Wall) -> Result<Consensus, Refused> {
    Bundle::parse(bytes)?.verify(&authorities.trusted(), now)
}

/// The bundle with public fields, to build what cannot be built.
#[derive(BorshSerialize, BorshDeserialize)]
struct Mirror {
    version: u8,
    signed: Vec<u8>,
    parameters: Vec<u8>,
    nodes: Vec<Vec<u8>>,
    extension: Extension,
}

impl Mirror {
    fn of(bundle: &Bundle) -> Self {
        Self::try_from_slice(&bundle.to_bytes()).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        borsh::to_vec(self).unwrap()
    }
}

fn signed_by(signers: &[u8]) -> (Authorities, Vec<u8>) {
    let a = authorities();
    let proposal = a.propose(Epoch::new(5), entries(3, 2, 3)).unwrap();
    let bundle = proposal.bundle(a.sign(&proposal, signers), Extension::None);
    (a, bundle.to_bytes())
}

#[test]
fn a_quorum_makes_a_consensus_and_one_signature_less_makes_none() {
    let (a, bytes) = signed_by(&[0, 2, 3]);
    let consensus = verify(&a, &bytes, at(5)).unwrap();
    assert_eq!(consensus.epoch(), Epoch::new(5));
    assert_eq!(consensus.mixes(Layer::new(2)).len(), 2);
    assert_eq!(consensus.providers().len(), 3);
    let (a, bytes) = signed_by(&[0, 2]);
    let refused = verify(&a, &bytes, at(5)).unwrap_err();
    assert_eq!(refused, Refused::BelowQuorum { have: 2, need: 3 });
}

#[test]
fn a_quorum_is_more_than_half_of_all_and_the_faulty_ones() {
    let quorums: Vec<_> = [1, 4, 5, 6, 7, 10, 13].map(quorum_of).to_vec();
    assert_eq!(quorums, [1, 3, 4, 4, 5, 7, 9]);
    for n in 4..=31usize {
        let (q, f) = (quorum_of(n), (n - 1) / 3);
        assert!(2 * q > n + f && 2 * (q - 1) <= n + f && q <= n - f);
    }
}

#[test]
fn a_signer_counts_once() {
    let (a, bytes) = signed_by(&[0, 2, 2]);
    let refused = verify(&a, &bytes, at(5)).unwrap_err();
    assert_eq!(refused, Refused::DuplicateSigner(2));
}

#[test]
fn both_signatures_of_each_signer_are_needed() {
    let (a, bytes) = signed_by(&[0, 1, 2]);
    let mirror = Mirror::of(&Bundle::try_from_slice(&bytes).unwrap());
    // One bit in the Ed25519 half, one in the ML-DSA half, of the second signature.
    for offset in [1, 1 + 64 + 100] {
        let mut broken = Mirror::try_from_slice(&mirror.bytes()).unwrap();
        broken.signed[HEADER_BYTES + 1 + SIGNATURE_BYTES + offset] ^= 1;
        let refused = verify(&a, &broken.bytes(), at(5)).unwrap_err();
        assert_eq!(refused, Refused::BadSignature);
    }
}

#[test]
fn a_signature_of_another_epoch_or_of_a_stranger_counts_for_nothing() {
    let a = authorities();
    let five = a.propose(Epoch::new(5), entries(3, 2, 3)).unwrap();
    let six = a.propose(Epoch::new(6), entries(3, 2, 3)).unwrap();
    let mut signatures = a.sign(&five, &[0, 1]);
    signatures.extend(a.sign(&six, &[2]));
    let mixed = five.bundle(signatures, Extension::None).to_bytes();
    assert_eq!(
        verify(&a, &mixed, at(5)).unwrap_err(),
        Refused::BadSignature
    );

    let mut signatures = a.sign(&five, &[0, 1]);
    signatures.push(five.sign(9, a.secret(2).unwrap()));
    let stranger = five.bundle(signatures, Extension::None).to_bytes();
    assert_eq!(
        verify(&a, &stranger, at(5)).unwrap_err(),
        Refused::UnknownAuthority(9)
    );

    let others = Authorities::new(8, 4, Parameters::demo(), Wall::default());
    let (_, bytes) = signed_by(&[0, 1, 2]);
    assert_eq!(
        verify(&others, &bytes, at(5)).unwrap_err(),
        Refused::OtherNetwork
    );
}

#[test]
fn a_document_is_taken_one_epoch_ahead_and_until_its_grace_ends() {
    let (a, bytes) = signed_by(&[0, 1, 2]);
    assert_eq!(verify(&a, &bytes, at(3)).unwrap_err(), Refused::NotYetValid);
    let early = verify(&a, &bytes, at(4)).unwrap();
    assert!(!early.usable(at(4)) && early.usable(Wall::from_millis(5 * LENGTH - 1_000)));
    assert!(verify(&a, &bytes, at(7)).unwrap().usable(at(7)));
    assert_eq!(verify(&a, &bytes, at(8)).unwrap_err(), Refused::Expired);
}

#[test]
fn what_was_not_signed_does_not_pass_with_what_was() {
    let (a, bytes) = signed_by(&[0, 1, 2]);
    let bundle = Bundle::try_from_slice(&bytes).unwrap();
    let nodes = || Refused::NotWhatWasSigned("list of nodes");

    let mut weight = Mirror::of(&bundle);
    let last = weight.nodes[0].len() - 1;
    weight.nodes[0][last] ^= 1;
    assert_eq!(verify(&a, &weight.bytes(), at(5)).unwrap_err(), nodes());
    let mut fewer = Mirror::of(&bundle);
    fewer.nodes.pop();
    assert_eq!(verify(&a, &fewer.bytes(), at(5)).unwrap_err(), nodes());
    let mut swapped = Mirror::of(&bundle);
    swapped.nodes.swap(0, 1);
    assert_eq!(verify(&a, &swapped.bytes(), at(5)).unwrap_err(), nodes());
    let mut parameters = Mirror::of(&bundle);
    parameters.parameters = borsh::to_vec(&Parameters::default()).unwrap();
    let refused = verify(&a, &parameters.bytes(), at(5)).unwrap_err();
    assert_eq!(refused, Refused::NotWhatWasSigned("parameters"));
}

#[test]
fn size_and_trailing_bytes_are_refused_before_anything_else() {
    let (a, mut bytes) = signed_by(&[0, 1, 2]);
    bytes.push(0);
    assert_eq!(
        verify(&a, &bytes, at(5)).unwrap_err(),
        Refused::Malformed("bundle")
    );
    let bomb = vec![0xff; BUNDLE_BYTES_MAX + 1];
    assert_eq!(Bundle::parse(&bomb).unwrap_err(), Refused::TooLarge);
    // Lengths that promise 4 GiB: refused after the bytes that there are.
    assert!(Bundle::parse(&[1, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
    let mut version = Mirror::of(&Bundle::try_from_slice(&signed_by(&[0, 1, 2]).1).unwrap());
    version.version = 2;
    assert_eq!(
        Bundle::parse(&version.bytes()).unwrap_err(),
        Refused::UnknownVersion(2)
    );
}

#[test]
fn honest_authorities_do_not_propose_what_everybody_would_refuse() {
    let a = authorities();
    let propose = |nodes| a.propose(Epoch::new(1), nodes).map(|_| ()).unwrap_err();
    let mix = NodeRole::Mix {
        layer: Layer::new(0),
    };
    let both = vec![entry(1, mix, 1, 10), entry(2, NodeRole::Provider, 1, 10)];
    assert_eq!(
        propose(both),
        Refused::Malformed("family of mixes and providers")
    );
    let deep = NodeRole::Mix {
        layer: Layer::new(3),
    };
    assert_eq!(
        propose(vec![entry(1, deep, 1, 10)]),
        Refused::Malformed("layer")
    );
    assert_eq!(
        propose(vec![entry(1, mix, 1, 0)]),
        Refused::Malformed("weight")
    );
    let twice = vec![entry(1, mix, 1, 10), entry(1, mix, 1, 10)];
    assert_eq!(propose(twice), Refused::Malformed("order of the nodes"));
    let mut renamed = entry(1, mix, 1, 10);
    renamed.id = entry(2, mix, 1, 10).id;
    assert_eq!(propose(vec![renamed]), Refused::Malformed("node id"));
    for address in ["nowhere", "host:0", ":80", "a b:80", "host:99999", "h\n:1"] {
        let mut node = entry(1, mix, 1, 10);
        node.address = address.into();
        assert_eq!(
            propose(vec![node]),
            Refused::Malformed("address"),
            "{address}"
        );
    }
}

#[test]
fn header_and_signatures_of_seven_authorities_stay_under_26_kilobytes() {
    let mut a = Authorities::new(7, 7, Parameters::demo(), Wall::default());
    let proposal = a.propose(Epoch::new(1), entries(3, 2, 3)).unwrap();
    let all = proposal.bundle(a.sign(&proposal, &[0, 1, 2, 3, 4, 5, 6]), Extension::None);
    assert_eq!(
        all.signed_bytes().len(),
        HEADER_BYTES + 1 + 7 * SIGNATURE_BYTES
    );
    assert!(all.signed_bytes().len() < 26_000);
    let signed = SignedHeader::parse(all.signed_bytes()).unwrap();
    assert_eq!(signed.verify(&a.trusted()), Ok(()));
    assert_eq!(proposal.header().to_bytes().len(), HEADER_BYTES);
    assert_eq!(a.network().quorum, 5);
    a.make(Epoch::new(1), entries(3, 2, 3)).unwrap();
}

/// Counts how often the decoder asks for bytes: its work, without a clock.
struct Counting<'a> {
    rest: &'a [u8],
    reads: usize,
}

impl borsh::io::Read for Counting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> borsh::io::Result<usize> {
        self.reads += 1;
        self.rest.read(buf)
    }
}

#[test]
fn twice_the_nodes_take_at_most_two_and_a_half_times_the_work() {
    let work = |mixes| {
        let mut a = authorities();
        let bytes = a
            .make(Epoch::new(1), entries(3, mixes, 3))
            .unwrap()
            .to_bytes();
        let mut counting = Counting {
            rest: &bytes,
            reads: 0,
        };
        Bundle::deserialize_reader(&mut counting).unwrap();
        assert!(verify(&a, &bytes, at(1)).is_ok());
        (bytes.len(), counting.reads)
    };
    let ((small, few), (large, many)) = (work(200), work(403));
    assert!(large as f64 > 1.7 * small as f64);
    assert!((many as f64) < 2.5 * few as f64, "{few} reads, then {many}");
}
