//! Texts, with all that is said of them before what their authors say.

use serde_json::Value;

use super::{duration, field, is, trust};
use crate::terminal;

/// `#12 alice (not verified): hello`, or `#13 to alice (verified, stored): hello`.
pub(super) fn line(text: &Value, color: bool) -> String {
    let mut notes = vec![trust(text, color)];
    if is(text, "own") {
        notes.push(field(text, "state"));
    }
    match field(text, "reply_to").as_str() {
        "-" => {}
        number => notes.push(format!("answers #{number}")),
    }
    if is(text, "edited") {
        notes.push("edited".to_owned());
    }
    if is(text, "deleted") {
        notes.push("deleted by its author".to_owned());
    }
    match text.get("timer_s").and_then(Value::as_u64) {
        None | Some(0) => {}
        Some(seconds) => notes.push(format!("disappears after {}", duration(seconds))),
    }
    notes.retain(|note| note != "-");
    let said = text.get("text").and_then(Value::as_str).unwrap_or_default();
    format!(
        "#{} {}{} ({}): {}",
        field(text, "message"),
        if is(text, "own") { "to " } else { "" },
        field(text, "contact"),
        notes.join(", "),
        terminal::text(said)
    )
}

/// A text that is not stored yet.
pub(super) fn outgoing(text: &Value) -> String {
    format!(
        "#{}\tto {}\t{}\t{} packets to leave, {} without an answer",
        field(text, "message"),
        field(text, "contact"),
        field(text, "state"),
        field(text, "unsent"),
        field(text, "unanswered")
    )
}
