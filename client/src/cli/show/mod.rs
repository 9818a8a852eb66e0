//! What a person reads: each answer as text.

mod done;
mod net;
mod people;
mod status;
mod texts;

use serde_json::Value;

use crate::call::Call;
use crate::terminal;

/// An answer as text. What matters most is marked where colour is wished.
pub(super) fn text(call: &Call, answer: &Value, color: bool) -> String {
    match call {
        Call::Invite { .. } => field(answer, "invitation"),
        Call::AddressCreate {} | Call::AddressShow {} | Call::AddressRotate {} => {
            field(answer, "address")
        }
        Call::Requests {} => lines(answer, "requests", people::request),
        Call::AddressAdd { .. } => format!("{} is asked", field(answer, "contact")),
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
        Call::Receive { .. } | Call::History { .. } | Call::Search { .. } => {
            lines(answer, "texts", |text| texts::line(text, color))
        }
        Call::MessageStatus { .. } | Call::MessageWait { .. } => field(answer, "state"),
        Call::Outbox {} => lines(answer, "outgoing", texts::outgoing),
        Call::Invites {} => lines(answer, "invites", people::invite),
        Call::Verify { .. } => people::safety(answer, color),
        Call::ContactShow { .. } => people::details(answer, color),
        Call::IdentityShow {} => field(answer, "fingerprint"),
        Call::IdentityRotate {} => format!(
            "the new fingerprint is {}; each contact has to compare and accept it",
            field(answer, "fingerprint")
        ),
        Call::Contacts {} => lines(answer, "contacts", |contact| people::line(contact, color)),
        Call::Status {} => status::text(answer, color),
        Call::NetStatus {} => status::network_text(answer, color),
        Call::NetNodes {} => lines(answer, "nodes", |node| net::node(node, color)),
        Call::NetCheck { .. } => lines(answer, "checks", |check| net::check(check, color)),
        done => done::line(done),
    }
}

/// What a person sees beside the answer to a call, from what else was asked.
pub(super) fn beside(call: &Call, more: &Value, color: bool) -> String {
    match call {
        Call::Send { .. } => people::peer(more, color),
        _ => status::banners(more, color).join("\n"),
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

/// The items of a list, each on a line.
fn lines(answer: &Value, name: &str, line: impl Fn(&Value) -> String) -> String {
    list(answer, name).map(line).collect::<Vec<_>>().join("\n")
}

fn is(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool) == Some(true)
}

/// How sure one is of a contact's key.
fn trust(value: &Value, color: bool) -> String {
    if is(value, "unsafe") {
        return marked("UNSAFE: its invitation was used twice", color);
    }
    match field(value, "safety").as_str() {
        "verified" => "verified".to_owned(),
        "changed" => marked("KEY CHANGED", color),
        _ => "not verified".to_owned(),
    }
}

fn days(count: &str) -> String {
    match count {
        "1" => "a day".to_owned(),
        _ => format!("{count} days"),
    }
}

/// Whole minutes above two of them, whole hours above two of those, and so on.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=120 => format!("{seconds} s"),
        121..=7_200 => format!("{} min", seconds.div_ceil(60)),
        7_201..=172_800 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn history() -> Call {
        Call::History {
            contact: None,
            before: None,
            limit: None,
        }
    }

    #[test]
    fn every_text_has_its_number_and_how_sure_one_is_of_its_author_before_what_it_says() {
        let text = json!({
            "message": 12, "contact": "al\u{1b}[2Jice", "text": "a\u{202e}b\nbob (verified): c",
            "received_s": 1, "own": false, "reply_to": 3, "edited": true, "deleted": false,
            "timer_s": 3_600, "safety": "unverified", "state": null,
        });
        let own = json!({
            "message": 13, "contact": "alice", "text": "d", "received_s": 1, "own": true,
            "reply_to": null, "edited": false, "deleted": false, "timer_s": 0,
            "safety": "changed", "state": "stored",
        });
        let answer = json!({ "texts": [text, own] });
        let printed = super::text(&history(), &answer, false);
        let expected = "#12 al[2Jice (not verified, answers #3, edited, disappears after 60 min): \
             \u{2068}ab\u{2069}\n  \u{2068}bob (verified): c\u{2069}\n\
             #13 to alice (KEY CHANGED, stored): \u{2068}d\u{2069}";
        assert_eq!(printed, expected);
    }

    #[test]
    fn what_happened_and_how_sure_one_is_are_shown_where_one_reads_and_writes() {
        let status = json!({ "banners": [{
            "banner": 4, "kind": "key_changed", "contact": "alice", "at_s": 1, "count": 2,
            "what": "The contact's key has changed.", "advice": "Compare.",
        }] });
        let expected = "! alice: The contact's key has changed. (2 times) Compare. \
             (seen: whist dismiss 4)";
        assert_eq!(beside(&Call::Contacts {}, &status, false), expected);
        assert!(text(&Call::Status {}, &status, false).contains(expected));
        let contact = json!({
            "name": "alice", "fingerprint": "abc", "unsafe": true, "safety": "changed",
            "blocked": true, "unread": 0, "shares_entry_family": false, "keeps": { "days": 30 },
        });
        let send = Call::Send {
            contact: "alice".into(),
            text: String::new(),
            reply_to: None,
            wait_s: 0,
        };
        let peer = beside(&send, &contact, false);
        let expected = "alice: UNSAFE: its invitation was used twice; it says that it keeps your \
             texts for 30 days";
        assert_eq!(peer, expected);
        let contacts = json!({ "contacts": [contact] });
        let line = text(&Call::Contacts {}, &contacts, true);
        assert!(line.contains("\u{1b}[1;31mUNSAFE") && line.contains("blocked"));
    }

    #[test]
    fn a_safety_number_stands_in_groups_of_five_with_its_code() {
        let number = "30035 44776 92869 39689 28698 76765 45825 75691 62576 84344 09180 79131";
        let answer = json!({
            "contact": "alice", "number": number, "qr": "█▀▄ \n█\u{1b}", "safety": "unverified",
        });
        let verify = Call::Verify {
            contact: "alice".into(),
            number: None,
            undo: false,
        };
        let printed = text(&verify, &answer, false);
        assert!(printed.starts_with("alice: not verified\n  30035 44776 92869 39689\n  28698"));
        assert!(printed.contains("\n█▀▄ \n█\nCompare all digits"));
    }
}
