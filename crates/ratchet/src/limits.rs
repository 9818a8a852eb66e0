//! Every number of this crate, with its reason.

// From the specifications (Signal: PQXDH revision 3, Double Ratchet revision 4; FIPS 203).

/// X25519 and Ed25519 keys.
pub(crate) const KEY_BYTES: usize = 32;
/// An ML-KEM-768 encapsulation key (FIPS 203, table 3).
pub(crate) const KEM_KEY_BYTES: usize = 1_184;
/// An ML-KEM-768 ciphertext (FIPS 203, table 3).
pub(crate) const KEM_CIPHERTEXT_BYTES: usize = 1_088;
/// The seed `d ‖ z` of an ML-KEM key pair (FIPS 203, algorithm 16).
pub(crate) const KEM_SEED_BYTES: usize = 64;
/// An Ed25519 signature (RFC 8032).
pub(crate) const SIGNATURE_BYTES: usize = 64;
/// A Poly1305 tag (RFC 8439).
pub(crate) const TAG_BYTES: usize = 16;
/// A ChaCha20-Poly1305 nonce (RFC 8439).
pub(crate) const NONCE_BYTES: usize = 12;
/// An XChaCha20-Poly1305 nonce (draft-irtf-cfrg-xchacha-03).
pub(crate) const XNONCE_BYTES: usize = 24;

// Our choices.

/// Keys of messages that were jumped over and are kept in one chain, and the longest jump that is
/// followed. A day's quota of an address (parameters.md): who loses more than a day in a row has
/// lost the session.
pub const SKIPPED_IN_CHAIN_MAX: u32 = 2_000;
/// Such keys in all chains of a session: five bad days, 400 kB of state. Beyond it the oldest go.
pub const SKIPPED_IN_SESSION_MAX: usize = 10_000;

/// The ratchet's header in the clear: key 32, previous chain's length 4, number 4, epoch 4, number
/// in the epoch 4, fragment's offset 2, acknowledgement 2, devices 2, secrets 2.
pub(crate) const HEADER_BYTES: usize = 56;
/// The header as it is sent.
pub(crate) const SEALED_HEADER_BYTES: usize = HEADER_BYTES + TAG_BYTES;
/// What a ratchet message adds to its plaintext: nonce, sealed header, tag.
pub(crate) const MESSAGE_OVERHEAD: usize = NONCE_BYTES + SEALED_HEADER_BYTES + TAG_BYTES;

/// What stands before the body in a plaintext: format 1, device 1, consensus 32, length 2.
pub(crate) const PLAINTEXT_HEAD_BYTES: usize = 36;
/// Padding that every item but the first keeps free, so that a fragment of the post-quantum ratchet
/// rides even beside the longest body: 30 such items carry a key.
pub const PADDING_MIN: usize = 40;
/// A proof of a shared secret: as hard to hit as any key, and the fragment keeps most of the room.
pub(crate) const PROOF_BYTES: usize = 16;
/// What rides before the fragment while a shared secret is on its way: kind 1, which 2, round 4,
/// proof. 17 bytes stay for the fragment beside the longest body: 70 such items carry a key.
pub(crate) const RIDER_BYTES: usize = 1 + 2 + 4 + PROOF_BYTES;
const _: () = assert!(RIDER_BYTES == 23 && RIDER_BYTES < PADDING_MIN);
/// Wrong claims of the peer that are compared with a shared secret: more than mistyping takes, and
/// too few to guess by. After them the person has to set the secret again.
pub(crate) const WRONG_CLAIMS_MAX: u8 = 3;
/// The plaintext of an ordinary item, padding included.
pub(crate) const PLAINTEXT_BYTES: usize = crate::item::ITEM_BYTES - MESSAGE_OVERHEAD;
/// The longest body of an ordinary item.
pub const BODY_MAX: usize = PLAINTEXT_BYTES - PLAINTEXT_HEAD_BYTES - PADDING_MIN;

/// What the first item holds inside its outer seal.
pub(crate) const FIRST_INNER_BYTES: usize = crate::item::ITEM_BYTES - XNONCE_BYTES - TAG_BYTES;
/// Version, identity, ephemeral key and KEM ciphertext of the first item.
pub(crate) const FIRST_HEAD_BYTES: usize = 1 + KEY_BYTES + KEY_BYTES + KEM_CIPHERTEXT_BYTES;
/// The plaintext of the first item's ratchet message, padding included.
pub(crate) const FIRST_PLAINTEXT_BYTES: usize =
    FIRST_INNER_BYTES - FIRST_HEAD_BYTES - MESSAGE_OVERHEAD;
/// The longest body of a first item.
pub const FIRST_PAYLOAD_MAX: usize = FIRST_PLAINTEXT_BYTES - PLAINTEXT_HEAD_BYTES;

const _: () = assert!(PLAINTEXT_BYTES == 1_436 && BODY_MAX == 1_360);
const _: () = assert!(FIRST_PLAINTEXT_BYTES == 243 && FIRST_PAYLOAD_MAX == 207);
