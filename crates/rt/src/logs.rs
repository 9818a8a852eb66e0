//! Logs: to stderr, without colours, times in whole seconds.
//!
//! What may stand in them is the caller's care (`Sensitive`, style.md 11); this module keeps the
//! clock coarse, since a fine one in a log is a record of traffic.

use std::fmt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::RtError;
use crate::clock::wall;

/// Starts logging at `filter`, for example `info` or `warn,whist_mix=debug`.
///
/// # Errors
/// If the filter does not parse. A second start is no error: the first one stays.
pub fn init(filter: &str) -> Result<(), RtError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|_| RtError::Config(format!("`{filter}` is not a log filter")))?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(WholeSeconds)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
    Ok(())
}

struct WholeSeconds;

impl FormatTime for WholeSeconds {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        w.write_str(&utc(wall().as_secs()))
    }
}

/// `secs` since the Unix epoch as `YYYY-MM-DDThh:mm:ssZ` (Howard Hinnant's `civil_from_days`).
fn utc(secs: u64) -> String {
    let field = |value: u64, per: u64| value.checked_div(per).unwrap_or(0);
    let days = field(secs, 86_400).saturating_add(719_468);
    let era = field(days, 146_097);
    let of_era = days % 146_097;
    let year_of_era = field(
        of_era
            .saturating_sub(field(of_era, 1_460))
            .saturating_add(field(of_era, 36_524))
            .saturating_sub(field(of_era, 146_096)),
        365,
    );
    let before = year_of_era
        .saturating_mul(365)
        .saturating_add(field(year_of_era, 4))
        .saturating_sub(field(year_of_era, 100));
    let of_year = of_era.saturating_sub(before);
    // Months counted from March, so that the leap day is a year's last.
    let month = field(of_year.saturating_mul(5).saturating_add(2), 153);
    let first = field(month.saturating_mul(153).saturating_add(2), 5);
    let day = of_year.saturating_sub(first).saturating_add(1);
    let (month, carry) = if month < 10 {
        (month.saturating_add(3), 0)
    } else {
        (month.saturating_sub(9), 1)
    };
    let year = era
        .saturating_mul(400)
        .saturating_add(year_of_era)
        .saturating_add(carry);
    let (hour, minute, second) = (
        field(secs % 86_400, 3_600),
        field(secs % 3_600, 60),
        secs % 60,
    );
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(init("info=loud=1"), Err(RtError::Config(_))));
    }
}
