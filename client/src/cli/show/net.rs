//! Nodes, and what has to be as it should.

use serde_json::Value;

use super::status::share;
use super::{field, is, marked};

/// A node: what it is, whose, how much is lost through it.
pub(super) fn node(node: &Value, color: bool) -> String {
    let role = match field(node, "layer").as_str() {
        "-" => "provider".to_owned(),
        layer => format!("mix of layer {layer}"),
    };
    let loss = share(node, "loss").map_or_else(
        || "no packet of yours".to_owned(),
        |share| format!("{share} of {} packets lost", field(node, "packets")),
    );
    let mark = |name: &str, text: &str| match is(node, name) {
        true => format!("\t{}", marked(text, color)),
        false => String::new(),
    };
    format!(
        "{}\t{role}\tfamily {}\t{}\tweight {}\t{loss}{}{}",
        field(node, "node"),
        field(node, "family"),
        field(node, "address"),
        field(node, "weight"),
        mark("entry", "your entry provider"),
        mark("mailbox", "hosts your mailbox"),
    )
}

/// `ok` or what is wrong, and what to do.
pub(super) fn check(check: &Value, color: bool) -> String {
    let (name, what) = (field(check, "check"), field(check, "what"));
    match is(check, "ok") {
        true => format!("ok {name}: {what}"),
        false => {
            let told = marked(&format!("!  {name}: {what}"), color);
            format!("{told}\n   {}", field(check, "advice"))
        }
    }
}
