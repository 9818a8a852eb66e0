//! Contacts and invitations.

use serde_json::Value;

use super::{days, duration, field, is, marked, trust};
use crate::terminal;

pub(super) fn line(contact: &Value, color: bool) -> String {
    let mark = |name: &str, text: &'static str| match is(contact, name) {
        true => format!("\t{}", marked(text, color)),
        false => String::new(),
    };
    format!(
        "{}\t{}\t{}\t{} unread{}{}{}",
        field(contact, "name"),
        field(contact, "fingerprint"),
        trust(contact, color),
        field(contact, "unread"),
        mark("blocked", "blocked"),
        mark("shares_entry_family", "hosted by your entry's operators"),
        silence(contact).map_or_else(String::new, |since| format!("\t{since}")),
    )
}

/// That whoever gave an invitation has not been heard of.
fn silence(contact: &Value) -> Option<String> {
    let since = contact.get("silent_since_s").and_then(Value::as_u64)?;
    let ago = whist_rt::wall().as_secs().saturating_sub(since);
    Some(format!(
        "no answer yet; its invitation was opened {} ago",
        duration(ago)
    ))
}

/// An invitation of one's own.
pub(super) fn invite(invite: &Value) -> String {
    let state = match (field(invite, "given_to"), is(invite, "published")) {
        (name, _) if name != "-" => format!("given out for {name}"),
        (_, true) => "ready".to_owned(),
        (_, false) => "being published".to_owned(),
    };
    let until = invite.get("until_s").and_then(Value::as_u64).unwrap_or(0);
    let left = until.saturating_sub(whist_rt::wall().as_secs());
    format!("{state}\tvoid in {}", duration(left))
}

/// Somebody who asks: what it says stands last, and is nobody's word but its own.
pub(super) fn request(request: &Value) -> String {
    let at = request.get("at_s").and_then(Value::as_u64).unwrap_or(0);
    let ago = whist_rt::wall().as_secs().saturating_sub(at);
    let note = request.get("note").and_then(Value::as_str);
    format!(
        "#{}\t{}\t{} ago\tsays {}",
        field(request, "request"),
        field(request, "fingerprint"),
        duration(ago),
        terminal::text(note.unwrap_or_default())
    )
}

/// Everything of a contact.
pub(super) fn details(contact: &Value, color: bool) -> String {
    let mut lines = vec![
        line(contact, color),
        format!("safety number:\n{}", groups(&field(contact, "number"))),
    ];
    match field(contact, "new_number").as_str() {
        "-" => {}
        new => lines.push(format!(
            "{}\n{}",
            marked("a changed key waits; safety number with it:", color),
            groups(new)
        )),
    }
    let key_change = match field(contact, "key_change").as_str() {
        "accept" => "when its key changes, it is accepted and told",
        _ => "when its key changes, nothing is sent to it until you accept",
    };
    let receipts = match field(contact, "receipts").as_str() {
        "delivered" => "it is told when its texts have come",
        "read" => "it is told when its texts have come and were read",
        _ => "it gets no receipts",
    };
    let timer = match contact.get("timer_s").and_then(Value::as_u64) {
        None | Some(0) => "texts do not disappear by a timer".to_owned(),
        Some(seconds) => format!("texts of both disappear after {}", duration(seconds)),
    };
    let kept = match field(contact, "retention_days").as_str() {
        "-" => "its texts are kept here as long as the history".to_owned(),
        count => format!("its texts are kept here for {}", days(count)),
    };
    lines.extend([key_change.to_owned(), receipts.to_owned(), timer, kept]);
    lines.push(secret(contact, color));
    lines.push(format!(
        "it says that it keeps your texts {}",
        keeps(contact)
    ));
    lines.push(format!("mailbox provider: {}", field(contact, "provider")));
    lines.join("\n")
}

/// How far a passphrase that both know has come.
fn secret(contact: &Value, color: bool) -> String {
    let since = contact.get("shared_secret_since_s").and_then(Value::as_u64);
    let used = since.map(|at| {
        let ago = whist_rt::wall().as_secs().saturating_sub(at);
        format!("in use for {}", duration(ago))
    });
    let state = match field(contact, "shared_secret").as_str() {
        "missing" => marked("to be set again: nothing is sent before", color),
        "waiting" => "waiting for the contact".to_owned(),
        "agreed" => "agreed; in use with the next items".to_owned(),
        "differs" => marked("differs from the contact's: nothing is sent", color),
        "in_use" => return format!("shared secret: {}", used.unwrap_or_default()),
        _ => "none".to_owned(),
    };
    match used {
        Some(used) => format!("shared secret: {state} (an earlier one is {used})"),
        None => format!("shared secret: {state}"),
    }
}

/// How sure one is of whom one writes to, and what becomes of it there.
pub(super) fn peer(contact: &Value, color: bool) -> String {
    format!(
        "{}: {}; it says that it keeps your texts {}",
        field(contact, "name"),
        trust(contact, color),
        keeps(contact)
    )
}

fn keeps(contact: &Value) -> String {
    match contact.get("keeps") {
        Some(Value::String(kept)) if kept == "none" => "not at all".to_owned(),
        Some(Value::String(kept)) if kept == "forever" => "for ever".to_owned(),
        Some(kept) => format!("for {}", days(&field(kept, "days"))),
        None => "for a time that it does not say".to_owned(),
    }
}

/// A safety number, and what to do with it.
pub(super) fn safety(answer: &Value, color: bool) -> String {
    let name = field(answer, "contact");
    let mut lines = vec![
        format!("{name}: {}", trust(answer, color)),
        groups(&field(answer, "number")),
    ];
    if let Some(code) = answer.get("qr").and_then(Value::as_str) {
        // Made here, of blocks alone: whatever else stands in it is none.
        let block = |c: &char| " █▀▄\n".contains(*c);
        lines.push(code.chars().filter(block).collect());
    }
    lines.push(format!(
        "Compare all digits with {name}, in person or by voice. If they are the same:\n  \
         whist verify {name} --equal NUMBER"
    ));
    lines.join("\n")
}

/// Twelve groups of five digits, four in a line.
fn groups(number: &str) -> String {
    let groups: Vec<&str> = number.split(' ').collect();
    let lines = groups.chunks(4).map(|four| format!("  {}", four.join(" ")));
    lines.collect::<Vec<_>>().join("\n")
}
