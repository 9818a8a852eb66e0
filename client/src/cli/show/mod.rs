//! What a person reads: each answer as text.

mod people;
mod status;

use serde_json::Value;

use crate::call::Call;

/// An answer as text.
pub(super) fn text(call: &Call, answer: &Value) -> String {
    match call {
        Call::Invite { .. } => field(answer, "invitation"),
        Call::Add { name, .. } => match field(answer, "added").as_str() {
            "true" => format!("{name} is a contact now"),
            _ => format!("opening; it waits {} s first", field(answer, "waits_s")),
        },
        Call::Send { .. } => format!("{} ({})", field(answer, "state"), field(answer, "message")),
        Call::Receive { .. } => list(answer, "texts")
            .map(|text| format!("{}: {}", field(text, "contact"), field(text, "text")))
            .collect::<Vec<_>>()
            .join("\n"),
        Call::Contacts {} => list(answer, "contacts")
            .map(people::line)
            .collect::<Vec<_>>()
            .join("\n"),
        Call::Status {} => status::text(answer),
        Call::Stop {} => "ending".to_owned(),
        Call::Subscribe {} => String::new(),
    }
}

/// A field of an answer as text.
fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
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
