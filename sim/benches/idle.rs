//! What an idle client's daemon costs on a real local network: processor time and memory, beside
//! the bars of the design. Prints a table and writes `target/bench/idle.json`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs,
    reason = "a bench ends where something is wrong"
)]

use std::time::Duration;

use whist_rt::time;
use whist_sim::testnet::{Person, Plan, Testnet};

/// At one packet a second: the profile `standard` of the design, and 200 ms mean delay.
const PARAMETERS: &str =
    "delay_mean_ms = 200\nprofile_mean_ms = [1000, 1000, 1000]\nepoch_ms = 10000";
/// Ticks of the kernel's accounting in a second.
const TICKS_PER_S: f64 = 100.0;
const CORE_PERCENT_MAX: f64 = 0.5;
const RESIDENT_MIB_MAX: f64 = 40.0;

/// Seconds that the process has used.
fn used(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_PER_S
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}

fn main() {
    let seconds = std::env::var("WHIST_IDLE_SECONDS").ok();
    let seconds: u64 = seconds.map_or(60, |text| text.parse().unwrap());
    let bench = async {
        let plan = Plan {
            parameters: PARAMETERS.to_owned(),
            ..Plan::default()
        };
        let net = Testnet::start(&plan, &[]).await.unwrap();
        net.ready().await.unwrap();
        let mut alice = Person::init(&net, "alice").await.unwrap();
        alice.start().await.unwrap();
        alice.daemon().line("on line").await.unwrap();
        // The documents and the mailbox, which come once.
        time::sleep(Duration::from_secs(20)).await;
        let pid = alice.daemon().pid().unwrap();
        let before = used(pid);
        time::sleep(Duration::from_secs(seconds)).await;
        let percent = (used(pid) - before) / seconds as f64 * 100.0;
        (percent, resident_mib(pid))
    };
    let (percent, resident) = whist_rt::block_on(bench).unwrap();
    let rows = [
        (
            "idle client, processor",
            percent,
            "% of a core",
            CORE_PERCENT_MAX,
        ),
        ("idle client, resident", resident, "MiB", RESIDENT_MIB_MAX),
    ];
    let mut json = Vec::new();
    println!("{:24} {:>10} {:>12} {:>7}", "", "value", "bar", "ratio");
    for (name, value, unit, bar) in rows {
        println!(
            "{name:24} {value:>10.2} {bar:>12.2} {:>7.2}  {unit}",
            bar / value
        );
        json.push(serde_json::json!({
            "name": name, "value": value, "unit": unit,
            "reference": "the design's bar", "reference_value": bar, "ratio": bar / value,
        }));
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
    std::fs::create_dir_all(folder).unwrap();
    let text = serde_json::to_string(&json).unwrap();
    std::fs::write(format!("{folder}/idle.json"), text).unwrap();
    let over = percent > CORE_PERCENT_MAX || resident > RESIDENT_MIB_MAX;
    std::process::exit(i32::from(over));
}
