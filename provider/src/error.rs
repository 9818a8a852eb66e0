//! What can keep a provider from starting.

use whist_node::StartError;

use crate::store::StoreFault;

/// Why a provider does not start. All of it is local: what peers do is counted, not returned.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// What any node needs: memory and a store for its keys.
    #[error(transparent)]
    Node(#[from] StartError),
    /// The store of mailboxes does not work.
    #[error(transparent)]
    Store(#[from] StoreFault),
}
