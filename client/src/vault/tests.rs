use super::*;
use crate::rows::Table;

pub(super) fn rng(seed: u8) -> Rng {
    Rng::from_seed([seed; 32])
}

pub(super) fn secret(text: &str) -> Credential {
    Credential::from(text.as_bytes())
}

fn open(dir: &tempfile::TempDir, text: &str) -> Result<Vault, VaultError> {
    Vault::open(dir.path(), &secret(text), rng(9))
}

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let by = secret("open sesame");
    let mut vault = Vault::create(dir.path(), &by, Cost::LEAST, rng(1)).unwrap();
    vault.apply(&first_batch()).unwrap();
    dir
}

/// An account with its line, a contact, a long row.
pub(super) fn first_batch() -> Batch {
    let network = whist_netdoc::testing::Authorities::new(
        1,
        4,
        whist_netdoc::Parameters::default(),
        whist_types::Wall::from_secs(1_700_000_000),
    );
    let rows = crate::first_rows(
        network.network(),
        2,
        whist_types::Wall::from_secs(1_700_000_000),
        &mut rng(7),
    );
    let mut batch = Batch::new();
    for (table, key, value) in rows.all() {
        batch.put(table, key.to_vec(), value.to_vec());
    }
    let value = b"canary-value".to_vec();
    batch.put(Table::Contact, b"canary-key".to_vec(), value);
    batch.put(Table::Inbox, vec![7], vec![9; 3_000]);
    batch.put(Table::Documents, Vec::new(), b"documents".to_vec());
    batch
}

