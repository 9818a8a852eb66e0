//! Contacts and invitations.

use serde_json::Value;

use super::{field, marked};

pub(super) fn line(contact: &Value, color: bool) -> String {
    let mark = |name: &str, text: &'static str| match contact.get(name) {
        Some(Value::Bool(true)) => format!("\t{}", marked(text, color)),
        _ => String::new(),
    };
    format!(
        "{}\t{}\t{} unread{}{}",
        field(contact, "name"),
        field(contact, "fingerprint"),
        field(contact, "unread"),
        mark("unsafe", "UNSAFE: its invitation was used twice"),
        mark("shares_entry_family", "hosted by your entry's operators"),
    )
}
