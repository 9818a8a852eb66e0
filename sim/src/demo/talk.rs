//! The two people meet by an invitation and write to each other.

use std::collections::BTreeMap;
use std::time::Duration;

use whist::call::Call;
use whist::ids::MessageId;
use whist::{Answer, Event, MessageState};
use whist_rt::{Exit, Failure, task, time};
use whist_types::Instant;

use super::person::Person;
use super::report::Message;

/// How long a person waits for an invitation or a contact.
const PATIENCE: Duration = Duration::from_secs(60);
/// A text is written so often, in turns.
const GAP: Duration = Duration::from_millis(400);

/// What came of the conversation.
pub(super) struct Spoken {
    pub(super) messages: Vec<Message>,
    pub(super) exact: bool,
}

/// Alice invites Bob, who adds her.
pub(super) async fn meet(
    alice: &mut Person,
    bob: &mut Person,
    say: impl Fn(&str),
) -> Result<(), Failure> {
    let late = |_| Failure::new(Exit::TimedOut, "the two did not meet within a minute");
    let wait_s = PATIENCE.as_secs();
    let (invite, name) = (
        |name: &str| Call::Invite {
            name: name.into(),
            wait_s,
        },
        "bob",
    );
    let invitation = match time::timeout(PATIENCE, alice.call(invite(name)))
        .await
        .map_err(late)??
    {
        Answer::Invitation { invitation } => invitation,
        other => {
            return Err(Failure::new(
                Exit::Other,
                format!("no invitation: {other:?}"),
            ));
        }
    };
    say("alice has a mailbox and gives bob an invitation");
    let add = Call::Add {
        name: "alice".into(),
        invitation,
        now: true,
        wait_s,
    };
    time::timeout(PATIENCE, bob.call(add))
        .await
        .map_err(late)??;
    say("bob opened it");
    let added = async {
        while !matches!(alice.next().await?, (_, Event::Added { .. })) {}
        Ok::<_, Failure>(())
    };
    time::timeout(PATIENCE, added).await.map_err(late)??;
    say("alice has bob's first item: they are contacts");
    Ok(())
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Alice,
    Bob,
}

/// Everything that is on its way.
struct Table {
    messages: Vec<Message>,
    written: Vec<Instant>,
    /// Tag of a `send` that was asked, and the number that it got.
    asked: BTreeMap<(Side, u64), usize>,
    numbered: BTreeMap<(Side, MessageId), usize>,
    /// Texts that each side expects to read, in order: the next one's place.
    exact: bool,
}

/// `count` texts, half each way, in turns; ends when all are read and stored, or too late.
pub(super) async fn converse(
    alice: &mut Person,
    bob: &mut Person,
    count: usize,
    say: impl Fn(Instant, &str),
) -> Result<Spoken, Failure> {
    let mut table = Table {
        messages: Vec::new(),
        written: Vec::new(),
        asked: BTreeMap::new(),
        numbered: BTreeMap::new(),
        exact: true,
    };
    let texts = u32::try_from(count).unwrap_or(u32::MAX);
    let limit = PATIENCE.saturating_add(GAP.saturating_mul(texts).saturating_mul(4));
    let mut late = std::pin::pin!(time::sleep(limit));
    let mut pen = time::interval(GAP);
    while table.messages.len() < count || !table.is_done() {
        let (side, (at, event)) = task::select! {
            _ = pen.tick(), if table.messages.len() < count => {
                table.write(alice, bob).await;
                continue;
            }
            shown = alice.next() => (Side::Alice, shown?),
            shown = bob.next() => (Side::Bob, shown?),
            () = &mut late => break,
        };
        if let Some(line) = table.happened(side, at, event) {
            say(at, &line);
        }
    }
    let exact = table.exact && table.messages.len() == count && table.is_done();
    Ok(Spoken {
        messages: table.messages,
        exact,
    })
}

impl Table {
    fn is_done(&self) -> bool {
        self.messages
            .iter()
            .all(|message| message.read.is_some() && message.stored.is_some())
    }

    async fn write(&mut self, alice: &mut Person, bob: &mut Person) {
        let place = self.messages.len();
        let (turn, from, to) = match place.is_multiple_of(2) {
            true => (Side::Alice, alice, "bob"),
            false => (Side::Bob, bob, "alice"),
        };
        let number = (place / 2).saturating_add(1);
        let text = format!("text {number} from {}", from.name);
        let call = Call::Send {
            contact: to.into(),
            text: text.clone(),
            reply_to: None,
            wait_s: 0,
        };
        let tag = from.ask(call).await;
        self.asked.insert((turn, tag), place);
        self.written.push(from.now());
        self.messages.push(Message {
            from: from.name,
            text,
            stored: None,
            read: None,
        });
    }

    /// Takes note of an event; a line if people should see it.
    fn happened(&mut self, side: Side, at: Instant, event: Event) -> Option<String> {
        match event {
            Event::Answer { tag, answer } => {
                let place = self.asked.remove(&(side, tag))?;
                match *answer {
                    Ok(Answer::Message { message, .. }) => {
                        self.numbered.insert((side, message), place);
                        None
                    }
                    other => {
                        self.exact = false;
                        Some(format!("a text was refused: {other:?}"))
                    }
                }
            }
            Event::State {
                message,
                state: MessageState::Stored,
            } => {
                let place = *self.numbered.get(&(side, message))?;
                let taken = at.since(*self.written.get(place)?);
                self.messages.get_mut(place)?.stored.get_or_insert(taken);
                None
            }
            Event::Received { text, .. } => Some(self.read(side, at, &text)),
            _ => None,
        }
    }

    /// The first unread text of the other side must be this one.
    fn read(&mut self, side: Side, at: Instant, text: &str) -> String {
        let (reader, writer) = match side {
            Side::Alice => ("alice", "bob"),
            Side::Bob => ("bob", "alice"),
        };
        let next = self.messages.iter_mut().zip(&self.written);
        let next = next.filter(|(message, _)| message.from == writer);
        let next = next.into_iter().find(|(message, _)| message.read.is_none());
        match next {
            Some((message, written)) if message.text == text => {
                message.read = Some(at.since(*written));
                format!("{reader} reads: {text}")
            }
            _ => {
                self.exact = false;
                format!("{reader} reads what was not next: {text}")
            }
        }
    }
}