#[test]
fn rows_survive_closing_and_opening_and_deleted_ones_do_not_come_back() {
    let dir = filled();
    let mut vault = open(&dir, "open sesame").unwrap();
    let rows = vault.load().unwrap();
    assert_eq!(
        rows.find(Table::Contact, b"canary-key"),
        Some(b"canary-value".as_slice())
    );
    assert_eq!(rows.find(Table::Inbox, &[7]).unwrap().len(), 3_000);
    let count = rows.len();
    let mut batch = Batch::new();
    batch.delete(Table::Inbox, vec![7]);
    vault.apply(&batch).unwrap();
    drop(vault);
    let vault = open(&dir, "open sesame").unwrap();
    assert_eq!(vault.load().unwrap().len(), count - 1);
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_an_existing_vault_is_never_replaced() {
    let dir = filled();
    assert!(matches!(open(&dir, "open sesam"), Err(VaultError::Locked)));
    let again = Vault::create(dir.path(), &secret("x"), Cost::LEAST, rng(2));
    assert!(matches!(again, Err(VaultError::Exists)));
    assert!(open(&dir, "open sesame").is_ok());
}

#[test]
fn neither_keys_nor_values_stand_readable_in_the_files() {
    let dir = filled();
    for file in medium::FILES {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        for canary in [b"canary-key".as_slice(), b"canary-value", &[9; 16]] {
            assert!(!bytes.windows(canary.len()).any(|w| w == canary));
        }
    }
}

fn stored(db: &Database) -> Vec<([u8; 32], Vec<u8>)> {
    let table = db.begin_read().unwrap().open_table(ROWS).unwrap();
    let rows = table.iter().unwrap();
    rows.map(|row| row.unwrap())
        .map(|(key, value)| (*key.value(), value.value().to_vec()))
        .collect()
}

#[test]
fn a_row_that_was_changed_or_moved_to_another_place_is_refused() {
    let dir = filled();
    let write = |db: &Database, key: &[u8; 32], value: &[u8]| {
        let txn = db.begin_write().unwrap();
        txn.open_table(ROWS).unwrap().insert(key, value).unwrap();
        txn.commit().unwrap();
    };
    let vault = open(&dir, "open sesame").unwrap();
    let rows = stored(&vault.db);
    let (first, second) = (&rows[0], &rows[1]);
    write(&vault.db, &first.0, &second.1);
    assert!(matches!(vault.load(), Err(VaultError::Tampered)));
    for place in [3, 10, 40, first.1.len() - 1] {
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
    let least = Cost::LEAST.memory_kib;
    for (memory_kib, passes) in [(1_024, 3), (u32::MAX, 1), (least, 0)] {
        let cost = Cost { memory_kib, passes };
        let derived = cost.derive(&secret("x"), &[0; 32]);
        assert!(matches!(derived, Err(VaultError::Cost)));
    }
}

/// The reference implementation's answer for a secret input, from RFC 9106, section 5.3, has
/// associated data, which Whist does not use; what is checked here is that a key file counts.
#[test]
fn a_key_file_is_part_of_what_opens_the_vault() {
    let key = |byte| Factor::KeyFile(Secret::new([byte; 32]));
    let derive = |by: &Credential| Cost::LEAST.derive(by, &[5; 32]).unwrap();
    let alone = derive(&secret("open sesame"));
    let one = derive(&secret("open sesame").with(key(1)));
    let other = derive(&secret("open sesame").with(key(2)));
    assert!(alone != one && one != other && alone != other);
    assert!(one == derive(&secret("open sesame").with(key(1))));
    let shown = format!("{:?}", secret("open sesame").with(key(1)));
    assert_eq!(shown, "Credential([redacted])");
}

#[test]
fn what_was_deleted_or_replaced_opens_with_no_key_that_still_exists() {
    let dir = filled();
    let mut vault = open(&dir, "open sesame").unwrap();
    let before = stored(&vault.db);
    let shreds = vault.shreds.read().unwrap();
    let opens = |vault: &Vault, shreds: &shreds::Read, row: &([u8; 32], Vec<u8>)| {
        // With every key that there is, not only with the one that the row names.
        (0..4_096).map(Place).any(|place| {
            shreds.key(place).is_some_and(|shred| {
                let sealers = [&vault.person, &vault.line].into_iter().flatten();
                let mut sealers = sealers.map(|s| s.open(&shred, &row.0, &row.1[PLACE_BYTES..]));
                sealers.any(|opened| opened.is_some())
            })
        })
    };
    assert!(before.iter().all(|row| opens(&vault, &shreds, row)));
    let mut batch = Batch::new();
    batch.delete(Table::Inbox, vec![7]);
    batch.put(Table::Contact, b"canary-key".to_vec(), b"other".to_vec());
    vault.apply(&batch).unwrap();
    let shreds = vault.shreds.read().unwrap();
    let gone: Vec<_> = before
        .iter()
        .filter(|row| !opens(&vault, &shreds, row))
        .collect();
    assert_eq!(
        gone.len(),
        2,
        "the deleted one and the replaced one, and no other"
    );
}

#[test]
fn a_locked_vault_keeps_the_rows_of_the_line_and_refuses_the_persons() {
    let dir = filled();
    let mut vault = open(&dir, "open sesame").unwrap();
    let opened = Vault::try_slots(&vault.slots, &secret("open sesame")).unwrap();
    vault.lock();
    assert!(matches!(vault.load(), Err(VaultError::Locked)));
    let mut batch = Batch::new();
    batch.put(Table::Documents, Vec::new(), b"newer".to_vec());
    vault.apply(&batch).unwrap();
    batch.put(Table::Contact, vec![1], vec![1]);
    assert!(matches!(vault.apply(&batch), Err(VaultError::Locked)));
    vault.unlock(opened).unwrap();
    let rows = vault.load().unwrap();
    assert_eq!(rows.find(Table::Documents, &[]), Some(b"newer".as_slice()));
    assert!(rows.find(Table::Contact, &[1]).is_none());
}

#[test]
fn slots_look_alike_whatever_is_in_them() {
    let dir = filled();
    let path = dir.path().join("slots");
    let size = std::fs::metadata(&path).unwrap().len();
    let change = |by: &str| Change::open(dir.path(), &secret(by), rng(3)).unwrap();
    change("open sesame").recovery(&secret("phrase")).unwrap();
    change("open sesame").duress(&secret("duress")).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    // Four of eight are used. Bytes of 4,000 such files, by their place in a slot: a byte that is
    // more often one value in a used slot than in a random one would show.
    let mut counts = vec![[0u32; 256]; 2];
    for seed in 0..120u8 {
        let medium = Medium::new(redb::backends::InMemoryBackend::new());
        let mut rng = rng(seed);
        let slots = Slots::create(medium.clone(), Cost::LEAST, &mut rng).unwrap();
        let keys = Keys::random(&mut rng);
        let place = keys.home(Home::First);
        slots
            .put(place, &Secret::new([seed; 32]), &keys, &mut rng)
            .unwrap();
        let bytes = medium.whole(1_000).unwrap();
        for (number, slot) in bytes[46..].chunks_exact(105).enumerate() {
            let used = usize::from(place == slots::Number::of(number));
            for byte in slot {
                counts[used][usize::from(*byte)] += 1;
            }
        }
    }
    for counts in counts {
        let all: u32 = counts.iter().sum();
        let expected = f64::from(all) / 256.0;
        let square: f64 = counts
            .iter()
            .map(|&n| (f64::from(n) - expected).powi(2) / expected)
            .sum();
        // χ² of 255 degrees of freedom: 390 has a probability below 1e-7; the seeds are fixed.
        assert!(square < 390.0, "{square}");
    }
}

#[test]
fn a_passphrase_is_changed_and_a_recovery_phrase_sets_a_new_one() {
    let dir = filled();
    let change = |by: &str| Change::open(dir.path(), &secret(by), rng(3));
    change("open sesame")
        .unwrap()
        .recovery(&secret("phrase"))
        .unwrap();
    for (old, new) in [("open sesame", "one"), ("one", "two"), ("two", "three")] {
        change(old).unwrap().passphrase(&secret(new)).unwrap();
        assert!(matches!(change(old), Err(VaultError::Locked)), "{old}");
    }
    change("phrase")
        .unwrap()
        .passphrase(&secret("four"))
        .unwrap();
    assert!(matches!(change("three"), Err(VaultError::Locked)));
    let taken = change("four").unwrap().duress(&secret("phrase"));
    assert!(matches!(taken, Err(VaultError::Taken)));
    change("four")
        .unwrap()
        .recovery(&secret("phrase two"))
        .unwrap();
    assert!(matches!(change("phrase"), Err(VaultError::Locked)));
    for secret in ["four", "phrase two"] {
        assert!(open(&dir, secret).unwrap().load().unwrap().len() > 3);
    }
}

#[test]
fn duress_opens_a_decoy_on_the_same_line_and_ends_the_person_for_good() {
    let dir = filled();
    let change = |by: &str| Change::open(dir.path(), &secret(by), rng(3)).unwrap();
    change("open sesame").recovery(&secret("phrase")).unwrap();
    change("open sesame").duress(&secret("duress")).unwrap();
    let real = open(&dir, "open sesame").unwrap().load().unwrap();
    let decoy = open(&dir, "duress").unwrap().load().unwrap();
    for table in [Table::Line, Table::Documents] {
        assert_eq!(decoy.find(table, &[]), real.find(table, &[]), "{table:?}");
    }
    assert_eq!(
        decoy.of(Table::Contact).count() + decoy.of(Table::Inbox).count(),
        0
    );
    assert_ne!(
        decoy.find(Table::Account, &[]),
        real.find(Table::Account, &[])
    );
    for gone in ["open sesame", "phrase"] {
        assert!(
            matches!(open(&dir, gone), Err(VaultError::Locked)),
            "{gone}"
        );
    }
    // From now on it is a vault like any other, and nothing in it says that it was a decoy.
    let mut vault = open(&dir, "duress").unwrap();
    assert!(
        !Vault::try_slots(&vault.slots, &secret("duress"))
            .unwrap()
            .is_duress()
    );
    let mut batch = Batch::new();
    batch.put(Table::Contact, vec![1], vec![1]);
    vault.apply(&batch).unwrap();
    drop(vault);
    change("duress")
        .recovery(&secret("phrase of the decoy"))
        .unwrap();
    change("duress").passphrase(&secret("other")).unwrap();
    for by in ["other", "phrase of the decoy"] {
        assert_eq!(
            open(&dir, by)
                .unwrap()
                .load()
                .unwrap()
                .of(Table::Contact)
                .count(),
            1
        );
    }
}

#[test]
fn a_seized_memory_gives_no_key_of_a_row_that_is_gone() {
    let dir = filled();
    let mut vault = open(&dir, "open sesame").unwrap();
    let mut batch = Batch::new();
    batch.put(Table::Inbox, vec![8], vec![1]);
    batch.delete(Table::Inbox, vec![7]);
    vault.apply(&batch).unwrap();
    assert_eq!(
        vault.rng.get_word_pos(),
        0,
        "there is nothing to wind back to"
    );
    let [mut one, mut other] = [1, 2].map(|fresh| {
        vault.rng = rng(3);
        vault.refresh(&Secret::new([fresh; 32]));
        std::mem::replace(&mut vault.rng, rng(4))
    });
    let drawn = [&mut one, &mut other].map(|rng| *Secret::<32>::random(rng).expose());
    assert_ne!(drawn[0], drawn[1], "nor is known what comes");
}

#[test]
fn a_passphrase_that_is_changed_under_duress_opens_the_decoy_for_good() {
    // In one of two vaults the changed slot stands where the decoy's own one would go.
    for seed in 1..5 {
        let dir = filled();
        let change = |by: &str, seed| Change::open(dir.path(), &secret(by), rng(seed)).unwrap();
        change("open sesame", seed)
            .duress(&secret("duress"))
            .unwrap();
        change("duress", 20 + seed)
            .passphrase(&secret("other"))
            .unwrap();
        for _ in 0..3 {
            let vault = open(&dir, "other").unwrap();
            assert_eq!(vault.load().unwrap().of(Table::Contact).count(), 0);
        }
        for gone in ["open sesame", "duress"] {
            let opened = open(&dir, gone);
            assert!(matches!(opened, Err(VaultError::Locked)), "{gone}");
        }
    }
}

#[test]
fn a_recovery_phrase_that_is_made_under_duress_opens_the_decoy_for_good() {
    let dir = filled();
    let change = |by: &str| Change::open(dir.path(), &secret(by), rng(3));
    change("open sesame")
        .unwrap()
        .duress(&secret("duress"))
        .unwrap();
    // While somebody has the rows, nothing is changed under duress, and the person's key is there.
    let held = open(&dir, "open sesame").unwrap();
    assert!(matches!(change("duress"), Err(VaultError::InUse)));
    assert!(change("open sesame").is_ok(), "without duress it is");
    drop(held);
    change("duress")
        .unwrap()
        .recovery(&secret("phrase"))
        .unwrap();
    for by in ["duress", "phrase", "duress", "phrase"] {
        let vault = open(&dir, by).unwrap();
        assert_eq!(vault.load().unwrap().of(Table::Contact).count(), 0);
    }
    let gone = open(&dir, "open sesame");
    assert!(matches!(gone, Err(VaultError::Locked)));
}

#[test]
fn the_times_of_the_slots_do_not_say_by_which_secret_somebody_came() {
    let dir = filled();
    let change = Change::open(dir.path(), &secret("open sesame"), rng(2)).unwrap();
    change.duress(&secret("duress")).unwrap();
    let path = dir.path().join("slots");
    let old = std::time::SystemTime::UNIX_EPOCH;
    for by in ["open sesame", "duress", "duress"] {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
        drop(file);
        open(&dir, by).unwrap();
        assert_ne!(path.metadata().unwrap().modified().unwrap(), old, "{by}");
    }
}
