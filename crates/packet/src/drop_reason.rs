//! Why a packet went no further. The peer sees nothing of it; each reason is a counter.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// Why a packet was dropped: one counter each, and silence to the peer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name as the label of a counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// Not 2,413 bytes. No key was touched.
    WrongSize => "wrong_size",
    /// The shared secret is zero: alpha is of small order.
    LowOrderPoint => "low_order_point",
    /// No accepted key's MAC holds: corrupt, tagged, or meant for another key.
    BadMac => "bad_mac",
    /// A Sphinx format other than 260.
    WrongVersion => "wrong_version",
    /// Under a valid MAC, a hop that is neither a forward hop nor the last.
    BadRouting => "bad_routing",
    /// A delay that no honest sender draws.
    DelayAboveCap => "delay_above_cap",
    /// The last hop's payload fails Sphinx's check: somebody altered it on the way.
    BadPayload => "bad_payload",
    /// A request whose SURB cannot be one, so that there is nobody to answer.
    BadSurb => "bad_surb",
    /// The tag was seen before.
    Replayed => "replayed",
    /// The tag does not fit into the table.
    TableFull => "table_full",
    /// The table's page did not check out; its key has been retired with it.
    TableDamaged => "table_damaged",
    /// No key of an epoch accepted now is in service.
    NoKey => "no_key",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for DropReason {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
