//! How things stand, in plain words.

use serde_json::Value;

use super::{duration, field, is, list, marked};
use crate::terminal;

pub(super) fn text(status: &Value, color: bool) -> String {
    let mut lines = vec![
        network(status),
        consensus(status),
        cost(status),
        loss(status),
        mailbox(status),
        queue(status),
    ];
    lines.extend(banners(status, color));
    for warning in list(status, "warnings") {
        let warning = terminal::line(warning.as_str().unwrap_or_default());
        lines.push(marked(&format!("warning: {warning}"), color));
    }
    lines.join("\n")
}

/// What happened that the person has not dismissed, each with what to do.
pub(super) fn banners(status: &Value, color: bool) -> Vec<String> {
    list(status, "banners")
        .map(|banner| {
            let of = match field(banner, "contact").as_str() {
                "-" => String::new(),
                name => format!("{name}: "),
            };
            let often = match field(banner, "count").as_str() {
                "1" => String::new(),
                count => format!(" ({count} times)"),
            };
            let what = field(banner, "what");
            let told = marked(&format!("! {of}{what}{often}"), color);
            let number = field(banner, "banner");
            let advice = field(banner, "advice");
            format!("{told} {advice} (seen: whist dismiss {number})")
        })
        .collect()
}

fn network(status: &Value) -> String {
    let entry = field(status, "entry");
    match (is(status, "online"), entry.as_str()) {
        (_, "-") => "off line: no entry provider is chosen yet".to_owned(),
        (true, entry) => format!(
            "on line through the entry provider {entry}, not over Tor: it learns your address on \
             the Internet, when you are on line, and your profile"
        ),
        (false, entry) => format!("off line; the entry provider is {entry}, not over Tor"),
    }
}

fn consensus(status: &Value) -> String {
    let nodes = |place| status.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    match field(status, "epoch").as_str() {
        "-" => "no consensus yet".to_owned(),
        epoch => format!(
            "last consensus: epoch {epoch}, with {} mixes and {} providers",
            nodes("/nodes/0"),
            nodes("/nodes/1")
        ),
    }
}

fn cost(status: &Value) -> String {
    let month = status.get("bytes_per_month").and_then(Value::as_u64);
    format!(
        "profile {}: {} MB a month, whether you write or not",
        field(status, "profile"),
        month.unwrap_or(0) / 1_000_000
    )
}

fn loss(status: &Value) -> String {
    let share = status.get("loss").and_then(Value::as_f64);
    let more = match is(status, "loss_alarm") {
        true => "more than chance explains",
        false => "no more than chance explains",
    };
    match share {
        None => "loss: nothing is known yet".to_owned(),
        Some(share) => format!("loss: {:.1} % did not come back, {more}", share * 100.0),
    }
}

fn mailbox(status: &Value) -> String {
    let made = match is(status, "mailbox") {
        true => "the mailbox is made",
        false => "the mailbox is not made yet",
    };
    format!(
        "{made}; {} contacts, {} texts to read, {} invitations ready",
        field(status, "contacts"),
        field(status, "unread"),
        field(status, "invitations_ready")
    )
}

fn queue(status: &Value) -> String {
    let queued = status.get("outbox").and_then(Value::as_u64).unwrap_or(0);
    let left = status.get("outbox_leaves_s").and_then(Value::as_u64);
    match (queued, left) {
        (0, _) => "nothing is queued".to_owned(),
        (queued, Some(seconds)) if is(status, "online") => format!(
            "{queued} requests are queued and will have left in about {}",
            duration(seconds)
        ),
        (queued, _) => format!("{queued} requests are queued and leave when you are on line"),
    }
}
