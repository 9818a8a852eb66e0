//! Making `network.toml` from the public parts of authorities and providers.

use std::path::Path;

use serde::Deserialize;
use whist_netdoc::{AuthorityInfo, Bootstrap, NETWORK_VERSION, Network, Parameters, quorum_of};
use whist_rt::{Exit, Failure, config};
use whist_types::{Family, IdentityKey, LinkKey, NodeId};

/// What `whist-provider init` prints; the id may stand beside the key that it is the hash of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    identity: IdentityKey,
    id: Option<NodeId>,
    link: LinkKey,
    address: String,
    family: Family,
}

fn provider(path: &Path) -> Result<Bootstrap, Failure> {
    let provider: Provider = config::load(path)?;
    if provider
        .id
        .is_some_and(|id| id != provider.identity.node_id())
    {
        let text = format!("{}: id is not that of the identity key", path.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(Bootstrap {
        identity: provider.identity,
        link: provider.link,
        address: provider.address,
        family: provider.family,
    })
}

/// A network of these authorities and providers.
pub(crate) fn network<P: AsRef<Path>>(
    authorities: &[P],
    providers: &[P],
    parameters: &Parameters,
    genesis_ms: u64,
) -> Result<Network, Failure> {
    let authorities = authorities
        .iter()
        .map(|path| config::load::<AuthorityInfo>(path.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let providers = providers
        .iter()
        .map(|path| provider(path.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let network = Network {
        version: NETWORK_VERSION,
        quorum: u16::try_from(quorum_of(authorities.len())).unwrap_or(u16::MAX),
        schedule: parameters.schedule(genesis_ms),
        authorities,
        providers,
    };
    network
        .check()
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    Ok(network)
}
