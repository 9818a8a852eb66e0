//! Row 6: when a client sends.

use std::time::Duration;

use whist_link::RECORD_BYTES;
use whist_rt::time;
use whist_sim::testnet::{Kind, Person, Plan, Testnet, until};
use whist_types::Instant;

/// One in a demo.
const MEAN: Duration = Duration::from_millis(100);
const GAPS: usize = 480;
/// Kolmogorov and Smirnov's bound for large samples at a significance of 10^-6. The program draws
/// from the machine's randomness, as it must, so that no seed can be fixed: at a thousandth, one
/// run in a thousand would fail by chance. In return the sample is so large that the largest
/// distance that passes, 2.694/√480 = 0.1230, is under that of 250 gaps at a thousandth,
/// 1.949/√250 = 0.1233, and what is farther away is found more surely: a law whose true distance is
/// 0.25 (gaps twice as long) passes with a probability below 10^-7 (5.5 standard errors of
/// 0.5/√480), where with 250 gaps it was 3·10^-5.
const BOUND: f64 = 2.694;
const STOPPED: Duration = Duration::from_secs(3);
/// One of the gaps is longer by chance with a probability of 10^-6.
const LONGEST: Duration = Duration::from_secs(2);
/// More packets than this in a second come by chance with a probability of 10^-7.
const MOST_A_SECOND: usize = 30;

fn provider(net: &Testnet, id: &serde_json::Value) -> String {
    let of_id = |name: &String| net.identity(name).unwrap().node_id().to_string() == *id;
    net.names(Kind::Provider).into_iter().find(of_id).unwrap()
}

/// When frames of the newest link to a provider passed.
fn sent(net: &Testnet, before: usize, entry: &str) -> Vec<Instant> {
    let flows = net.recorder().flows();
    let flow = flows.iter().skip(before).rfind(|flow| flow.link == entry);
    let up = flow.map(|flow| flow.up.clone()).unwrap_or_default();
    let frames = up
        .into_iter()
        .filter(|(_, record)| record.bytes == RECORD_BYTES);
    frames.map(|(at, _)| at).collect()
}

/// The largest distance between the gaps' distribution and the exponential one.
fn distance(gaps: &[Duration]) -> f64 {
    let mut gaps: Vec<_> = gaps.iter().map(Duration::as_secs_f64).collect();
    gaps.sort_by(f64::total_cmp);
    let count = gaps.len() as f64;
    let law = |gap: f64| 1.0 - (-gap / MEAN.as_secs_f64()).exp();
    let steps = gaps.iter().enumerate().map(|(below, gap)| {
        let (under, over) = (below as f64 / count, (below + 1) as f64 / count);
        (law(*gap) - under).abs().max((over - law(*gap)).abs())
    });
    steps.fold(0.0, f64::max)
}

#[test]
fn gaps_on_a_clients_wire_are_exponential_with_requests_waiting_and_its_provider_stopped() {
    let test = async {
        let plan = Plan {
            mixes: 3,
            providers: 3,
            ..Plan::default()
        };
        let mut net = Testnet::start(&plan, &[]).await.unwrap();
        net.ready().await.unwrap();
        let before = net.recorder().flows().len();
        let mut alice = Person::init(&net, "alice").await.unwrap();
        alice.start().await.unwrap();
        let known = || async {
            let status = alice.ask(&["status"]).await.ok()?;
            let online = status["online"] == true && !status["mailbox_provider"].is_null();
            online.then_some(status)
        };
        let status = until("a mailbox's provider", known).await.unwrap();
        let entry = provider(&net, &status["entry"]);
        // Requests to it are never answered: they wait and are repeated.
        let host = provider(&net, &status["mailbox_provider"]);
        net.program(&host).unwrap().kill().await.unwrap();
        let first = sent(&net, before, &entry).len() + 1;

        let third =
            || async { (sent(&net, before, &entry).len() >= first + GAPS / 3).then_some(()) };
        until("packets on the wire", third).await.unwrap();
        net.program(&entry).unwrap().signal("STOP").await.unwrap();
        time::sleep(STOPPED).await;
        net.program(&entry).unwrap().signal("CONT").await.unwrap();
        let resumed = sent(&net, before, &entry).len();
        let enough = || async { (sent(&net, before, &entry).len() > first + GAPS).then_some(()) };
        until("packets on the wire", enough).await.unwrap();

        let times = sent(&net, before, &entry);
        let gaps: Vec<_> = times[first..]
            .windows(2)
            .map(|two| two[1].since(two[0]))
            .collect();
        let (gaps, longest) = (&gaps[..GAPS], gaps[..GAPS].iter().max().unwrap());
        assert!(*longest < LONGEST, "{longest:?} without a packet");
        let bound = BOUND / (GAPS as f64).sqrt();
        let distance = distance(gaps);
        assert!(distance < bound, "{distance} is over {bound}");
        let burst = times[resumed..].iter();
        let burst = burst.take_while(|at| at.since(times[resumed]) < Duration::from_secs(1));
        assert!(burst.count() <= MOST_A_SECOND, "made up for in a burst");
        let status = alice.ask(&["status"]).await.unwrap();
        assert!(status["outbox"].as_u64().unwrap() > 0, "{status}");
    };
    whist_rt::block_on(test).unwrap();
}
