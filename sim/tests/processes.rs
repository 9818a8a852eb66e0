//! The real programs as processes on loopback, from their TOML files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use whist_link::RECORD_BYTES;
use whist_sim::testnet::{Kind, Person, Plan, Testnet, until};

/// The name of the provider with this id.
fn provider(net: &Testnet, id: &str) -> String {
    let of_id = |name: &String| net.identity(name).unwrap().node_id().to_string() == id;
    let mut names = net.names(Kind::Provider).into_iter();
    names.find(of_id).unwrap()
}

#[test]
fn two_people_talk_over_a_network_of_processes() {
    let test = async {
        let net = Testnet::start(&Plan::default(), &[]).await.unwrap();
        net.ready().await.unwrap();
        for name in net.names(Kind::Mix) {
            // Its own loops pass two other layers and a provider.
            net.reaches(&name, "whist_mix_loop_loss_ratio", 0.0)
                .await
                .unwrap();
        }
        let mut alice = Person::init(&net, "alice").await.unwrap();
        let mut bob = Person::init(&net, "bob").await.unwrap();
        alice.start().await.unwrap();
        bob.start().await.unwrap();
        let invitation = alice.invite("bob").await.unwrap();
        bob.add("alice", &invitation).await.unwrap();

        bob.send("alice", "are you there?").await.unwrap();
        let came = alice.receive().await.unwrap();
        assert_eq!(came, [("bob".to_owned(), "are you there?".to_owned())]);
        alice.send("bob", "nobody knows").await.unwrap();
        let came = bob.receive().await.unwrap();
        assert_eq!(came, [("alice".to_owned(), "nobody knows".to_owned())]);

        // A daemon that was told to end has kept everything.
        alice.stop().await.unwrap();
        bob.send("alice", "while you were away").await.unwrap();
        alice.start().await.unwrap();
        let came = alice.receive().await.unwrap();
        assert_eq!(came, [("bob".to_owned(), "while you were away".to_owned())]);

        // A line that was cut loses nothing but time.
        let status = bob.ask(&["status"]).await.unwrap();
        let entry = provider(&net, status["entry"].as_str().unwrap());
        net.proxy(&entry).unwrap().cut(true);
        bob.daemon().line("off line").await.unwrap();
        net.proxy(&entry).unwrap().cut(false);
        bob.send("alice", "after the cut").await.unwrap();
        let came = alice.receive().await.unwrap();
        assert_eq!(came, [("bob".to_owned(), "after the cut".to_owned())]);

        // What both of them know goes into the keys, at the turn of a conversation.
        let secret = net.folder().path().join("secret");
        std::fs::write(&secret, "the blue door\n").unwrap();
        std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let file = secret.to_str().unwrap();
        for (who, other) in [(&alice, "bob"), (&bob, "alice")] {
            let set = ["contact", "set", other, "--shared-secret-file", file];
            who.ask(&set).await.unwrap();
        }
        for (who, other) in [(&alice, "bob"), (&bob, "alice")] {
            until("the secret to be in use", async || {
                let shown = who.ask(&["contact", "show", other]).await.unwrap();
                (shown["shared_secret"] == "in_use").then_some(())
            })
            .await
            .unwrap();
        }
        bob.send("alice", "under it").await.unwrap();
        let came = alice.receive().await.unwrap();
        assert_eq!(came, [("bob".to_owned(), "under it".to_owned())]);
        assert_eq!(net.recorder().frame_sizes(), [RECORD_BYTES].into());
    };
    whist_rt::block_on(test).unwrap();
}
