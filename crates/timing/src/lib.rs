#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod erlang;
mod exponential;
mod loss;
mod pool;
mod rate;
mod tick;

pub use chacha20::ChaCha20Rng as Rng;
pub use clock::PoissonClock;
pub use erlang::erlang_quantile;
pub use exponential::{DELAY_CAP_MEANS, MEAN_MIN, delay_cap, exponential};
pub use loss::{LossLimits, LossTest, Tally};
pub use pool::Pool;
pub use rate::{InvalidRate, Rate};
pub use tick::{forget_past, tick_rng};
