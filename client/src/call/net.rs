//! The network as this client sees it: what is lost where, which nodes there are, what is wrong.

use schemars::JsonSchema;
use serde::Serialize;

/// How long a text takes while both are on line with this profile and nothing is lost, in
/// milliseconds: half of them within the first figure, on average the second, 99 of 100 within the
/// third.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Expected {
    /// Until the sender is told that it is stored.
    pub stored_ms: [u32; 3],
    /// Until the recipient has it.
    pub read_ms: [u32; 3],
}

/// What is lost on the way through one part of the network. Every packet crosses every part, so
/// what tells is how its nodes differ.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Segment {
    /// `entry`, `layer 1` and so on, `providers`.
    pub segment: String,
    /// Nodes of it that enough packets crossed to judge them.
    pub judged: usize,
    /// Share lost of the packets through the best of them.
    pub least: Option<f64>,
    /// Share lost of the packets through the worst of them.
    pub most: Option<f64>,
    /// The id of the worst.
    pub worst: Option<String>,
}

/// A node of the consensus.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NodeInfo {
    /// Its id.
    pub node: String,
    /// `mix` or `provider`.
    pub role: &'static str,
    /// The layer of a mix, from 1.
    pub layer: Option<u16>,
    /// Its operator's family.
    pub family: String,
    /// Where it listens.
    pub address: String,
    /// Share of the traffic that it takes, before the cap.
    pub weight: u32,
    /// Packets expected in a mix, sessions of a provider.
    pub load: u32,
    /// Whether it is the own entry provider.
    pub entry: bool,
    /// Whether it hosts the own mailbox.
    pub mailbox: bool,
    /// Packets of ours through it whose fate is known.
    pub packets: u64,
    /// Share of them that did not come back, whoever lost them.
    pub loss: Option<f64>,
}

/// One thing that has to be as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// Which.
    pub check: &'static str,
    /// Whether it is.
    pub ok: bool,
    /// How it is.
    pub what: String,
    /// What to do, if it is not.
    pub advice: Option<&'static str>,
}
