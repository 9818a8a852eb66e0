//! QR codes for a terminal: an invitation, or a safety number, to be taken with a camera instead of
//! being read out. The code is made by the `qrcode` crate without its image features: error
//! correction over a finite field and eight masks are no place for own code.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// The code of a text, two rows of it in each line; none if the text is too long for one. Dark on
/// light, as cameras want it, whatever the terminal's colours: the light squares are drawn.
pub fn terminal(text: &str) -> Option<String> {
    let code = QrCode::new(text.as_bytes()).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_made_of_blocks_alone_and_has_light_around_it() {
        let code =
            terminal("300354477692869396892869876765458257569162576843440918079131").unwrap();
        let lines: Vec<&str> = code.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(code.chars().all(|c| "█▀▄ \n".contains(c)), "{code}");
        assert!(lines[0].chars().all(|c| c == '█'), "the quiet zone");
        // Version 3 has 29 modules, and four of quiet on each side.
        assert!((29..=41).contains(&width), "{width}");
        assert_eq!(terminal(&"x".repeat(5_000)), None);
    }
}
