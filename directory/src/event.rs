//! What an authority is told and what it wants done.

use std::collections::BTreeSet;

use whist_netdoc::LoopReport;
use whist_types::{ConsensusHash, Epoch, IdentityKey, NodeId};

use crate::Ignored;

/// What a shell tells the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// What [`Effect::Save`] named is durable.
    Saved {
        /// The ticket of the effect.
        ticket: u64,
    },
    /// The list of admitted identity keys was read again.
    Admit(BTreeSet<IdentityKey>),
}

/// What the authority wants of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Replace a record on disk, durably, then answer with [`Command::Saved`]. Records of one name
    /// are written in the order of their tickets.
    Save {
        /// Names this write.
        ticket: u64,
        /// Which record.
        record: Record,
        /// Its new contents.
        bytes: Vec<u8>,
    },
    /// Something that an operator may want to know.
    Event(Event),
}

/// What is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// The document that this authority signed last. Written before its signature leaves, so that
    /// it signs one document an epoch whatever happens to the process.
    Signed,
    /// The chain of consensuses.
    Chain,
    /// Two headers of one epoch that one authority signed.
    Evidence {
        /// Its place in the network's list.
        authority: u8,
        /// The epoch.
        epoch: Epoch,
    },
}

impl Record {
    /// The file that holds it.
    pub fn file_name(&self) -> String {
        match self {
            Self::Signed => "signed".to_owned(),
            Self::Chain => "chain".to_owned(),
            Self::Evidence { authority, epoch } => format!("evidence-{epoch}-{authority}"),
        }
    }
}

/// What an operator may want to know. Operators' nodes are public; nothing here concerns a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node's descriptor was taken.
    Described {
        /// For which epoch.
        epoch: Epoch,
    },
    /// A mix's descriptor says that its loops were missing in a row.
    LoopAlarm {
        /// Whose.
        mix: NodeId,
        /// What it says, where the most were lost.
        report: LoopReport,
    },
    /// Something that came had no effect.
    Ignored(Ignored),
    /// This authority fixed its list and signed.
    Signed {
        /// For which epoch.
        epoch: Epoch,
        /// Nodes listed.
        nodes: usize,
        /// The hash of the consensus.
        hash: ConsensusHash,
    },
    /// The list is too short for a network: nothing was signed.
    TooFewNodes {
        /// For which epoch.
        epoch: Epoch,
        /// Descriptors at hand.
        descriptors: usize,
    },
    /// A consensus is there.
    Consensus {
        /// Its epoch.
        epoch: Epoch,
        /// Nodes listed.
        nodes: usize,
        /// Its hash.
        hash: ConsensusHash,
    },
    /// An epoch started without its consensus.
    NoConsensus {
        /// The epoch.
        epoch: Epoch,
        /// Signatures over our header.
        signatures: usize,
    },
    /// An authority signed two headers of one epoch; the evidence is saved.
    Equivocation {
        /// Its place in the network's list.
        authority: u8,
        /// The epoch.
        epoch: Epoch,
    },
    /// Two headers of one epoch have the quorum. This authority takes and makes nothing more.
    Split {
        /// The epoch.
        epoch: Epoch,
    },
    /// Another authority's clock and ours differ by more than a key window.
    ClockOff {
        /// Its place in the network's list.
        authority: u8,
        /// By how much.
        seconds: u64,
    },
}
