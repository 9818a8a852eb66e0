//! Waiting for events, each with a limit.

use std::future::Future;
use std::time::Duration;

use whist_rt::time;

/// Nothing in a test network takes longer, not even on a machine that compiles at the same time.
pub const LIMIT: Duration = Duration::from_secs(90);

/// How often something that cannot tell by itself is asked again.
const ASK: Duration = Duration::from_millis(25);

/// Something in the test network did not go as it should: one text for whoever reads the test.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

impl Fault {
    /// A fault with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Waits for `event`, at most `limit`; `what` says what did not come.
///
/// # Errors
/// [`Fault`] when the limit has passed.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    event: impl Future<Output = T>,
) -> Result<T, Fault> {
    time::timeout(limit, event)
        .await
        .map_err(|_| Fault(format!("{what}: did not happen within {limit:?}")))
}

/// Asks `probe` until it gives something, at most for [`LIMIT`].
///
/// # Errors
/// [`Fault`] when the limit has passed.
pub async fn until<T, F>(what: &str, mut probe: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        let mut ticks = time::interval(ASK);
        loop {
            ticks.tick().await;
            if let Some(found) = probe().await {
                return found;
            }
        }
    };
    within(LIMIT, what, asking).await
}
