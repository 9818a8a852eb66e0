//! How words of the command line become values.

pub(super) use crate::config::seconds as timer;
use crate::conversation::History;
use crate::ids::{AskerId, BannerId, MessageId};

/// The number of a text, as `receive` and `history` print it.
pub(super) fn message(word: &str) -> Result<MessageId, String> {
    number(word).map(MessageId::new)
}

/// The number of somebody who asks, as `requests` prints it.
pub(super) fn asker(word: &str) -> Result<AskerId, String> {
    number(word).map(AskerId::new)
}

/// The number of a banner, as `status` prints it.
pub(super) fn banner(word: &str) -> Result<BannerId, String> {
    number(word).map(BannerId::new)
}

fn number(word: &str) -> Result<u64, String> {
    let digits = word.strip_prefix('#').unwrap_or(word);
    digits.parse().map_err(|_| "a number is wanted".to_owned())
}

/// How long texts are kept.
pub(super) fn keep(word: &str) -> Result<History, String> {
    match word {
        "forever" => return Ok(History::Forever),
        "none" => return Ok(History::None),
        _ => {}
    }
    let days = word.strip_suffix('d').unwrap_or(word);
    match days.parse() {
        Ok(days) if days > 0 => Ok(History::Days(days)),
        _ => Err("a number of days is wanted, such as 30d, or none, or forever".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_numbers_may_have_their_mark() {
        assert_eq!(timer("off"), Ok(0));
        assert_eq!(timer("90s"), Ok(90));
        assert_eq!(timer("8h"), Ok(28_800));
        assert_eq!(timer("2w"), Ok(1_209_600));
        for bad in ["", "8", "h", "-1h", "8y", "9999999999s", "4000000000w", "é"] {
            timer(bad).unwrap_err();
        }
        assert_eq!(keep("30d"), Ok(History::Days(30)));
        assert_eq!(keep("forever"), Ok(History::Forever));
        assert_eq!(keep("none"), Ok(History::None));
        for bad in ["", "0", "0d", "70000d", "-1"] {
            keep(bad).unwrap_err();
        }
        assert_eq!(message("#12"), Ok(MessageId::new(12)));
        assert_eq!(banner("3"), Ok(BannerId::new(3)));
        message("x").unwrap_err();
    }
}
