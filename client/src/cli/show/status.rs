//! How things stand.

use serde_json::Value;

use super::{field, list};

pub(super) fn text(status: &Value) -> String {
    let stats = status.get("stats").unwrap_or(&Value::Null);
    let total = |name: &str| -> u64 {
        let kinds = stats.get(name).and_then(Value::as_object);
        kinds
            .into_iter()
            .flat_map(|kinds| kinds.values())
            .filter_map(Value::as_u64)
            .fold(0, u64::saturating_add)
    };
    let online = match field(status, "online").as_str() {
        "true" => "on line",
        _ => "off line",
    };
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let loss = status.get("loss").and_then(Value::as_f64);
    let month = status.get("bytes_per_month").and_then(Value::as_u64);
    let mut lines = vec![
        format!(
            "{online}, epoch {}, mixes and providers {}",
            field(status, "epoch"),
            field(status, "nodes")
        ),
        format!(
            "profile {}, {} MB a month",
            field(status, "profile"),
            month.unwrap_or(0) / 1_000_000
        ),
        format!(
            "packets: {} sent, {} came back; loss {}",
            total("sent"),
            total("returned"),
            loss.map_or("-".to_owned(), percent)
        ),
        format!(
            "{} contacts, {} unread, {} in the outbox, {} invitations ready",
            field(status, "contacts"),
            field(status, "unread"),
            field(status, "outbox"),
            field(status, "invitations_ready")
        ),
    ];
    for warning in list(status, "warnings") {
        lines.push(format!("warning: {}", warning.as_str().unwrap_or("")));
    }
    lines.join("\n")
}
