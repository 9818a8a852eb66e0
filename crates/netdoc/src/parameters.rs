//! Consensus parameters: the same for everybody, voted by the authorities (docs/parameters.md).

use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use whist_types::EpochSchedule;

use crate::Refused;

/// A row of docs/parameters.md as the code has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the field.
    pub name: &'static str,
    /// Default, as text.
    pub default: String,
    /// Value of the local demo, as text.
    pub demo: String,
    /// Smallest value allowed.
    pub min: u64,
    /// Largest value allowed.
    pub max: u64,
}

/// What a field may be: one number or several of one meaning.
trait Value {
    fn numbers(&self) -> Vec<u64>;

    fn text(&self) -> String {
        let numbers: Vec<_> = self.numbers().iter().map(u64::to_string).collect();
        numbers.join(", ")
    }
}

macro_rules! number {
    ($($t:ty),*) => {$(
        impl Value for $t {
            fn numbers(&self) -> Vec<u64> {
                vec![u64::from(*self)]
            }
        }
    )*};
}
number!(bool, u8, u16, u32, u64);

impl<const N: usize> Value for [u32; N] {
    fn numbers(&self) -> Vec<u64> {
        self.iter().copied().map(u64::from).collect()
    }
}

macro_rules! parameters {
    ($(
        $(#[$doc:meta])*
        $name:ident: $t:ty = $default:expr, $demo:expr, $min:literal..=$max:literal;
    )*) => {
        /// Every parameter that the authorities vote on. Units stand last in the names.
        #[derive(
            Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
        )]
        #[serde(deny_unknown_fields, default)]
        pub struct Parameters {
            $($(#[$doc])* pub $name: $t,)*
        }

        impl Default for Parameters {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Parameters {
            /// The values of the network on one machine that `whist-sim demo` runs.
            pub fn demo() -> Self {
                Self { $($name: $demo,)* }
            }

            /// Name, default, demo value and bounds of each parameter, in their order.
            pub fn rows() -> Vec<Row> {
                let (default, demo) = (Self::default(), Self::demo());
                vec![$(Row {
                    name: stringify!($name),
                    default: default.$name.text(),
                    demo: demo.$name.text(),
                    min: $min,
                    max: $max,
                },)*]
            }

            fn check_bounds(&self) -> Result<(), Refused> {
                $(let beyond = |v: &u64| !($min..=$max).contains(v);
                if let Some(bad) = self.$name.numbers().into_iter().find(beyond) {
                    return Err(Refused::bounds(
                        stringify!($name),
                        format!("{bad} is outside of {} to {}", $min, $max),
                    ));
                })*
                Ok(())
            }
        }
    };
}

parameters! {
    /// Length of an epoch. Equals the schedule of network.toml.
    epoch_ms: u64 = 3_600_000, 10_000, 1_000..=604_800_000;
    /// Mean of the exponential delay that a sender draws for each mix.
    delay_mean_ms: u32 = 200, 50, 1..=600_000;
    /// Mean time between two packets of a client, by profile: low, standard, high.
    profile_mean_ms: [u32; 3] = [30_000, 1_000, 250], [100, 100, 100], 10..=3_600_000;
    /// Share of polls among a client's packets, in sixteenths.
    share_poll_16ths: u8 = 8, 8, 1..=14;
    /// Share of sends, in sixteenths.
    share_send_16ths: u8 = 7, 7, 1..=14;
    /// Share of decoys, in sixteenths.
    share_decoy_16ths: u8 = 1, 1, 1..=14;
    /// Downlink slots of a session for each packet of its profile's rate.
    downlink_slots_per_packet: u8 = 2, 2, 2..=16;
    /// Mean time between two loops of a mix: one for each mean delay.
    mix_loop_mean_ms: u32 = 200, 50, 1..=3_600_000;
    /// Layers of mixes in a route.
    layers: u8 = 3, 3, 1..=3;
    /// No node's weight counts for more than this many times the mean of its layer.
    weight_cap_means: u8 = 2, 2, 1..=100;
    /// A mix stays in its layer for this many epochs.
    layer_life_epochs: u32 = 168, 1_000, 1..=100_000;
    /// A Sphinx key is accepted this long before its epoch starts and after it ends.
    key_window_ms: u64 = 120_000, 1_000, 10..=3_600_000;
    /// A consensus may be used for this many epochs after its own.
    grace_epochs: u8 = 2, 2, 1..=24;
    /// Offset at which a provider answers a request, whatever the command.
    request_hold_ms: u32 = 50, 5, 1..=10_000;
    /// Mean of the exponential wait before a client's first poll after it connected.
    first_poll_mean_ms: u32 = 20_000, 200, 1..=3_600_000;
    /// Rare commands wait only when they come later than this after `init`.
    rare_after_ms: u32 = 1_800_000, 1_800_000, 0..=86_400_000;
    /// Mean of the exponential wait of rare commands.
    rare_mean_ms: u32 = 600_000, 1_000, 1..=86_400_000;
    /// Document frames a second on a client's link, extra to the slots.
    doc_frames_per_s: u8 = 8, 8, 1..=100;
    /// Time to live of an item at its mailbox.
    item_ttl_s: u32 = 1_209_600, 1_209_600, 60..=7_776_000;
    /// How long the hash of a deleted item is kept, so that a repeated `PUT` stays idempotent.
    item_hash_ttl_s: u32 = 172_800, 172_800, 60..=7_776_000;
    /// Items a day that an address takes.
    quota_items_per_day: u32 = 2_048, 2_048, 1..=1_000_000;
    /// Items at once that an address takes.
    quota_items_burst: u32 = 8_192, 8_192, 1..=1_000_000;
    /// Means of the exponential waits before each repetition of an unanswered request.
    retransmit_mean_ms: [u32; 6] =
        [10_000, 60_000, 600_000, 3_600_000, 21_600_000, 86_400_000],
        [500, 3_000, 30_000, 180_000, 1_080_000, 4_320_000], 1..=604_800_000;
    /// A delay above this many hundredths of the mean is dropped (the 1 − 1e-12 quantile).
    delay_cap_hundredths: u32 = 2_763, 2_763, 500..=2_763;
    /// Whether the mean delay follows the traffic. Not built yet: `true` is refused.
    adaptive_mixing: bool = false, false, 0..=0;
    /// Adaptive mixing: packets in a mix that it aims at.
    adaptive_pool_target: u32 = 20, 20, 5..=10_000;
    /// Adaptive mixing: the mean falls by at most this share a day.
    adaptive_fall_percent_per_day: u8 = 10, 10, 1..=50;
    /// Adaptive mixing: the mean never falls below this.
    adaptive_floor_ms: u32 = 100, 100, 1..=600_000;
}

/// Names of the profiles in the order of [`Parameters::profile_mean_ms`].
pub const PROFILES: [&str; 3] = ["low", "standard", "high"];

const MS: fn(u32) -> Duration = |ms| Duration::from_millis(u64::from(ms));

impl Parameters {
    /// Refuses values outside of their bounds, or that contradict each other.
    pub fn check(&self) -> Result<(), Refused> {
        self.check_bounds()?;
        let shares = [
            self.share_poll_16ths,
            self.share_send_16ths,
            self.share_decoy_16ths,
        ];
        if shares.iter().copied().map(u32::from).sum::<u32>() != 16 {
            return Err(Refused::bounds(
                "share_poll_16ths",
                "shares do not add up to 16",
            ));
        }
        if self.key_window_ms.saturating_mul(4) > self.epoch_ms {
            return Err(Refused::bounds(
                "key_window_ms",
                "longer than a quarter of an epoch: three keys would be in service",
            ));
        }
        if self.quota_items_burst < self.quota_items_per_day {
            return Err(Refused::bounds(
                "quota_items_burst",
                "below one day's quota",
            ));
        }
        let waits = &self.retransmit_mean_ms;
        if waits.iter().zip(waits.iter().skip(1)).any(|(a, b)| a > b) {
            return Err(Refused::bounds("retransmit_mean_ms", "waits do not grow"));
        }
        Ok(())
    }

    /// The schedule of a network of these parameters.
    pub const fn schedule(&self, genesis_ms: u64) -> EpochSchedule {
        EpochSchedule {
            genesis_ms,
            epoch_ms: self.epoch_ms,
            key_window_ms: self.key_window_ms,
        }
    }

    /// Mean of a mix's delay.
    pub fn delay_mean(&self) -> Duration {
        MS(self.delay_mean_ms)
    }

    /// Delays above this are dropped.
    pub fn delay_cap(&self) -> Duration {
        let hundredths =
            u64::from(self.delay_mean_ms).saturating_mul(u64::from(self.delay_cap_hundredths));
        Duration::from_millis(hundredths.div_ceil(100))
    }

    /// Packets a second of a profile; an unknown profile has the rate of `standard`.
    pub fn rate_per_s(&self, profile: u8) -> f64 {
        1_000.0 / f64::from(self.mean_ms_of(profile))
    }

    /// Mean time between two packets of a profile.
    pub fn profile_mean(&self, profile: u8) -> Duration {
        MS(self.mean_ms_of(profile))
    }

    fn mean_ms_of(&self, profile: u8) -> u32 {
        let [low, standard, high] = self.profile_mean_ms;
        match profile {
            0 => low,
            2 => high,
            _ => standard,
        }
    }

    /// Downlink slots a second of a profile.
    pub fn slots_per_s(&self, profile: u8) -> f64 {
        self.rate_per_s(profile) * f64::from(self.downlink_slots_per_packet)
    }

    /// Loops a second that a mix sends.
    pub fn mix_loops_per_s(&self) -> f64 {
        1_000.0 / f64::from(self.mix_loop_mean_ms)
    }

    /// Offset at which a provider answers.
    pub fn request_hold(&self) -> Duration {
        MS(self.request_hold_ms)
    }

    /// Mean wait before the first poll.
    pub fn first_poll_mean(&self) -> Duration {
        MS(self.first_poll_mean_ms)
    }

    /// After this time since `init`, rare commands wait.
    pub fn rare_after(&self) -> Duration {
        MS(self.rare_after_ms)
    }

    /// Mean wait of rare commands.
    pub fn rare_mean(&self) -> Duration {
        MS(self.rare_mean_ms)
    }

    /// Mean waits before each repetition of an unanswered request.
    pub fn retransmit_means(&self) -> [Duration; 6] {
        self.retransmit_mean_ms.map(MS)
    }

    /// Time between two document frames on a client's link.
    pub fn doc_frame_gap(&self) -> Duration {
        Duration::from_secs(1)
            .checked_div(u32::from(self.doc_frames_per_s))
            .unwrap_or(Duration::from_secs(1))
    }

    /// Time to live of an item.
    pub fn item_ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.item_ttl_s))
    }

    /// How long the hash of a deleted item is kept.
    pub fn item_hash_ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.item_hash_ttl_s))
    }

    /// A copy with another mean delay, and the mix loops that go with it.
    #[must_use]
    pub fn with_delay_mean_ms(mut self, ms: u32) -> Self {
        self.delay_mean_ms = ms;
        self.mix_loop_mean_ms = ms;
        self
    }
}
