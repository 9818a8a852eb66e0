//! What fuzzers call; `cargo test` runs it on a corpus, and on what a generator makes.

use std::sync::OnceLock;

use rand_core::SeedableRng as _;
use whist_netdoc::{Parameters, testing};
use whist_timing::Rng;
use whist_types::{Instant, Now, Secret, Wall};

use crate::client::Client;
use crate::conversation::{Body, Incoming};
use crate::rows::{Rows, Table};
use crate::rpc;

/// A line of the control socket: an answer always, a panic never.
pub fn line(data: &[u8]) {
    match rpc::parse(data) {
        Ok(request) => {
            // What was understood is understood again in the form that we write.
            let again = rpc::parse(rpc::request(1, &request.call).as_bytes());
            assert_eq!(again.map(|again| again.call), Ok(request.call));
        }
        Err((id, error)) => {
            let line = rpc::response(&id, Err::<(), _>(error));
            assert!(rpc::parse_response(line.as_bytes()).is_err());
        }
    }
}

/// Bodies of items, each with a length byte before it, from one contact: what is read has one form,
/// and what is kept stays bounded.
pub fn bodies(data: &[u8]) {
    let mut incoming = Incoming::from(1, &[]);
    let mut rest = data;
    while let Some((&length, tail)) = rest.split_first() {
        let length = usize::from(length).min(tail.len());
        let (body, after) = tail.split_at(length);
        rest = after;
        if let Some(read) = Body::decode(body) {
            assert_eq!(read.encode(), body);
            if let Body::Piece(piece) = read {
                let before = incoming.next();
                let (sequence, loss) = (piece.sequence, piece.loss);
                incoming.lift(sequence, loss);
                incoming.take(piece);
                incoming.lift(sequence, loss);
                assert!(incoming.lost().len() <= 512);
                assert!(incoming.next() >= before);
            }
        }
    }
}

/// The rows of a new client.
fn base() -> &'static Rows {
    static BASE: OnceLock<Rows> = OnceLock::new();
    BASE.get_or_init(|| {
        let parameters = Parameters::default();
        let mut authorities = testing::Authorities::new(1, 4, parameters, Wall::from_secs(1));
        authorities.set_providers(&testing::entries(0, 0, 3));
        let mut rng = Rng::from_seed([1; 32]);
        crate::first_rows(authorities.network(), 1, Wall::from_secs(1), &mut rng)
    })
}

/// Rows of a vault, as they would be after a fault that the vault's seal did not stop: a client or
/// a refusal.
pub fn rows(data: &[u8]) {
    let Some((&which, row)) = data.split_first() else {
        return;
    };
    let mut rows = base().clone();
    let place = usize::from(which).checked_rem(Table::ALL.len());
    let Some(&table) = place.and_then(|place| Table::ALL.get(place)) else {
        return;
    };
    let key = match table {
        Table::Account
        | Table::Mailbox
        | Table::Numbers
        | Table::Documents
        | Table::Own
        | Table::Address => Vec::new(),
        _ => vec![0; 8],
    };
    rows.put(table, key, row.to_vec());
    let now = Now {
        instant: Instant::ZERO,
        wall: Wall::from_secs(1),
    };
    let _ = Client::new(now, &Secret::new([1; 32]), &rows);
}
