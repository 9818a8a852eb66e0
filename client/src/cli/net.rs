//! The network as this client sees it.

use clap::Subcommand;
use serde_json::Value;
use whist_rt::{Exit, Failure};

use super::Context;
use crate::call::Call;

#[derive(Debug, Subcommand)]
pub(super) enum Net {
    /// The network as this client sees it: losses, nodes, what is wrong.
    #[command(after_help = "Examples:
  whist net status                         entry, consensus, latency, cost, losses by segment
  whist net nodes --json
  whist net check                          what is wrong, and what to do
  whist net check --clock-is-wrong         count the entry provider's time on")]
    Net {
        #[command(subcommand)]
        what: Of,
    },
}

/// What is asked of the network.
#[derive(Debug, Subcommand)]
pub(super) enum Of {
    /// Entry provider, consensus, latency, cost, losses by segment.
    #[command(after_help = "Example: whist net status")]
    Status,
    /// List the nodes of the consensus, with what is lost on the way through each.
    #[command(after_help = "Example: whist net nodes --json")]
    Nodes,
    /// Look whether all is as it should be; ends with code 1 if something is not.
    #[command(after_help = "Example: whist net check")]
    Check {
        /// This machine's clock is wrong and cannot be set right: count the provider's time on,
        /// until the daemon ends. Look at another clock before you say so.
        #[arg(long)]
        clock_is_wrong: bool,
    },
}

impl Net {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::Net { what } = self;
        let clock_is_wrong = match what {
            Of::Status => return context.ask(&Call::NetStatus {}),
            Of::Nodes => return context.ask(&Call::NetNodes {}),
            Of::Check { clock_is_wrong } => clock_is_wrong,
        };
        let call = Call::NetCheck { clock_is_wrong };
        let answer = context.get(&call)?;
        context.show(&call, &answer)?;
        let checks = answer.get("checks").and_then(Value::as_array);
        let wrong = |check: &&Value| check.get("ok").and_then(Value::as_bool) != Some(true);
        match checks.map_or(0, |checks| checks.iter().filter(wrong).count()) {
            0 => Ok(()),
            count => Err(Failure::new(
                Exit::Other,
                format!("{count} of these are not as they should be"),
            )),
        }
    }
}
