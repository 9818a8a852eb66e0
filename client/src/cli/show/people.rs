//! Contacts and invitations.

use serde_json::Value;

use super::field;

pub(super) fn line(contact: &Value) -> String {
    let mark = |name: &str, text: &'static str| match contact.get(name) {
        Some(Value::Bool(true)) => text,
        _ => "",
    };
    format!(
        "{}\t{}\t{} unread{}{}",
        field(contact, "name"),
        field(contact, "fingerprint"),
        field(contact, "unread"),
        mark("unsafe", "\tUNSAFE: its invitation was used twice"),
        mark("shares_entry_family", "\thosted by your entry's operators"),
    )
}
