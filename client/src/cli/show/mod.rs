//! What a person reads: each answer as text.

mod people;
mod status;

use serde_json::Value;

use crate::call::Call;
use crate::terminal;

/// An answer as text. What matters most is marked where colour is wished.
pub(super) fn text(call: &Call, answer: &Value, color: bool) -> String {
    match call {
        Call::Invite { .. } => field(answer, "invitation"),
        Call::Add { .. } => {
            let name = field(answer, "contact");
            match field(answer, "added").as_str() {
                "true" => format!("{name} is a contact now"),
                _ => format!(
                    "opening for {name}; it waits {} s first",
                    field(answer, "waits_s")
                ),
            }
        }
        Call::Send { .. } => format!("{} ({})", field(answer, "state"), field(answer, "message")),
        Call::Receive { .. } => list(answer, "texts")
            .map(|text| {
                let said = text.get("text").and_then(Value::as_str).unwrap_or_default();
                format!("{}: {}", field(text, "contact"), terminal::text(said))
            })
            .collect::<Vec<_>>()
            .join("\n"),
        // What is not listed as a command yet has its JSON as text.
        Call::History { .. }
        | Call::HistoryKeep { .. }
        | Call::Search { .. }
        | Call::MessageStatus { .. }
        | Call::MessageCancel { .. }
        | Call::MessageDelete { .. }
        | Call::MessageEdit { .. }
        | Call::Outbox {}
        | Call::Verify { .. }
        | Call::ContactShow { .. }
        | Call::ContactRename { .. }
        | Call::ContactSet { .. }
        | Call::ContactBlock { .. }
        | Call::ContactUnblock { .. }
        | Call::ContactRemove { .. }
        | Call::ContactAcceptKey { .. }
        | Call::ContactRefuseKey { .. }
        | Call::SessionReset { .. }
        | Call::IdentityShow {}
        | Call::IdentityRotate {}
        | Call::Dismiss { .. } => answer.to_string(),
        Call::Contacts {} => list(answer, "contacts")
            .map(|contact| people::line(contact, color))
            .collect::<Vec<_>>()
            .join("\n"),
        Call::Status {} => status::text(answer, color),
        Call::Stop {} | Call::Subscribe {} => String::new(),
    }
}

/// An answer as JSON Lines: a list as its items, each on a line, anything else as one.
pub(super) fn json_lines(answer: &Value) -> Vec<String> {
    let fields = answer.as_object().filter(|fields| fields.len() == 1);
    let only = fields.and_then(|fields| fields.values().next());
    let items = only.and_then(Value::as_array);
    let one = std::slice::from_ref(answer);
    items
        .map_or(one, Vec::as_slice)
        .iter()
        .map(|item| terminal::json(&item.to_string()))
        .collect()
}

/// A warning, marked where colour is wished.
fn marked(text: &str, color: bool) -> String {
    match color {
        true => format!("\u{1b}[1;31m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

/// A field of an answer as a piece of one line.
fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => terminal::line(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
