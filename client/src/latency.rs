//! The latencies to expect. Made by the simulator, which runs the real send clock; do not edit:
//! `cargo run -p whist-sim -- latency --rust > client/src/latency.rs`. A test makes it again.

/// How long a text takes while both clients are on line and nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Mean time between two packets of both clients.
    pub interval_mean_ms: u32,
    /// Mean delay of a hop.
    pub delay_mean_ms: u32,
    /// Until the sender is told that it is stored: median, mean, 99 of 100; tenths of a second.
    pub stored_ds: [u32; 3],
    /// Until the recipient has it.
    pub read_ds: [u32; 3],
}

impl Latency {
    const fn new(interval_mean_ms: u32, delay_mean_ms: u32, s: [u32; 3], r: [u32; 3]) -> Self {
        Self {
            interval_mean_ms,
            delay_mean_ms,
            stored_ds: s,
            read_ds: r,
        }
    }

    /// The row for these parameters: the next larger mean delay counts where there is none for
    /// exactly this one. `None` where the table says nothing.
    pub fn expected(interval_mean_ms: u32, delay_mean_ms: u32) -> Option<&'static Self> {
        let of = |row: &&Self| row.interval_mean_ms == interval_mean_ms;
        let rows = LATENCIES.iter().filter(of);
        rows.filter(|row| row.delay_mean_ms >= delay_mean_ms)
            .min_by_key(|row| row.delay_mean_ms)
    }
}

/// Profile by profile, by mean delay.
#[rustfmt::skip]
pub const LATENCIES: [Latency; 15] = [
    Latency::new(30000, 50, [608, 813, 3253], [1214, 1410, 4455]),
    Latency::new(30000, 100, [612, 817, 3253], [1219, 1414, 4456]),
    Latency::new(30000, 200, [620, 824, 3271], [1226, 1421, 4457]),
    Latency::new(30000, 400, [635, 839, 3275], [1241, 1435, 4462]),
    Latency::new(30000, 1000, [680, 883, 3338], [1282, 1475, 4488]),
    Latency::new(1000, 50, [29, 36, 119], [49, 55, 157]),
    Latency::new(1000, 100, [33, 39, 123], [52, 59, 162]),
    Latency::new(1000, 200, [40, 47, 131], [60, 66, 171]),
    Latency::new(1000, 400, [55, 61, 146], [74, 81, 185]),
    Latency::new(1000, 1000, [98, 103, 207], [117, 122, 238]),
    Latency::new(250, 50, [14, 16, 36], [19, 21, 46]),
    Latency::new(250, 100, [18, 19, 40], [23, 24, 50]),
    Latency::new(250, 200, [25, 26, 50], [30, 31, 58]),
    Latency::new(250, 400, [39, 40, 73], [44, 46, 81]),
    Latency::new(250, 1000, [79, 82, 156], [84, 87, 165]),
];
