//! Generators keyed by the number of a tick.

use rand_core::SeedableRng;
use whist_types::Secret;

use crate::Rng;

/// The generator of tick number `tick`: ChaCha20 under BLAKE3 `derive_key` of
/// `seed ‖ label ‖ tick` (32 bytes, the label's bytes, 8 bytes big-endian).
///
/// Whatever is drawn at one tick, and however much, the next tick starts from its own number. An
/// idle and a busy run of one seed therefore agree in everything drawn from these generators.
pub fn tick_rng(seed: &Secret<32>, label: &'static str, tick: u64) -> Rng {
    let mut hasher = blake3::Hasher::new_derive_key("whist 2026 tick rng v1");
    hasher.update(seed.expose());
    hasher.update(label.as_bytes());
    hasher.update(&tick.to_be_bytes());
    Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Puts a generator seeded from `rng`'s own output in its place: whoever reads the memory from now
/// on computes nothing that `rng` gave before. To be called when keys were drawn that will be
/// erased, for a stream cipher's state gives all of its past.
pub fn forget_past(rng: &mut Rng) {
    let seed = Secret::<32>::random(rng);
    *rng = Rng::from_seed(*seed.expose());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand_core::Rng as _;

    use super::*;
    use crate::{erlang_quantile, exponential};

    fn drawn(seed: u8, label: &'static str, tick: u64) -> [u8; 16] {
        let mut out = [0; 16];
        tick_rng(&Secret::new([seed; 32]), label, tick).fill_bytes(&mut out);
        out
    }

    #[test]
    fn seed_label_and_number_each_give_another_generator() {
        let base = drawn(1, "send", 7);
        assert_eq!(base, drawn(1, "send", 7));
        assert_ne!(base, drawn(2, "send", 7));
        assert_ne!(base, drawn(1, "loop", 7));
        assert_ne!(base, drawn(1, "send", 8));
    }

    #[test]
    fn a_generator_that_forgot_its_past_can_not_be_wound_back_to_it() {
        for forgets in [false, true] {
            let mut rng = tick_rng(&Secret::new([1; 32]), "keys", 0);
            let mut key = [0; 32];
            rng.fill_bytes(&mut key);
            if forgets {
                forget_past(&mut rng);
            }
            rng.set_word_pos(0);
            let mut past = [0; 512];
            rng.fill_bytes(&mut past);
            let found = past.windows(32).any(|window| window == key);
            assert_eq!(
                found, !forgets,
                "a stream cipher's state gives all of its past"
            );
        }
    }

    #[test]
    fn one_seed_gives_one_result_on_every_machine() {
        let mut rng = tick_rng(&Secret::new([7; 32]), "known answer", 42);
        let delays: Vec<u128> = (0..4)
            .map(|_| exponential(Duration::from_millis(200), &mut rng).as_nanos())
            .collect();
        let quantile = erlang_quantile(7, Duration::from_millis(200), 0.999).as_nanos();
        assert_eq!(delays, KNOWN_DELAYS);
        assert_eq!(quantile, KNOWN_QUANTILE);
        assert_eq!(drawn(7, "known answer", 42), KNOWN_BYTES);
    }

    const KNOWN_DELAYS: [u128; 4] = [680_505_129, 484_394_450, 225_885_340, 116_169_307];
    const KNOWN_QUANTILE: u128 = 3_612_327_368;
    const KNOWN_BYTES: [u8; 16] = [
        55, 75, 65, 98, 53, 162, 133, 8, 227, 100, 155, 48, 196, 21, 184, 22,
    ];
}
