//! What was done, in a sentence, for calls that only do something.

use crate::call::Call;
use crate::terminal;

pub(super) fn line(call: &Call) -> String {
    let said = |name: &str, what: &str| format!("{} {what}", terminal::line(name));
    match call {
        Call::HistoryKeep { .. } => "that holds from now on; contacts are told".to_owned(),
        Call::MessageCancel { .. } => "taken back; nothing of it has left".to_owned(),
        Call::MessageDelete {
            everybody: false, ..
        } => "deleted here".to_owned(),
        Call::MessageDelete {
            everybody: true, ..
        } => "deleted here, and the contact's program is asked to; nobody can check that it does"
            .to_owned(),
        Call::MessageEdit { .. } => "the new version is queued".to_owned(),
        Call::ContactRename { contact, name } => {
            said(contact, &format!("is called {} now", terminal::line(name)))
        }
        Call::ContactSet { contact, .. } => said(contact, "is set; see whist contact show"),
        Call::ContactBlock { contact } => said(contact, "is blocked, and not told"),
        Call::ContactUnblock { contact } => said(contact, "is blocked no longer"),
        Call::ContactRemove { contact } => said(contact, "is gone with all that was kept of it"),
        Call::ContactAcceptKey { contact, .. } => {
            said(contact, "has a new key, which was compared: verified")
        }
        Call::ContactRefuseKey { contact } => said(contact, "keeps its old key"),
        Call::AddressDelete {} => "the address is gone; contacts stay".to_owned(),
        Call::Accept { name, .. } => said(name, "is a contact now, and is told"),
        Call::Reject { request } => format!("request {request} is turned down, and not told"),
        Call::SessionReset { contact } => said(contact, "is asked for a new session"),
        Call::Dismiss { banner } => format!("banner {banner} is dismissed"),
        _ => String::new(),
    }
}
