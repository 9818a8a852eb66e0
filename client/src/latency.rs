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
    Latency::new(30000, 50, [608, 816, 3453], [1208, 1406, 4466]),
    Latency::new(30000, 100, [610, 820, 3458], [1213, 1411, 4466]),
    Latency::new(30000, 200, [617, 828, 3460], [1221, 1417, 4466]),
    Latency::new(30000, 400, [631, 842, 3465], [1230, 1430, 4495]),
    Latency::new(30000, 1000, [678, 885, 3484], [1275, 1476, 4527]),
    Latency::new(1000, 50, [29, 36, 120], [49, 56, 157]),
    Latency::new(1000, 100, [33, 40, 124], [52, 59, 159]),
    Latency::new(1000, 200, [40, 47, 132], [59, 66, 166]),
    Latency::new(1000, 400, [55, 61, 149], [74, 80, 182]),
    Latency::new(1000, 1000, [98, 103, 209], [117, 123, 244]),
    Latency::new(250, 50, [14, 16, 38], [19, 21, 47]),
    Latency::new(250, 100, [18, 19, 42], [23, 24, 50]),
    Latency::new(250, 200, [25, 26, 52], [30, 31, 60]),
    Latency::new(250, 400, [39, 40, 76], [44, 46, 84]),
    Latency::new(250, 1000, [79, 82, 160], [84, 88, 168]),
];
