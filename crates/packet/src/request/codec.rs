//! Requests to bytes and back.

use rand_core::CryptoRng;
use whist_types::{
    ConsensusHash, DropId, Epoch, MailboxAddress, MailboxKey, Reader, Salt16, Truncated, Writer,
};

use super::commands::{
    ADDRESSES_MAX, Add, BLOB_BYTES, Command, Create, Get, ITEM_BYTES, Request, Revoke,
};
use crate::{DropReason, PAYLOAD_BYTES, SURB_BYTES, Surb};

/// The one version of this layout.
pub const REQUEST_VERSION: u8 = 1;
const BODY_BYTES: usize = 1_650;
const SALT_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 32;

const _: () = assert!(1 + 1 + SURB_BYTES + BODY_BYTES == PAYLOAD_BYTES);
const _: () = assert!(32 + ITEM_BYTES <= BODY_BYTES);
const GET_BYTES: usize = 32 + 8 + 8 + 64 + 64 + 4 + 8 + 64;
const _: () = assert!(GET_BYTES == 252);
const CREATE_BYTES: usize = 32 + 8 + ADDRESSES_MAX * SALT_BYTES + 64 + 64;
const _: () = assert!(CREATE_BYTES == 680);
const ADD_BYTES: usize = 32 + 8 + 1 + ADDRESSES_MAX * SALT_BYTES + 64;
const _: () = assert!(ADD_BYTES == 617);
const REVOKE_BYTES: usize = 32 + 8 + 1 + ADDRESSES_MAX * ADDRESS_BYTES + 64;
const _: () = assert!(REVOKE_BYTES == 1_129 && REVOKE_BYTES <= BODY_BYTES);
const _: () = assert!(32 + 64 + BLOB_BYTES == BODY_BYTES);

/// A request that cannot be understood. It has a SURB, and so it is answered like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Another version of the layout.
    #[error("unknown version {0}")]
    Version(u8),
    /// No such command.
    #[error("unknown command {0}")]
    Command(u8),
    /// More addresses than a request has room for.
    #[error("{0} addresses")]
    Count(u8),
    /// Its fields do not fit: cannot happen to a payload of the one size.
    #[error("truncated")]
    Truncated,
}

