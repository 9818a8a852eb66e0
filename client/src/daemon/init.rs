//! `whist init`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand_core::SeedableRng as _;
use whist_netdoc::Network;
use whist_rt::state::StateDir;
use whist_rt::{Exit, Failure, files, in_place, keys};
use whist_timing::Rng;
use zeroize::Zeroizing;

use super::{PROGRAM, STATE_VERSION};
use crate::account::first_rows;
use crate::passphrase;
use crate::rows::Batch;
use crate::vault::{Cost, Credential, Vault, VaultError};

const NETWORK_BYTES_MAX: u64 = 1 << 20;
/// What opening the vault should cost on the machine that made it.
const UNLOCK: Duration = Duration::from_millis(500);

/// What `init` made.
pub struct Made {
    /// The passphrase, for the daemon that is started next.
    pub passphrase: Zeroizing<Vec<u8>>,
    /// Whether what is overwritten in its files is gone, as far as the file system knows.
    pub erases: bool,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made([redacted])")
    }
}

/// `whist init`: makes the home folder and the vault, with network and profile in it. Connects
/// nowhere: the daemon picks guard, mailbox and drops when it has the first consensus.
///
/// # Errors
/// One line and an exit code.
pub fn init(
    home: &Path,
    network: &Path,
    profile: u8,
    passphrase: &passphrase::Source,
) -> Result<Made, Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", network.display()));
    let text = files::read(network, NETWORK_BYTES_MAX)?
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| usage("no such file, or no text".to_owned()))?;
    let network = Network::parse(&text).map_err(|error| usage(error.to_string()))?;
    if home.exists() {
        keys::check_folder(home)?;
    }
    if Vault::is_unfinished(home) {
        let _state = StateDir::open_current(home, PROGRAM, STATE_VERSION)?;
        Vault::finish(home)?;
        return Err(VaultError::Finished.into());
    }
    if !Vault::is_vacant(home) {
        return Err(VaultError::Exists.into());
    }
    let known = passphrase.read(true)?;
    let by = passphrase.joined(Zeroizing::clone(&known), true)?;
    // One that was cut short has its folder already.
    let state = match home.join("version").exists() {
        true => StateDir::open_current(home, PROGRAM, STATE_VERSION)?,
        false => StateDir::create(home, PROGRAM, STATE_VERSION)?,
    };
    let mut rng = Rng::from_seed(*whist_rt::seed()?.expose());
    let rows = first_rows(&network, profile, whist_rt::wall(), &mut rng);
    let mut batch = Batch::new();
    for (table, key, value) in rows.all() {
        batch.put(table, key.to_vec(), value.to_vec());
    }
    drop(Vault::make(state.path(), &by, calibrated()?, &batch, rng)?);
    // What cannot be told is no promise.
    let erases = |file: &PathBuf| in_place::is_kept(file).unwrap_or(false);
    Ok(Made {
        passphrase: known,
        erases: Vault::files(home).iter().all(erases),
    })
}

/// The cost at which this machine takes half a second, and 64 MiB at least.
fn calibrated() -> Result<Cost, Failure> {
    let start = Duration::from_millis(whist_rt::wall().as_millis());
    Cost::LEAST.derive(&Credential::from(b"calibration".as_slice()), &[0; 32])?;
    let end = Duration::from_millis(whist_rt::wall().as_millis());
    let one = end.saturating_sub(start).as_millis().max(1);
    let passes = UNLOCK
        .as_millis()
        .checked_div(one)
        .unwrap_or(1)
        .clamp(1, 16);
    Ok(Cost {
        passes: u32::try_from(passes).unwrap_or(1),
        ..Cost::LEAST
    })
}
