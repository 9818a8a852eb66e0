//! What fuzzers call; `cargo test` runs it on a corpus, and on what a generator makes.

use rand_core::SeedableRng as _;
use whist_netdoc::Parameters;
use whist_packet::PAYLOAD_BYTES;
use whist_packet::request::{Add, Create, Get, Revoke};
use whist_timing::Rng;
use whist_types::{
    DropId, Epoch, Instant, MailboxAddress, MailboxKey, NodeId, Reader, Salt16, Wall,
};

use crate::desk::{Desk, Moment, Rules};
use crate::exit::{Asked, Exit};
use crate::store::{Memory, Store, Table};

/// The request path: the first byte says whether the rest is one payload as it comes out of
/// Sphinx, or a run of commands whose signatures are taken for verified. Never panics; what is
/// counted stays equal to what is stored.
pub fn requests(data: &[u8]) {
    let mut rng = Rng::seed_from_u64(1);
    let rules = Rules::new(&Parameters::default(), 50);
    let Ok(mut desk) = Desk::new(Memory::new(), rules, &mut rng) else {
        return;
    };
    let mut at = Moment {
        instant: Instant::ZERO,
        wall: Wall::from_secs(2_000_000_000),
    };
    desk.turn(at);
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    if first % 2 == 0 {
        let mut payload = [0; PAYLOAD_BYTES];
        payload
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        let exit = Exit {
            provider: NodeId::from_bytes([1; 32]),
            epoch: Epoch::new(0),
            follower: None,
        };
        if let Ok((_, Asked::Desk(request))) = exit.read(&payload) {
            desk.serve(at, &request);
        }
        return;
    }
    let mut reader = Reader::new(rest);
    while command(&mut desk, &mut at, &mut reader).is_some() {
        let sync = desk.tickets().begin();
        if let Some(ticket) = sync {
            desk.tickets().ended(ticket, ticket.number() % 7 != 0);
        }
    }
    check(desk);
}

/// One command of the few mailboxes, addresses and drops that a byte can name.
fn command<S: Store>(desk: &mut Desk<S>, at: &mut Moment, r: &mut Reader<'_>) -> Option<()> {
    let (what, who) = (r.u8().ok()?, r.u8().ok()?);
    let mailbox = MailboxKey::from_bytes([who % 4; 32]);
    let salt = |n: u8| Salt16::from_bytes([n % 8; 16]);
    let epoch = Epoch::new(0);
    let signature = [0; 64];
    match what % 8 {
        0 => {
            let create = Create {
                mailbox,
                epoch,
                salts: std::array::from_fn(|n| salt(u8::try_from(n).unwrap_or(0))),
                proof: [0; 64],
                signature,
            };
            desk.create(&create);
        }
        1 => {
            let salts = vec![salt(r.u8().ok()?)];
            desk.add(&Add {
                mailbox,
                epoch,
                salts,
                signature,
            });
        }
        2 => {
            let addresses = vec![mailbox.address(&salt(r.u8().ok()?))];
            desk.revoke(&Revoke {
                mailbox,
                epoch,
                addresses,
                signature,
            });
        }
        3 | 4 => {
            let address: MailboxAddress = mailbox.address(&salt(r.u8().ok()?));
            desk.put(*at, &address, &[r.u8().ok()?; 1536]);
        }
        5 => {
            let get = Get {
                mailbox,
                epoch,
                acked: u64::from(r.u8().ok()?),
                done: [r.u8().ok()?; 64],
                held: [r.u8().ok()?; 64],
                lease_s: u32::from(r.u8().ok()?),
                wanted: u64::from(r.u8().ok()?),
                signature,
            };
            desk.get(*at, &get);
        }
        6 => {
            let drop = DropId::from_bytes([who % 4; 32]);
            desk.publish(&drop, &[who; 1554]);
            desk.fetch(*at, &drop, &[r.u8().ok()?; 32]);
        }
        _ => {
            let hours = u64::from(r.u8().ok()?);
            let passed = std::time::Duration::from_secs(hours.saturating_mul(3_600));
            at.instant = at.instant.after(passed);
            at.wall = at.wall.after(passed);
            desk.turn(*at);
            while desk.has_chores() {
                desk.work();
            }
        }
    }
    Some(())
}

/// What is counted equals what is stored, also for who reads it anew.
fn check(desk: Desk<Memory>) {
    let counted = desk.rows();
    let store = desk.into_store();
    let count = |table| store.count(table).unwrap_or(0);
    // A head stands twice.
    let stored = count(Table::Index) + count(Table::Drop) + count(Table::Head) / 2;
    assert_eq!(counted, stored);
    let rules = Rules::new(&Parameters::default(), 50);
    let again = Desk::new(store, rules, &mut Rng::seed_from_u64(2));
    assert_eq!(again.ok().map(|desk| desk.rows()), Some(counted));
}

#[cfg(test)]
mod tests {
    use rand_core::Rng as _;

    use super::*;

    #[test]
    fn the_request_path_takes_anything() {
        let mut rng = Rng::seed_from_u64(7);
        for round in 0..3_000 {
            let mut data = vec![0; 1 + round % 2_049];
            rng.fill_bytes(&mut data);
            requests(&data);
        }
    }

    #[test]
    fn the_corpus_passes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/requests");
        let mut files = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            requests(&std::fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files >= 4);
    }
}
