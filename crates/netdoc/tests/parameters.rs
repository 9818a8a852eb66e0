//! Reads docs/parameters.md against the code, and tries the bounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_types,
    missing_docs
)]

use std::time::Duration;

use whist_netdoc::{AUTHORITIES_MAX, AUTHORITIES_MIN, Parameters, Refused};

/// Cells of the table rows of a kind.
fn rows(kind: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/parameters.md");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| {
            line.split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .filter(|cells: &Vec<String>| cells.get(1).is_some_and(|cell| cell == kind))
        .collect()
}

#[test]
fn the_documented_consensus_parameters_are_those_of_the_code() {
    let documented = rows("C");
    let code = Parameters::rows();
    assert_eq!(documented.len(), code.len());
    for (cells, row) in documented.iter().zip(code) {
        let [name, _, default, demo, bounds, reason] = cells.as_slice() else {
            panic!("six cells: {cells:?}");
        };
        assert_eq!(*name, format!("`{}`", row.name));
        assert_eq!(*default, row.default, "{name}");
        assert_eq!(*demo, row.demo, "{name}");
        assert_eq!(*bounds, format!("{}–{}", row.min, row.max), "{name}");
        assert!(reason.len() > 20, "{name} has no reason");
    }
}

#[test]
fn the_documented_choices_of_programs_are_the_six_that_there_are() {
    let names: Vec<_> = rows("P")
        .into_iter()
        .map(|cells| cells[0].clone())
        .collect();
    let expected = [
        "entry guard",
        "authorities",
        "adaptive mixing",
        "time until the vault locks itself",
        "Argon2id of a shared secret",
        "Argon2id of the vault",
    ];
    assert_eq!(names, expected);
    let bounds = &rows("P")[1][4];
    assert!(bounds.starts_with(&format!("{AUTHORITIES_MIN}–{AUTHORITIES_MAX},")));
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let p = Parameters::default();
    assert_eq!(p.check(), Ok(()));
    assert_eq!(p.delay_mean(), Duration::from_millis(200));
    assert_eq!(p.delay_cap(), Duration::from_millis(5_526));
    let rates = [0, 1, 2].map(|profile| p.rate_per_s(profile));
    assert!((rates[0] - 1.0 / 30.0).abs() < 1e-12);
    assert_eq!((rates[1], rates[2]), (1.0, 4.0));
    assert_eq!(p.slots_per_s(2), 8.0);
    assert_eq!(p.mix_loops_per_s(), 5.0);
    assert_eq!(p.item_ttl(), Duration::from_secs(14 * 86_400));
    assert_eq!(p.doc_frame_gap(), Duration::from_millis(125));
}

#[test]
fn the_demo_keeps_the_law_of_mix_loops_and_divides_the_waits_by_twenty() {
    let (p, demo) = (Parameters::default(), Parameters::demo());
    assert_eq!(demo.check(), Ok(()));
    assert_eq!(p.mix_loop_mean_ms, p.delay_mean_ms);
    assert_eq!(demo.mix_loop_mean_ms, demo.delay_mean_ms);
    for (a, b) in p.retransmit_means().iter().zip(demo.retransmit_means()) {
        assert_eq!(*a, b * 20);
    }
    assert_eq!([0, 1, 2].map(|profile| demo.rate_per_s(profile)), [10.0; 3]);
}

#[test]
fn every_value_beyond_its_bounds_is_refused() {
    for row in Parameters::rows() {
        for beyond in [row.min.checked_sub(1), row.max.checked_add(1)] {
            let Some(beyond) = beyond else { continue };
            let count = row.default.split(", ").count();
            let value = match (row.name, count) {
                ("adaptive_mixing", _) => "true".to_owned(),
                (_, 1) => beyond.to_string(),
                (_, n) => format!("{:?}", vec![beyond; n]),
            };
            // Either the number does not fit its type, or the check refuses it.
            let parsed: Result<Parameters, _> = toml::from_str(&format!("{} = {value}", row.name));
            if let Ok(parameters) = parsed {
                let refused = parameters.check();
                let named = matches!(&refused, Err(Refused::OutOfBounds { name, .. })
                    if *name == row.name);
                assert!(named, "{} = {value}: {refused:?}", row.name);
            }
        }
    }
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let refused = |change: fn(&mut Parameters)| {
        let mut p = Parameters::default();
        change(&mut p);
        p.check().is_err()
    };
    assert!(refused(|p| p.share_poll_16ths = 7));
    assert!(refused(|p| p.key_window_ms = p.epoch_ms / 4 + 1));
    assert!(refused(|p| p.quota_items_burst = p.quota_items_per_day - 1));
    assert!(refused(|p| p.retransmit_mean_ms[1] = 9_000));
}

#[test]
fn an_unknown_parameter_in_a_file_is_refused() {
    assert!(toml::from_str::<Parameters>("delay_mean_s = 1").is_err());
    let partial: Parameters = toml::from_str("delay_mean_ms = 300").unwrap();
    assert_eq!(partial.delay_mean_ms, 300);
    assert_eq!(partial.layers, 3);
}
