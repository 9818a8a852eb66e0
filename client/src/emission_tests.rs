#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "figures of tests"
)]

use super::*;
use crate::outbox::{Job, Outbox, RepeatLaw};
use rand_core::SeedableRng as _;
use whist_netdoc::{Consensus, route, testing};
use whist_types::{Epoch, MailboxAddress, NodeId, Now, Wall};

const TICKS: usize = 100_000;

fn consensus() -> std::sync::Arc<Consensus> {
    let genesis = Wall::from_secs(1_000_000);
    let mut authorities = testing::Authorities::new(1, 4, Parameters::default(), genesis);
    let nodes = testing::entries(3, 5, 4);
    authorities.consensus(Epoch::new(0), nodes).unwrap()
}

/// All that an observer could see of one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    at: Instant,
    class: Class,
    may_poll: bool,
    delays: Vec<Duration>,
    reply_delays: Vec<Duration>,
    mixes: Vec<NodeId>,
    reply: Vec<NodeId>,
}

/// How a scheduler takes its ticks; the two controls break the rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheduler {
    Real,
    SkipsWhenFull,
    SendsAtOnce,
}

/// Runs the clock, the route draws and the outbox, without packets. `busy` puts a text into the
/// outbox now and then, answers come or do not, and the shell wakes at odd times too.
fn run(consensus: &Consensus, busy: bool, scheduler: Scheduler, ticks: usize) -> (Vec<Seen>, u64) {
    let law = Law::new(consensus.parameters(), 1);
    let repeats = RepeatLaw::new(consensus.parameters(), 1);
    let entry = consensus.providers()[0].id;
    let mut emission = Emission::new(Secret::new([7; 32]));
    let mut contents = Rng::from_seed([u8::from(busy); 32]);
    let (mut outbox, mut seen, mut left) = (Outbox::new(), Vec::new(), 0);
    let mut now = Now::default();
    emission.start(now.instant, &law);
    while seen.len() < ticks {
        now.instant = emission.next().unwrap();
        if busy && contents.next_u32() % 4 == 0 {
            let address = MailboxAddress::from_bytes([1; 32]);
            let (item, message) = (
                whist_ratchet::SealedItem::dangerously_restored(whist_ratchet::Item::from_bytes(
                    Box::new([0; 1_536]),
                )),
                None,
            );
            let job = Job::Put {
                address,
                item,
                message,
            };
            if let Ok(id) = outbox.push(now, entry, job, Duration::ZERO) {
                outbox.stored(id);
            }
        }
        let waiting = outbox.due(now.instant).count();
        let tick = match scheduler {
            Scheduler::SendsAtOnce if waiting > 0 => {
                let early = now.instant;
                emission.advance_to(early, &law)
            }
            _ => emission.take(now.instant, &law),
        };
        let Some(mut tick) = tick else { continue };
        if scheduler == Scheduler::SkipsWhenFull && waiting > 0 && tick.number % 2 == 0 {
            continue;
        }
        seen.push(Seen {
            at: tick.at,
            class: tick.class,
            may_poll: tick.may_poll,
            mixes: route::mixes(consensus, &mut tick.forward).unwrap(),
            reply: route::reply(consensus, &entry, &mut tick.reply).unwrap(),
            delays: tick.delays,
            reply_delays: tick.reply_delays,
        });
        if tick.class == Class::Send
            && let Some(id) = outbox.head(now.instant).map(|entry| entry.id)
        {
            left += 1;
            outbox.sent(now.instant, id, &repeats, &mut contents);
            if contents.next_u32() % 5 != 0 {
                outbox.answered(id);
            }
        }
    }
    (seen, left)
}

