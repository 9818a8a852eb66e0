//! The options of `whist-sim demo`.

use clap::{Args, value_parser};

/// A whole network on this machine: four authorities, mixes in three layers, four providers and two
/// people who talk over it, with the production code on real loopback sockets.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  whist-sim demo                          20 texts, 10 each way, within a minute
  whist-sim demo --messages 100 --json    one object on the last line, for scripts
  whist-sim demo --keep                   leave the network up and join it as a third person")]
pub struct Options {
    /// Texts in all, half each way.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub messages: usize,
    /// Mixes in each of the three layers.
    #[arg(long, default_value_t = 3, value_name = "M")]
    #[arg(value_parser = value_parser!(u8).range(1..=50))]
    pub mixes_per_layer: u8,
    /// Mean delay at a hop, in milliseconds.
    #[arg(long, default_value_t = 50, value_name = "D")]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub mean_delay_ms: u32,
    /// Packets a second that each client sends.
    #[arg(long, default_value_t = 10, value_name = "R")]
    #[arg(value_parser = value_parser!(u32).range(1..=100))]
    pub rate: u32,
    /// Print one object on the last line.
    #[arg(long)]
    pub json: bool,
    /// Leave the network up until interrupted, and print how a third person joins it.
    #[arg(long)]
    pub keep: bool,
    /// Seed of the experiment's own choices; a fresh one by default.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
}
