//! Words: what goes in pieces from one person to the other, each once and in order.
//!
//! A text (kind 0):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 0 |
//! | 1 | 1 | answers: 0 nothing, 1 a text of the sender's, 2 a text of the recipient's |
//! | 2 | 8 | number of the text that it answers, 0 if none |
//! | 10 | 4 | timer: seconds until it disappears, 0: it stays |
//! | 14 | rest | the text, UTF-8 |
//!
//! Another version of a text (kind 1):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 1 |
//! | 1 | 8 | number of the sender's text that it replaces |
//! | 9 | rest | the text, UTF-8 |
//!
//! A text is deleted for everybody (kind 2):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 2 |
//! | 1 | 8 | number of the sender's text that goes |
//!
//! What is agreed for the conversation, and what the sender keeps of it (kind 3):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 3 |
//! | 1 | 8 | change: which change of the timer this is; of two, the higher counts |
//! | 9 | 4 | timer of texts from now on, in seconds, 0: none |
//! | 13 | 1 | history of the sender: 0 none, 1 some days, 2 for ever |
//! | 14 | 2 | how many days, 0 unless some |
//! | 16 | 1 | backups of the sender's: 0 none |
//!
//! A word that was taken back before it left (kind 4), so that none is missing:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 4 |
//!
//! A new session is asked for (kind 5):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 5 |
//! | 1 | 1538 | bundle of the sender's, as an invitation names it |

use whist_ratchet::BUNDLE_BYTES;
use whist_types::{Reader, Writer};
use zeroize::Zeroizing;

use crate::limits::{TEXT_BYTES_MAX, TIMER_S_MAX};

const TEXT: u8 = 0;
const EDIT: u8 = 1;
const DELETE: u8 = 2;
const SETTINGS: u8 = 3;
const NOTHING: u8 = 4;
const RENEW: u8 = 5;
/// What stands before a text.
pub(super) const TEXT_HEAD_BYTES: usize = 14;
const _: () = assert!(TEXT_HEAD_BYTES == 1 + 1 + 8 + 4 && BUNDLE_BYTES == 1_538);

/// Which text of a conversation: whose, and its number in that direction.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
pub struct Place {
    /// Whether the sender of the word wrote it; where we keep it: whether we did.
    pub own: bool,
    /// Its number, from 1.
    pub sequence: u64,
}

/// How long somebody keeps the texts of a conversation.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Nothing is written down.
    None,
    /// So many days.
    Days(u16),
    /// Until they are deleted.
    Forever,
}

impl Default for History {
    fn default() -> Self {
        Self::Days(30)
    }
}

impl History {
    /// For how many days, if not for ever.
    pub const fn days(self) -> Option<u16> {
        match self {
            Self::None => Some(0),
            Self::Days(days) => Some(days),
            Self::Forever => None,
        }
    }
}

/// What is agreed for a conversation, and what the sender keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which change of the timer this is.
    pub change: u64,
    /// Seconds until a text disappears, or never.
    pub timer_s: u32,
    /// What the sender keeps.
    pub history: History,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A text.
    Text {
        /// The text that it answers.
        answers: Option<Place>,
        /// Seconds until it disappears, or 0.
        timer_s: u32,
        /// What is said.
        text: Zeroizing<String>,
    },
    /// Another version of a text of the sender's.
    Edit {
        /// Its number.
        sequence: u64,
        /// What it says now.
        text: Zeroizing<String>,
    },
    /// A text of the sender's goes.
    Delete {
        /// Its number.
        sequence: u64,
    },
    /// What is agreed.
    Settings(Settings),
    /// It was taken back before it left.
    Nothing,
    /// A new session is asked for.
    Renew {
        /// The bundle by which it begins; not checked here.
        bundle: Box<[u8; BUNDLE_BYTES]>,
    },
}

