//! What an observer of the wires writes down: `time_ns link direction length`, no contents.

use std::fmt::Write as _;

use whist_link::RECORD_BYTES;
use whist_types::Instant;

/// Seen from the watched end of the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The frame reached the watched end.
    In,
    /// The frame left the watched end.
    Out,
}

/// One frame on a wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceLine {
    /// When.
    pub time: Instant,
    /// `dialer-listener#n`, the n-th connection between these two.
    pub link: String,
    /// The watched actor and the direction as it sees it.
    pub watched: String,
    /// Towards or away from it.
    pub direction: Direction,
}

/// All lines in the order of time.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Trace {
    lines: Vec<TraceLine>,
}

impl Trace {
    pub(super) fn push(&mut self, time: Instant, link: &str, watched: &str, direction: Direction) {
        let (link, watched) = (link.to_owned(), watched.to_owned());
        self.lines.push(TraceLine {
            time,
            link,
            watched,
            direction,
        });
    }

    /// The lines of one watched actor, in one direction or both.
    #[must_use]
    pub fn of(&self, watched: &str, direction: Option<Direction>) -> Self {
        let keep = |line: &&TraceLine| {
            line.watched == watched && direction.is_none_or(|wanted| wanted == line.direction)
        };
        Self {
            lines: self.lines.iter().filter(keep).cloned().collect(),
        }
    }

    /// The lines.
    pub fn lines(&self) -> &[TraceLine] {
        &self.lines
    }

    /// The file: one line a frame.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let direction = if line.direction == Direction::In {
                "in"
            } else {
                "out"
            };
            let time = line.time.as_nanos();
            let _ = writeln!(
                text,
                "{time} {}:{} {direction} {RECORD_BYTES}",
                line.watched, line.link
            );
        }
        text
    }
}
