//! Row 16: never a consensus, a layer without a mix, a rate of zero or none: nobody is connected to
//! but who may be, and the program says what is wrong.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use whist_sim::testnet::{Kind, Person, Plan, Testnet, run};

use super::stale::watch;

const USAGE: i32 = 2;
const TIMED_OUT: i32 = 7;
/// What stands in a file instead of a number, and a word of the complaint.
const NO_RATES: [&str; 5] = ["0", "-1", "nan", "0.0", "inf"];
const AUTHORITY_RATES: [&str; 4] = [
    "delay_mean_ms",
    "mix_loop_mean_ms",
    "epoch_ms",
    "doc_frames_per_s",
];

fn addresses(net: &Testnet, kind: Kind) -> BTreeSet<SocketAddr> {
    let names = net.names(kind).into_iter();
    names
        .map(|name| net.proxy(&name).unwrap().address())
        .collect()
}

#[test]
#[ignore = "long: run by .ci/full attacks"]
fn without_a_mix_in_some_layer_there_is_no_consensus_and_nobody_sends_or_connects_elsewhere() {
    let test = async {
        let plan = Plan {
            mixes: 2,
            providers: 3,
            parameters: "epoch_ms = 4000".to_owned(),
            ..Plan::default()
        };
        let mut net = Testnet::start(&plan, &[]).await.unwrap();
        let authorities = addresses(&net, Kind::Authority);
        let providers = addresses(&net, Kind::Provider);
        let mut alice = Person::init(&net, "alice").await.unwrap();
        alice.start().await.unwrap();
        let unsigned = "too few nodes for a network: not signed";
        for name in net.names(Kind::Authority) {
            net.program(&name).unwrap().line(unsigned).await.unwrap();
        }
        let seen = watch(alice.daemon().pid().unwrap()).await;
        assert!(seen.is_subset(&providers), "{seen:?} beyond {providers:?}");
        assert!(!seen.is_empty(), "it tries to get a consensus");
        for name in [Kind::Mix, Kind::Provider]
            .map(|kind| net.names(kind))
            .concat()
        {
            let pid = net.program(&name).unwrap().pid().unwrap();
            let seen = watch(pid).await;
            assert!(
                seen.is_subset(&authorities),
                "{name}: {seen:?} beyond {authorities:?}"
            );
            assert!(!seen.is_empty(), "{name} tries to get a consensus");
        }
        for name in net.names(Kind::Mix) {
            assert_eq!(net.proxy(&name).unwrap().dials(), 0, "{name} was dialled");
        }
        let status = alice.ask(&["status"]).await.unwrap();
        let warnings = status["warnings"].to_string();
        assert!(
            warnings.contains("no consensus yet: nothing is sent"),
            "{status}"
        );
        assert_eq!(status["online"], false, "{status}");
        assert_eq!(
            status["stats"]["sent"]["echo"].as_u64().unwrap_or(0),
            0,
            "{status}"
        );
        let ended = alice
            .run(&["invite", "--wait", "--timeout", "1"])
            .await
            .unwrap();
        assert_eq!(
            (ended.code, ended.stderr.lines().count()),
            (Some(TIMED_OUT), 1),
            "{ended:?}"
        );
    };
    whist_rt::block_on(test).unwrap();
}

#[test]
#[ignore = "long: run by .ci/full attacks"]
fn a_rate_of_zero_or_of_no_number_in_a_file_ends_the_start_before_any_connection() {
    let test = async {
        let plan = Plan {
            mixes: 1,
            providers: 3,
            ..Plan::default()
        };
        let net = Testnet::prepare(&plan, &[]).await.unwrap();
        let changed = net.folder().join("changed.toml");
        let path = changed.display().to_string();
        let mut cases = Vec::new();
        for rate in NO_RATES {
            for (name, program) in [("mix-1", "whist-mix"), ("provider-1", "whist-provider")] {
                let text = std::fs::read_to_string(net.config(name).unwrap()).unwrap();
                let whole = text.replace(
                    &format!("packets_per_s = {}", plan.packets_per_s),
                    &format!("packets_per_s = {rate}"),
                );
                assert_ne!(whole, text);
                cases.push((program, "packets_per_s", whole));
            }
            let text = std::fs::read_to_string(net.config("authority-1").unwrap()).unwrap();
            for key in AUTHORITY_RATES {
                cases.push(("whist-directory", key, format!("{text}{key} = {rate}\n")));
            }
        }
        for (program, key, text) in cases {
            std::fs::write(&changed, &text).unwrap();
            let arguments = ["run", "--config", &path, "--debug-build"];
            let ended = run(&net.binaries().join(program), &arguments)
                .await
                .unwrap();
            assert_eq!(
                ended.stderr.lines().count(),
                1,
                "{program}, {key}: {ended:?}"
            );
            let named = [key, "[parameters]"]
                .iter()
                .any(|word| ended.stderr.contains(word));
            assert!(named, "{program}, {key}: {ended:?}");
            assert_eq!(ended.code, Some(USAGE), "{program}, {key}: {ended:?}");
        }
        // A client has no rate in a file of its own: what it sends by comes from the consensus.
        let nobody = Person::without_vault(net.binaries(), net.folder().path(), "nobody").unwrap();
        let text = std::fs::read_to_string(net.network()).unwrap();
        let bad = net.folder().join("bad-network.toml").display().to_string();
        let epoch = format!("epoch_ms = {}", net.schedule().epoch_ms);
        for rate in NO_RATES {
            let without = text.replace(&epoch, &format!("epoch_ms = {rate}"));
            assert_ne!(without, text);
            std::fs::write(&bad, without).unwrap();
            let ended = nobody.run(&["init", "--network", &bad]).await.unwrap();
            assert_eq!(
                (ended.code, ended.stderr.lines().count()),
                (Some(USAGE), 1),
                "{ended:?}"
            );
        }
        for kind in [Kind::Authority, Kind::Mix, Kind::Provider] {
            for name in net.names(kind) {
                assert_eq!(net.proxy(&name).unwrap().dials(), 0, "{name} was dialled");
            }
        }
    };
    whist_rt::block_on(test).unwrap();
}