impl Word {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(TEXT_HEAD_BYTES);
        match self {
            Self::Text {
                answers,
                timer_s,
                text,
            } => {
                let whose = answers.map_or(0, |place| if place.own { 1 } else { 2 });
                w.u8(TEXT).u8(whose);
                w.u64(answers.map_or(0, |place| place.sequence));
                w.u32(*timer_s).put(text.as_bytes());
            }
            Self::Edit { sequence, text } => {
                w.u8(EDIT).u64(*sequence).put(text.as_bytes());
            }
            Self::Delete { sequence } => {
                w.u8(DELETE).u64(*sequence);
            }
            Self::Settings(settings) => {
                let (kind, days) = match settings.history {
                    History::None => (0, 0),
                    History::Days(days) => (1, days),
                    History::Forever => (2, 0),
                };
                w.u8(SETTINGS).u64(settings.change).u32(settings.timer_s);
                w.u8(kind).u16(days).u8(0);
            }
            Self::Nothing => {
                w.u8(NOTHING);
            }
            Self::Renew { bundle } => {
                w.u8(RENEW).put(bundle.as_slice());
            }
        }
        w.into_bytes()
    }

    /// The word, if it is one. What a later version adds is unknown, and left alone.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        match r.u8().ok()? {
            TEXT => {
                let (whose, sequence) = (r.u8().ok()?, r.u64().ok()?);
                let answers = match (whose, sequence) {
                    (0, 0) => None,
                    (1 | 2, 1..) => Some(Place {
                        own: whose == 1,
                        sequence,
                    }),
                    _ => return None,
                };
                let timer_s = r.u32().ok().filter(|&s| s <= TIMER_S_MAX)?;
                Some(Self::Text {
                    answers,
                    timer_s,
                    text: said(r.rest())?,
                })
            }
            EDIT => Some(Self::Edit {
                sequence: r.u64().ok()?,
                text: said(r.rest())?,
            }),
            DELETE => {
                let sequence = r.u64().ok()?;
                r.rest().is_empty().then_some(Self::Delete { sequence })
            }
            SETTINGS => settings(&mut r).map(Self::Settings),
            NOTHING => r.rest().is_empty().then_some(Self::Nothing),
            RENEW => {
                let bundle = Box::<[u8]>::from(r.rest()).try_into().ok()?;
                Some(Self::Renew { bundle })
            }
            _ => None,
        }
    }
}

fn said(bytes: &[u8]) -> Option<Zeroizing<String>> {
    if bytes.len() > TEXT_BYTES_MAX {
        return None;
    }
    String::from_utf8(bytes.to_vec()).ok().map(Zeroizing::new)
}

fn settings(r: &mut Reader<'_>) -> Option<Settings> {
    let (change, timer_s) = (r.u64().ok()?, r.u32().ok()?);
    let (kind, days, backup) = (r.u8().ok()?, r.u16().ok()?, r.u8().ok()?);
    let history = match (kind, days) {
        (0, 0) => History::None,
        (1, 1..) => History::Days(days),
        (2, 0) => History::Forever,
        _ => return None,
    };
    let sound = timer_s <= TIMER_S_MAX && backup == 0 && r.rest().is_empty();
    sound.then_some(Settings {
        change,
        timer_s,
        history,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> Vec<Word> {
        let text = |answers| Word::Text {
            answers,
            timer_s: 60,
            text: Zeroizing::new("whist \u{1F0CF}".to_owned()),
        };
        let place = |own| Some(Place { own, sequence: 7 });
        let settings = |history| {
            Word::Settings(Settings {
                change: 3,
                timer_s: 0,
                history,
            })
        };
        vec![
            text(None),
            text(place(true)),
            text(place(false)),
            Word::Edit {
                sequence: 4,
                text: Zeroizing::default(),
            },
            Word::Delete { sequence: 9 },
            settings(History::None),
            settings(History::Days(9)),
            settings(History::Forever),
            Word::Nothing,
            Word::Renew {
                bundle: Box::new([7; BUNDLE_BYTES]),
            },
        ]
    }

    #[test]
    fn each_word_is_read_as_it_was_written() {
        for word in words() {
            assert_eq!(Word::decode(&word.encode()), Some(word));
        }
    }

    #[test]
    fn a_word_with_a_byte_too_many_or_of_a_later_version_is_none() {
        for word in words().into_iter().skip(4) {
            let mut bytes = word.encode();
            bytes.push(0);
            assert_eq!(Word::decode(&bytes), None);
        }
        assert_eq!(Word::decode(&[200]), None);
        assert_eq!(Word::decode(&[]), None);
        let mut long = words()[0].encode();
        long[10..14].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Word::decode(&long), None, "a timer beyond the limit");
    }

    proptest! {
        #[test]
        fn no_word_makes_the_parser_panic_and_each_has_one_form(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            kind in 0_u8..7,
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            if let Some(word) = Word::decode(&bytes) {
                prop_assert_eq!(word.encode(), bytes);
            }
        }
    }
}
