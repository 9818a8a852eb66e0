//! How things stand, in plain words.

use std::time::Duration;

use serde_json::Value;

use super::{duration, field, is, list, marked};
use crate::terminal;

pub(super) fn text(status: &Value, color: bool) -> String {
    let mut lines = network_lines(status);
    if !is(status, "locked") {
        lines.extend([mailbox(status), queue(status)]);
    }
    lines.extend(banners(status, color));
    lines.extend(warnings(status, color));
    lines.join("\n")
}

/// How the network does.
pub(super) fn network_text(status: &Value, color: bool) -> String {
    let mut lines = network_lines(status);
    lines.extend(warnings(status, color));
    lines.join("\n")
}

fn network_lines(status: &Value) -> Vec<String> {
    let mut lines = vec![
        network(status),
        vault(status),
        consensus(status),
        latency(status),
        cost(status),
        loss(status),
    ];
    lines.extend(list(status, "segments").filter_map(segment));
    lines
}

fn warnings(status: &Value, color: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for warning in list(status, "warnings") {
        let warning = terminal::line(warning.as_str().unwrap_or_default());
        lines.push(marked(&format!("warning: {warning}"), color));
    }
    lines
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
    let way = match is(status, "tor") {
        true => "over Tor",
        false => "not over Tor",
    };
    match (is(status, "online"), entry.as_str()) {
        (_, "-") => "off line: no entry provider is chosen yet".to_owned(),
        (true, entry) if is(status, "tor") => format!(
            "on line through the entry provider {entry}, {way}: it learns when you are on line, \
             and your profile"
        ),
        (true, entry) => format!(
            "on line through the entry provider {entry}, {way}: it learns your address on the \
             Internet, when you are on line, and your profile"
        ),
        (false, entry) => format!("off line; the entry provider is {entry}, {way}"),
    }
}

fn vault(status: &Value) -> String {
    let after = status.get("locks_after_s").and_then(Value::as_u64);
    match (is(status, "locked"), after) {
        (true, _) => "the vault is locked: whist unlock. Texts wait at the mailbox".to_owned(),
        (false, None) => "the vault is open, and is locked by `whist lock` alone".to_owned(),
        (false, Some(after)) => format!(
            "the vault is open, and is locked {} after the last command",
            duration(after)
        ),
    }
}

fn consensus(status: &Value) -> String {
    let nodes = |place| status.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    let begun = status.get("consensus_begun_s").and_then(Value::as_u64);
    match field(status, "epoch").as_str() {
        "-" => "no consensus yet".to_owned(),
        epoch => format!(
            "last consensus: epoch {epoch}, which began {} ago, with {} mixes and {} providers",
            duration(begun.unwrap_or(0)),
            nodes("/nodes/0"),
            nodes("/nodes/1")
        ),
    }
}

/// Tenths of seconds, whole ones above ten of them.
fn seconds(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.1} s", Duration::from_millis(ms).as_secs_f64()),
        _ => duration(ms.div_ceil(1_000)),
    }
}

fn latency(status: &Value) -> String {
    let of = |place: &str| status.pointer(place).and_then(Value::as_u64).map(seconds);
    let [stored, half, most] = [
        "/latency/stored_ms/0",
        "/latency/read_ms/0",
        "/latency/read_ms/2",
    ]
    .map(of);
    match (stored, half, most) {
        (Some(stored), Some(half), Some(most)) => format!(
            "latency to expect while both are on line: stored after {stored}, read after {half}, \
             one in a hundred later than {most}"
        ),
        _ => "latency to expect: not known for this profile and these delays".to_owned(),
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
    let more = match (
        is(status, "loss_alarm"),
        field(status, "loss_points_at").as_str(),
    ) {
        (false, _) => "no more than chance explains".to_owned(),
        (true, "-") => "more than chance explains".to_owned(),
        (true, "entry") => "more than chance explains; all routes lose, which points at the entry \
             provider"
            .to_owned(),
        (true, node) => format!("more than chance explains, most of it through {node}"),
    };
    match share(status, "loss") {
        None => "loss: nothing is known yet".to_owned(),
        Some(share) => format!("loss: {share} did not come back, {more}"),
    }
}

pub(super) fn share(value: &Value, name: &str) -> Option<String> {
    let share = value.get(name).and_then(Value::as_f64)?;
    Some(format!("{:.1} %", share * 100.0))
}

/// The best and the worst node of a segment, if enough packets crossed one.
fn segment(segment: &Value) -> Option<String> {
    let (least, most) = (share(segment, "least")?, share(segment, "most")?);
    let name = field(segment, "segment");
    let judged = field(segment, "judged");
    Some(match judged.as_str() {
        "1" => format!("  {name}: {most}"),
        _ => format!(
            "  {name}: {least} to {most} through {judged} nodes, the most through {}",
            field(segment, "worst")
        ),
    })
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