/// As [`run`] for the scheduler that sends at once: it is woken by what the person does.
fn run_eager(consensus: &Consensus, ticks: usize) -> Vec<Seen> {
    let law = Law::new(consensus.parameters(), 1);
    let mut emission = Emission::new(Secret::new([7; 32]));
    let mut now = Instant::ZERO;
    emission.start(now, &law);
    let mut contents = Rng::from_seed([9; 32]);
    let mut seen = Vec::new();
    while seen.len() < ticks {
        let next = emission.next().unwrap();
        let text = now.after(exponential(Duration::from_secs(4), &mut contents));
        let tick = if text < next {
            now = text;
            emission.advance_to(text, &law)
        } else {
            now = next;
            emission.take(next, &law)
        };
        let Some(mut tick) = tick else { continue };
        seen.push(Seen {
            at: tick.at,
            class: tick.class,
            may_poll: tick.may_poll,
            mixes: route::mixes(consensus, &mut tick.forward).unwrap(),
            reply: Vec::new(),
            delays: tick.delays,
            reply_delays: tick.reply_delays,
        });
    }
    seen
}

/// The Kolmogorov–Smirnov distance of the gaps to Exp(mean), times √n.
fn distance(seen: &[Seen], mean: f64) -> f64 {
    let mut gaps: Vec<f64> = seen
        .windows(2)
        .map(|w| w[1].at.since(w[0].at).as_secs_f64() / mean)
        .collect();
    gaps.sort_by(f64::total_cmp);
    let n = gaps.len() as f64;
    let largest = gaps.iter().enumerate().fold(0.0_f64, |most, (i, gap)| {
        let law = 1.0 - (-gap).exp();
        most.max((law - i as f64 / n).abs())
            .max(((i as f64 + 1.0) / n - law).abs())
    });
    largest * n.sqrt()
}

/// Kolmogorov's distribution leaves 0.1 % above this.
const KS_LIMIT: f64 = 1.95;

#[test]
fn idle_and_busy_clients_of_one_seed_send_the_same_packets_at_the_same_times() {
    let consensus = consensus();
    let (idle, none) = run(&consensus, false, Scheduler::Real, TICKS);
    let (busy, sent) = run(&consensus, true, Scheduler::Real, TICKS);
    assert_eq!(none, 0);
    assert!(sent > 20_000, "{sent} requests left");
    assert_eq!(idle, busy);
    assert!(distance(&idle, 1.0) < KS_LIMIT, "{}", distance(&idle, 1.0));
}

#[test]
fn a_scheduler_that_skips_a_tick_when_its_outbox_is_full_is_found_out() {
    let consensus = consensus();
    let (idle, _) = run(&consensus, false, Scheduler::SkipsWhenFull, 20_000);
    let (busy, _) = run(&consensus, true, Scheduler::SkipsWhenFull, 20_000);
    assert!(distance(&idle, 1.0) < KS_LIMIT);
    assert_ne!(idle, busy);
    assert!(distance(&busy, 1.0) > KS_LIMIT);
}

#[test]
fn a_scheduler_that_sends_at_once_is_found_out() {
    let consensus = consensus();
    let (idle, _) = run(&consensus, false, Scheduler::SendsAtOnce, 20_000);
    let eager = run_eager(&consensus, 20_000);
    let times = |seen: &[Seen]| seen.iter().map(|s| s.at).collect::<Vec<_>>();
    assert_ne!(times(&idle), times(&eager));
    assert!(distance(&eager, 1.0) > KS_LIMIT);
}

#[test]
fn classes_have_their_shares_whatever_waits() {
    let (seen, _) = run(&consensus(), true, Scheduler::Real, TICKS);
    for (class, share) in [(Class::Poll, 8.0), (Class::Send, 7.0), (Class::Decoy, 1.0)] {
        let n = seen.iter().filter(|s| s.class == class).count() as f64;
        let p: f64 = share / 16.0;
        let sigma = (TICKS as f64 * p * (1.0 - p)).sqrt();
        assert!((n - p * TICKS as f64).abs() < 4.0 * sigma, "{class:?} {n}");
    }
}

