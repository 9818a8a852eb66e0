//! Row 37: key files that are not what they should be, and a second instance.

use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;

use whist_sim::testnet::{Ended, Plan, Testnet, free_port, run};

const OTHER: i32 = 1;
const REFUSED: i32 = 8;
const NOBODY: u32 = 65_534;
const NODES: [(&str, &str, &str); 3] = [
    ("authority-1", "whist-directory", "authority.key"),
    ("mix-1", "whist-mix", "identity.key"),
    ("provider-1", "whist-provider", "identity.key"),
];

#[track_caller]
fn refused(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(
        ended.stderr.contains(words),
        "{words:?} is not in {ended:?}"
    );
    assert_eq!(ended.code, Some(code), "{ended:?}");
}

async fn start(net: &Testnet, program: &str, config: &std::path::Path) -> Ended {
    let (binary, config) = (net.binaries().join(program), config.display().to_string());
    let arguments = ["run", "--config", &config, "--debug-build"];
    run(&binary, &arguments).await.unwrap()
}

/// The same node on ports that are free.
fn elsewhere(net: &Testnet, name: &str) -> PathBuf {
    let mut text = std::fs::read_to_string(net.config(name).unwrap()).unwrap();
    for used in [net.listens(name).unwrap(), net.shows_metrics(name).unwrap()] {
        text = text.replace(&used.to_string(), &free_port().unwrap().to_string());
    }
    let config = net.folder().join(&format!("{name}-again.toml"));
    std::fs::write(&config, text).unwrap();
    config
}

#[test]
fn a_node_refuses_a_key_behind_a_link_or_of_somebody_else_and_a_second_instance() {
    let test = async {
        let plan = Plan {
            mixes: 1,
            providers: 3,
            ..Plan::default()
        };
        let mut net = Testnet::prepare(&plan, &[]).await.unwrap();
        for (name, program, key) in NODES {
            let config = net.config(name).unwrap().to_owned();
            let path = net.state_dir(name).unwrap().join(key);
            let moved = path.with_extension("moved");
            std::fs::rename(&path, &moved).unwrap();
            symlink(&moved, &path).unwrap();
            refused(
                &start(&net, program, &config).await,
                REFUSED,
                "symbolic link",
            );
            std::fs::remove_file(&path).unwrap();
            std::fs::rename(&moved, &path).unwrap();
            // Only root can give a file away.
            if chown(&path, Some(NOBODY), None).is_ok() {
                let mend = format!("{}", path.display());
                let ended = start(&net, program, &config).await;
                refused(&ended, REFUSED, &mend);
                assert!(ended.stderr.contains("chown"), "{ended:?}");
                chown(&path, Some(0), None).unwrap();
            }
            net.restart(name).await.unwrap();
            let again = elsewhere(&net, name);
            refused(
                &start(&net, program, &again).await,
                OTHER,
                "another instance",
            );
            assert!(!net.program(name).unwrap().has_died());
        }
    };
    whist_rt::block_on(test).unwrap();
}
