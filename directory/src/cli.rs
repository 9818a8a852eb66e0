//! The program's commands.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use whist_netdoc::{AuthorityInfo, AuthoritySecret, check_address};
use whist_rt::state::StateDir;
use whist_rt::{Exit, Failure, config as toml_file, files, keys, seed, wall};

use crate::config::{Config, parameters};
use crate::{genesis, shell};

/// Name and version of the state folder.
pub(crate) const PROGRAM: &str = "whist-directory";
pub(crate) const STATE_VERSION: u32 = 1;
/// Seed of the signing keys.
pub(crate) const AUTHORITY_KEY: &str = "authority.key";
/// Seed of the link key.
pub(crate) const LINK_KEY: &str = "link.key";
/// The public part, as `network --authority` takes it.
const PUBLIC_PART: &str = "authority.toml";

/// Whist, the directory: an authority that lists nodes and signs the consensus.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

const EXAMPLES: &str = "Examples:
  whist-directory init --config directory.toml > authority-1.toml
  whist-directory network --authority authority-1.toml --authority authority-2.toml \\
      --authority authority-3.toml --authority authority-4.toml \\
      --provider provider-1.toml --provider provider-2.toml --provider provider-3.toml \\
      --out network.toml
  whist-directory run --config directory.toml

Exit codes: 0 ok, 1 other, 2 usage or configuration, 8 refused by policy.";

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the keys of an authority and print its public part.
    Init {
        /// The authority's TOML.
        #[arg(long)]
        config: PathBuf,
    },
    /// Make network.toml from the public parts of authorities and providers.
    Network {
        /// What `whist-directory init` printed, once for each authority.
        #[arg(long = "authority", required = true)]
        authorities: Vec<PathBuf>,
        /// What `whist-provider init` printed, for each provider that clients may begin at.
        #[arg(long = "provider", required = true)]
        providers: Vec<PathBuf>,
        /// Where to write network.toml.
        #[arg(long)]
        out: PathBuf,
        /// Take the schedule of a network on one machine: epochs of ten seconds.
        #[arg(long)]
        demo: bool,
        /// A TOML file of parameters that differ from the defaults (the authorities' [parameters]).
        #[arg(long)]
        parameters: Option<PathBuf>,
        /// When epoch 0 starts, in milliseconds since the Unix epoch; the current epoch by default.
        #[arg(long)]
        genesis_ms: Option<u64>,
    },
    /// Run the authority.
    Run {
        /// The authority's TOML.
        #[arg(long)]
        config: PathBuf,
        /// Run although built with debug assertions, on a test network.
        #[arg(long)]
        debug_build: bool,
    },
}

/// Runs the program with these arguments.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<(), Failure> {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => return print(&error.render().to_string()),
        Err(error) => return Err(usage(&error)),
    };
    match arguments.command {
        Action::Init { config } => init(&toml_file::load(&config)?),
        Action::Network {
            authorities,
            providers,
            out,
            demo,
            parameters: changes,
            genesis_ms,
        } => {
            let changes = match &changes {
                Some(path) => toml_file::load(path)?,
                None => toml::Table::new(),
            };
            let parameters = parameters(demo, &changes)?;
            let now = wall().as_millis();
            let into = now.checked_rem(parameters.epoch_ms).unwrap_or(0);
            let genesis = genesis_ms.unwrap_or(now.saturating_sub(into));
            let network = genesis::network(&authorities, &providers, &parameters, genesis)?;
            files::write_atomic(&out, network.to_toml().as_bytes())?;
            Ok(())
        }
        Action::Run {
            config,
            debug_build,
        } => {
            whist_rt::process::refuse_debug_build(debug_build)?;
            shell::run(toml_file::load(&config)?)
        }
    }
}

/// One line of clap's several.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = lines.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    Failure::new(Exit::Usage, format!("{line}; see --help"))
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(Exit::Other, format!("cannot print: {error}")))
}

/// Makes folder and keys, or refuses where there are some.
fn init(config: &Config) -> Result<(), Failure> {
    check_address(&config.advertise)
        .map_err(|_| Failure::new(Exit::Usage, "advertise: not host:port"))?;
    let state = StateDir::create(&config.state_dir, PROGRAM, STATE_VERSION)?;
    for name in [AUTHORITY_KEY, LINK_KEY] {
        keys::create(&state.file(name), &seed()?)?;
    }
    let public = public_part(state.path(), config)?;
    files::write_atomic(&state.file(PUBLIC_PART), public.as_bytes())?;
    print(&public)
}

fn public_part(state: &Path, config: &Config) -> Result<String, Failure> {
    let secret = AuthoritySecret::from_seed(&keys::read(&state.join(AUTHORITY_KEY))?);
    let link = whist_link::LinkIdentity::from_secret(&keys::read(&state.join(LINK_KEY))?);
    let info = AuthorityInfo {
        ed25519: secret.ed25519(),
        ml_dsa: secret.ml_dsa(),
        link: link.public(),
        address: config.advertise.clone(),
    };
    toml::to_string(&info).map_err(|error| Failure::new(Exit::Other, error.to_string()))
}
