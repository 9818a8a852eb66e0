//! Why an authority cannot start, and why it ignores what came.

use whist_netdoc::Refused;

/// The operator's fault, or a file's: the authority does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `network.toml` does not list this authority's keys.
    #[error("network.toml does not list this authority's keys")]
    NotListed,
    /// The parameters contradict `network.toml`.
    #[error("epoch_ms or key_window_ms is not that of network.toml")]
    OtherSchedule,
    /// A value is out of bounds, or a state file is not what this network signed.
    #[error("{0}")]
    Refused(#[from] Refused),
}

/// Why something that came on a link had no effect. Each has a counter; the peer sees silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// No part, blob or document of this protocol, or a frame that has no place here. Closes.
    Malformed,
    /// The link sent too many of a kind. Closes.
    TooMany,
    /// A client's link, or more links than there may be. Closes.
    Unwanted,
    /// A signature does not verify. Closes.
    BadSignature,
    /// The node's identity key is not admitted here. Closes.
    NotAdmitted,
    /// A descriptor that another node's link sent. Closes.
    NotItsOwn,
    /// After the list was fixed: the node's next descriptor is for the next epoch.
    Late,
    /// For an epoch that is over or too far ahead.
    OtherEpoch,
    /// Held already.
    Known,
    /// An authority signed another header than ours.
    Disagrees,
    /// An authority signed two headers of one epoch: neither counts.
    Equivocates,
    /// A consensus that was refused.
    RefusedConsensus,
    /// Asked for a bundle before it showed by a descriptor that it is admitted.
    Stranger,
    /// Asked for a bundle while one is on its way.
    Busy,
    /// A node that another authority admits and this one does not.
    AdmittedElsewhere,
}

impl Ignored {
    /// All of them, for the counters.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::TooMany,
        Self::Unwanted,
        Self::BadSignature,
        Self::NotAdmitted,
        Self::NotItsOwn,
        Self::Late,
        Self::OtherEpoch,
        Self::Known,
        Self::Disagrees,
        Self::Equivocates,
        Self::RefusedConsensus,
        Self::Stranger,
        Self::Busy,
        Self::AdmittedElsewhere,
    ];

    /// The counter's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
            Self::Unwanted => "unwanted",
            Self::BadSignature => "bad_signature",
            Self::NotAdmitted => "not_admitted",
            Self::NotItsOwn => "not_its_own",
            Self::Late => "late",
            Self::OtherEpoch => "other_epoch",
            Self::Known => "known",
            Self::Disagrees => "disagrees",
            Self::Equivocates => "equivocates",
            Self::RefusedConsensus => "refused_consensus",
            Self::Stranger => "stranger",
            Self::Busy => "busy",
            Self::AdmittedElsewhere => "admitted_elsewhere",
        }
    }

    /// Whether the link is closed for it.
    pub(crate) const fn closes(self) -> bool {
        matches!(
            self,
            Self::Malformed
                | Self::TooMany
                | Self::Unwanted
                | Self::BadSignature
                | Self::NotAdmitted
                | Self::NotItsOwn
        )
    }
}
