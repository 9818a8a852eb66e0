use super::*;
use crate::rows::Table;
use rand_core::SeedableRng as _;

fn rng(seed: u8) -> Rng {
    Rng::from_seed([seed; 32])
}

fn filled(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let path = dir.path().join("vault");
    let mut vault = Vault::create(&path, b"open sesame", Cost::LEAST, rng(1)).unwrap();
    let mut batch = Batch::new();
    batch.put(
        Table::Contact,
        b"canary-key".to_vec(),
        b"canary-value".to_vec(),
    );
    batch.put(Table::Inbox, vec![7], vec![9; 3_000]);
    vault.apply(&batch).unwrap();
    path
}

#[test]
fn rows_survive_closing_and_opening_and_deleted_ones_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(&dir);
    let mut vault = Vault::open(&path, b"open sesame", rng(2)).unwrap();
    let rows = vault.load().unwrap();
    assert_eq!(
        rows.find(Table::Contact, b"canary-key"),
        Some(b"canary-value".as_slice())
    );
    assert_eq!(rows.find(Table::Inbox, &[7]).unwrap().len(), 3_000);
    let mut batch = Batch::new();
    batch.delete(Table::Inbox, vec![7]);
    vault.apply(&batch).unwrap();
    drop(vault);
    let vault = Vault::open(&path, b"open sesame", rng(3)).unwrap();
    assert_eq!(vault.load().unwrap().len(), 1);
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_an_existing_vault_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(&dir);
    assert!(matches!(
        Vault::open(&path, b"open sesam", rng(2)),
        Err(VaultError::Locked)
    ));
    assert!(matches!(
        Vault::create(&path, b"x", Cost::LEAST, rng(2)),
        Err(VaultError::Exists)
    ));
    assert!(Vault::open(&path, b"open sesame", rng(2)).is_ok());
}

#[test]
fn neither_keys_nor_values_stand_readable_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(filled(&dir)).unwrap();
    for canary in [b"canary-key".as_slice(), b"canary-value", &[9; 16]] {
        assert!(!bytes.windows(canary.len()).any(|w| w == canary));
    }
}

#[test]
fn a_row_that_was_changed_or_moved_to_another_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(&dir);
    let all = |db: &Database| -> Vec<([u8; 32], Vec<u8>)> {
        let table = db.begin_read().unwrap().open_table(ROWS).unwrap();
        let rows = table.iter().unwrap();
        rows.map(|row| row.unwrap())
            .map(|(key, value)| (*key.value(), value.value().to_vec()))
            .collect()
    };
    let write = |db: &Database, key: &[u8; 32], value: &[u8]| {
        let txn = db.begin_write().unwrap();
        txn.open_table(ROWS).unwrap().insert(key, value).unwrap();
        txn.commit().unwrap();
    };
    let vault = Vault::open(&path, b"open sesame", rng(2)).unwrap();
    let rows = all(&vault.db);
    let (first, second) = (&rows[0], &rows[1]);
    write(&vault.db, &first.0, &second.1);
    assert!(matches!(vault.load(), Err(VaultError::Tampered)));
    for place in [0, 30, first.1.len() - 1] {
        let mut changed = first.1.clone();
        changed[place] ^= 1;
        write(&vault.db, &first.0, &changed);
        assert!(matches!(vault.load(), Err(VaultError::Tampered)));
    }
    write(&vault.db, &first.0, &first.1);
    assert!(vault.load().is_ok());
}

#[test]
fn a_header_that_asks_for_a_cheap_or_an_endless_key_is_refused() {
    for (memory_kib, passes) in [(1_024, 3), (u32::MAX, 1), (ARGON2_MEMORY_KIB_MIN, 0)] {
        let cost = Cost { memory_kib, passes };
        assert!(matches!(cost.derive(b"x", &[0; 32]), Err(VaultError::Cost)));
    }
}

#[test]
fn rows_of_one_bucket_have_one_size_on_disk() {
    let mut sealer = Sealer::new(&Secret::new([1; 32]), rng(4));
    let size = |sealer: &mut Sealer, n: usize| {
        let name = sealer.blind(Table::Message, &[1]);
        sealer.seal(&name, Table::Message, &[1], &vec![0; n]).len()
    };
    assert_eq!(size(&mut sealer, 1), size(&mut sealer, 100));
    assert_eq!(size(&mut sealer, 1_600), size(&mut sealer, 1_200));
    assert_eq!(size(&mut sealer, 5_000), size(&mut sealer, 8_000));
}
