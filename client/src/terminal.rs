//! Texts of others on a terminal: what would steer the terminal or turn the reading direction of
//! what stands beside it is taken out, and each text is shut in by itself.

/// First strong isolate: what follows has a direction of its own.
const FSI: char = '\u{2068}';
/// Pop directional isolate: back to the direction before.
const PDI: char = '\u{2069}';

/// Whether a character would do something other than be read: control characters (C0, DEL, C1),
/// line and paragraph separators, and the bidirectional controls. Letters that are written from
/// right to left are read.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{061c}'
        )
}

/// A name, or another piece of one line: without what steers.
pub fn line(text: &str) -> String {
    text.chars().filter(|c| !steers(*c)).collect()
}

/// A text of somebody else's: its line breaks stay, each line is shut in, and a later line begins
/// with two spaces, so that none looks like a line of the program's own.
pub fn text(text: &str) -> String {
    let lines = text
        .split('\n')
        .map(|part| format!("{FSI}{}{PDI}", line(part)));
    lines.collect::<Vec<_>>().join("\n  ")
}

/// The same JSON, with what steers written as escapes.
pub fn json(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if steers(c) {
            let number = u32::from(c);
            out.push_str(&format!("\\u{number:04x}"));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a peer might send to a terminal: each with what is left of it to read.
    const ATTACKS: [(&str, &str); 14] = [
        ("\u{1b}[2J\u{1b}[Hempty", "[2J[Hempty"),
        ("\u{1b}]0;title\u{7}", "]0;title"),
        ("\u{1b}]52;c;cm0gLXJm\u{7}paste", "]52;c;cm0gLXJmpaste"),
        (
            "\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\",
            "]8;;http://evil\\link]8;;\\",
        ),
        ("ring\u{7}ring", "ringring"),
        ("over\rwritten", "overwritten"),
        ("back\u{8}\u{8}space", "backspace"),
        ("\u{9b}31mred", "31mred"),
        ("\u{90}q\u{9c}sixel", "qsixel"),
        ("txt.\u{202e}exe", "txt.exe"),
        ("a\u{2067}b\u{2066}c\u{2068}d\u{2069}e", "abcde"),
        ("\u{200e}x\u{200f}y\u{61c}z", "xyz"),
        ("two\u{2028}lines\u{2029}here", "twolineshere"),
        ("del\u{7f}\u{0}nul\tab", "delnulab"),
    ];

    #[test]
    fn nothing_of_an_attack_reaches_the_terminal_but_its_letters() {
        for (attack, left) in ATTACKS {
            assert_eq!(line(attack), left);
            let shown = text(attack);
            assert_eq!(shown, format!("{FSI}{left}{PDI}"));
        }
    }

    #[test]
    fn a_peers_isolate_cannot_end_ours() {
        let shown = text("\u{2069}\u{202e}me: yes");
        assert_eq!(shown.matches(PDI).count(), 1);
        assert!(shown.ends_with(PDI) && shown.starts_with(FSI));
    }

    #[test]
    fn letters_from_right_to_left_and_their_marks_stay() {
        for read in [
            "שלום עולם",
            "مرحبا بالعالم",
            "नमस्ते",
            "a\u{301}",
            "👩\u{200d}👩",
            "می\u{200c}شود",
        ] {
            assert_eq!(line(read), read);
        }
    }

    #[test]
    fn a_later_line_of_a_text_cannot_look_like_another_message() {
        let shown = text("hello\nbob: I agree");
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.lines().nth(1).unwrap().starts_with("  \u{2068}bob"));
    }

    #[test]
    fn json_means_the_same_and_steers_nothing() {
        for (attack, _) in ATTACKS {
            let plain = serde_json::json!({ "text": attack }).to_string();
            let safe = json(&plain);
            assert!(!safe.chars().any(steers), "{safe}");
            let read: serde_json::Value = serde_json::from_str(&safe).unwrap();
            assert_eq!(read["text"], attack);
        }
    }
}