impl From<Truncated> for BadRequest {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// Encodes a request.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | command ([`Command`]) |
/// | 2 | 396 | SURB of the reply |
/// | 398 | 1,650 | body, by command ([`Request`]); what it leaves unused is random |
pub fn encode_request(
    request: &Request,
    surb: &Surb,
    rng: &mut impl CryptoRng,
) -> Box<[u8; PAYLOAD_BYTES]> {
    let mut payload = Box::new([0; PAYLOAD_BYTES]);
    rng.fill_bytes(&mut *payload);
    let mut w = Writer::with_capacity(PAYLOAD_BYTES);
    w.u8(REQUEST_VERSION).u8(request.command().byte());
    w.put(&surb.to_bytes());
    write_body(&mut w, request, rng);
    for (to, from) in payload.iter_mut().zip(w.into_bytes()) {
        *to = from;
    }
    payload
}

fn write_body(w: &mut Writer, request: &Request, rng: &mut impl CryptoRng) {
    match request {
        Request::Echo => {}
        Request::Put { address, item } => {
            w.put(address.as_bytes()).put(&**item);
        }
        Request::Get(get) => {
            write_get(w, get);
            w.put(&get.signature);
        }
        Request::Create(create) => {
            write_create(w, create);
            w.put(&create.signature);
        }
        Request::Add(add) => {
            let used = write_add(w, add);
            pad(
                w,
                ADDRESSES_MAX
                    .saturating_sub(used)
                    .saturating_mul(SALT_BYTES),
                rng,
            );
            w.put(&add.signature);
        }
        Request::Revoke(revoke) => {
            let used = write_revoke(w, revoke);
            pad(
                w,
                ADDRESSES_MAX
                    .saturating_sub(used)
                    .saturating_mul(ADDRESS_BYTES),
                rng,
            );
            w.put(&revoke.signature);
        }
        Request::Publish { drop, proof, blob } => {
            w.put(drop.as_bytes()).put(proof).put(&**blob);
        }
        Request::Fetch { drop, token_hash } => {
            w.put(drop.as_bytes()).put(token_hash);
        }
        Request::Doc { hash, chunk } => {
            w.put(hash.as_bytes()).u32(*chunk);
        }
    }
}

/// The signed fields of a request, in the order of the wire; nothing for one that is not signed.
pub(super) fn write_signed(w: &mut Writer, request: &Request) {
    match request {
        Request::Get(get) => write_get(w, get),
        Request::Create(create) => write_create(w, create),
        Request::Add(add) => {
            write_add(w, add);
        }
        Request::Revoke(revoke) => {
            write_revoke(w, revoke);
        }
        _ => {}
    }
}

fn write_get(w: &mut Writer, get: &Get) {
    w.put(get.mailbox.as_bytes()).u64(get.epoch.number());
    w.u64(get.acked).put(&get.done).put(&get.held);
    w.u32(get.lease_s).u64(get.wanted);
}

fn write_create(w: &mut Writer, create: &Create) {
    w.put(create.mailbox.as_bytes()).u64(create.epoch.number());
    for salt in &create.salts {
        w.put(salt.as_bytes());
    }
    w.put(&create.proof);
}

fn write_add(w: &mut Writer, add: &Add) -> usize {
    let used = add.salts.len().min(ADDRESSES_MAX);
    w.put(add.mailbox.as_bytes()).u64(add.epoch.number());
    w.u8(u8::try_from(used).unwrap_or(0));
    for salt in add.salts.iter().take(used) {
        w.put(salt.as_bytes());
    }
    used
}

fn write_revoke(w: &mut Writer, revoke: &Revoke) -> usize {
    let used = revoke.addresses.len().min(ADDRESSES_MAX);
    w.put(revoke.mailbox.as_bytes()).u64(revoke.epoch.number());
    w.u8(u8::try_from(used).unwrap_or(0));
    for address in revoke.addresses.iter().take(used) {
        w.put(address.as_bytes());
    }
    used
}

fn pad(w: &mut Writer, len: usize, rng: &mut impl CryptoRng) {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    w.put(&bytes);
}

/// Parses a request: answerable as soon as its SURB parses, whatever the rest is.
///
/// # Errors
/// [`DropReason::BadSurb`]: there is nobody to answer.
pub fn parse_request(
    payload: &[u8; PAYLOAD_BYTES],
) -> Result<(Surb, Result<Request, BadRequest>), DropReason> {
    let mut r = Reader::new(payload);
    let (version, command, surb) = r
        .u8()
        .and_then(|version| Ok((version, r.u8()?, r.array()?)))
        .map_err(|_| DropReason::BadSurb)?;
    let surb = Surb::from_bytes(&surb)?;
    Ok((surb, parse_body(version, command, r)))
}

fn parse_body(version: u8, command: u8, mut r: Reader<'_>) -> Result<Request, BadRequest> {
    if version != REQUEST_VERSION {
        return Err(BadRequest::Version(version));
    }
    Ok(
        match Command::from_byte(command).ok_or(BadRequest::Command(command))? {
            Command::Echo => Request::Echo,
            Command::Put => Request::Put {
                address: MailboxAddress::from_bytes(r.array()?),
                item: Box::new(r.array()?),
            },
            Command::Get => Request::Get(Box::new(parse_get(&mut r)?)),
            Command::Create => Request::Create(Box::new(parse_create(&mut r)?)),
            Command::Add => Request::Add(Box::new(parse_add(&mut r)?)),
            Command::Revoke => Request::Revoke(Box::new(parse_revoke(&mut r)?)),
            Command::Publish => Request::Publish {
                drop: DropId::from_bytes(r.array()?),
                proof: r.array()?,
                blob: Box::new(r.array()?),
            },
            Command::Fetch => Request::Fetch {
                drop: DropId::from_bytes(r.array()?),
                token_hash: r.array()?,
            },
            Command::Doc => Request::Doc {
                hash: ConsensusHash::from_bytes(r.array()?),
                chunk: r.u32()?,
            },
        },
    )
}

fn parse_get(r: &mut Reader<'_>) -> Result<Get, BadRequest> {
    Ok(Get {
        mailbox: MailboxKey::from_bytes(r.array()?),
        epoch: Epoch::new(r.u64()?),
        acked: r.u64()?,
        done: r.array()?,
        held: r.array()?,
        lease_s: r.u32()?,
        wanted: r.u64()?,
        signature: r.array()?,
    })
}

fn parse_create(r: &mut Reader<'_>) -> Result<Create, BadRequest> {
    let mailbox = MailboxKey::from_bytes(r.array()?);
    let epoch = Epoch::new(r.u64()?);
    let mut salts = [Salt16::from_bytes([0; SALT_BYTES]); ADDRESSES_MAX];
    for salt in &mut salts {
        *salt = Salt16::from_bytes(r.array()?);
    }
    Ok(Create {
        mailbox,
        epoch,
        salts,
        proof: r.array()?,
        signature: r.array()?,
    })
}

/// Reads all 32 places and keeps as many as the count says: offsets never depend on it.
fn parse_list<const N: usize, T>(
    r: &mut Reader<'_>,
    make: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, BadRequest> {
    let count = r.u8()?;
    let used = usize::from(count);
    if used > ADDRESSES_MAX {
        return Err(BadRequest::Count(count));
    }
    let mut list = Vec::with_capacity(ADDRESSES_MAX);
    for _ in 0..ADDRESSES_MAX {
        list.push(make(r.array()?));
    }
    list.truncate(used);
    Ok(list)
}

fn parse_add(r: &mut Reader<'_>) -> Result<Add, BadRequest> {
    Ok(Add {
        mailbox: MailboxKey::from_bytes(r.array()?),
        epoch: Epoch::new(r.u64()?),
        salts: parse_list(r, Salt16::from_bytes)?,
        signature: r.array()?,
    })
}

fn parse_revoke(r: &mut Reader<'_>) -> Result<Revoke, BadRequest> {
    Ok(Revoke {
        mailbox: MailboxKey::from_bytes(r.array()?),
        epoch: Epoch::new(r.u64()?),
        addresses: parse_list(r, MailboxAddress::from_bytes)?,
        signature: r.array()?,
    })
}