#[test]
fn delays_are_exponential_at_every_hop() {
    let (seen, _) = run(&consensus(), false, Scheduler::Real, 20_000);
    for hop in 0..4 {
        let mut sum = 0.0;
        for packet in &seen {
            assert_eq!((packet.delays.len(), packet.reply_delays.len()), (4, 3));
            sum += packet.delays[hop].as_secs_f64();
        }
        let mean = sum / seen.len() as f64;
        // Four standard errors.
        assert!(
            (mean - 0.2).abs() < 4.0 * 0.2 / (20_000_f64).sqrt(),
            "{mean}"
        );
    }
}

fn clock() -> (Emission, Law) {
    let law = Law::new(&Parameters::default(), 2);
    (Emission::new(Secret::new([3; 32])), law)
}

#[test]
fn ticks_while_off_line_are_skipped_and_not_made_up_for() {
    let (mut emission, law) = clock();
    emission.start(Instant::ZERO, &law);
    emission.stop();
    let day = Instant::ZERO.after(Duration::from_secs(86_400));
    assert!(emission.take(day, &law).is_none());
    emission.start(day, &law);
    assert!(emission.take(day, &law).is_none());
    assert!(emission.next().unwrap() > day);
}

#[test]
fn a_machine_that_slept_sends_no_burst() {
    let (mut emission, law) = clock();
    emission.start(Instant::ZERO, &law);
    let day = Instant::ZERO.after(Duration::from_secs(86_400));
    assert!(emission.take(day, &law).is_none());
    assert_eq!(emission.skipped(), 1);
    assert!(emission.next().unwrap() > day);
}

#[test]
fn the_law_of_the_gaps_holds_across_sleep() {
    let (mut emission, law) = clock();
    emission.start(Instant::ZERO, &law);
    let (mut now, mut gaps) = (Instant::ZERO, Vec::new());
    for i in 0..40_000_u32 {
        let woken = now;
        now = emission.next().unwrap();
        gaps.push(now.since(woken).as_secs_f64());
        if i % 10 == 0 {
            now = now.after(Duration::from_secs(3));
            assert!(emission.take(now, &law).is_none());
        } else {
            assert!(emission.take(now, &law).is_some());
        }
    }
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    assert!((mean - 0.25).abs() < 4.0 * 0.25 / 200.0, "{mean}");
}

#[test]
fn polls_are_gets_only_after_the_start_offset() {
    let (mut emission, law) = clock();
    emission.start(Instant::ZERO, &law);
    let mut may = Vec::new();
    for _ in 0..2_000 {
        let at = emission.next().unwrap();
        may.push(emission.take(at, &law).unwrap().may_poll);
    }
    let first = may.iter().position(|&m| m).unwrap();
    assert!(first > 0 && may[first..].iter().all(|&m| m));
}

#[test]
fn a_clock_that_was_read_gives_none_of_its_past_and_after_fresh_randomness_none_of_its_future() {
    let (mut emission, law) = clock();
    emission.start(Instant::ZERO, &law);
    let mut past = Vec::new();
    for _ in 0..20 {
        let at = emission.next().unwrap();
        past.push(emission.take(at, &law).unwrap());
    }
    // All that the clock holds, read now.
    let read = |it: &Emission| {
        let mut copy = Emission::new(it.seed.duplicate());
        copy.number = it.number;
        copy.next = it.next;
        copy
    };
    let thief = read(&emission);
    for tick in &past {
        let guess = thief.draw(tick.number, tick.at, &law);
        assert_ne!(guess.delays, tick.delays, "tick {}", tick.number);
    }
    let next = |mut it: Emission| {
        let at = it.next().unwrap();
        it.take(at, &law);
        let at = it.next().unwrap();
        (at, it.take(at, &law).unwrap().delays)
    };
    assert_eq!(
        next(read(&emission)),
        next(read(&emission)),
        "the thief knows what comes"
    );
    let thief = read(&emission);
    emission.refresh(&Secret::new([1; 32]));
    assert_ne!(next(thief), next(emission));
}
