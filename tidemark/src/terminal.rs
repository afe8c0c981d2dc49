//! The terminal that a person sits at: whether there is one, how wide it is, and what may reach it.
//!
//! Events hold whatever strangers send. A control character in one could move the cursor, change colours or rename the window, so on
//! a terminal each is shown as the picture that Unicode has for it.

use std::{
    borrow::Cow,
    io::{IsTerminal, stdin, stdout},
};

use console::Term;

/// What stands before the number of a control character in the UTF-8 of its picture: U+2400 for NUL, U+241B for escape.
const PICTURE: [u8; 2] = [0xE2, 0x90];
const FIRST_PICTURE: u8 = 0x80;
const DELETE: u8 = 0x7F;
const PICTURE_OF_DELETE: u8 = 0xA1;

/// Whether a person reads what is printed.
pub(crate) fn is_read() -> bool {
    stdout().is_terminal()
}

/// Whether a person reads and types.
pub(crate) fn is_interactive() -> bool {
    is_read() && stdin().is_terminal()
}

/// The number of columns.
pub(crate) fn width() -> usize {
    usize::from(Term::stdout().size().1)
}

/// A text without control characters other than the ends of lines and tabs.
pub(crate) fn visible(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().any(|byte| is_harmful(*byte)) {
        return Cow::Borrowed(bytes);
    }
    let mut shown = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match *byte {
            DELETE => shown.extend([PICTURE[0], PICTURE[1], PICTURE_OF_DELETE]),
            control if is_harmful(control) => shown.extend([PICTURE[0], PICTURE[1], FIRST_PICTURE + control]),
            byte => shown.push(byte),
        }
    }
    Cow::Owned(shown)
}

/// The same of a text, which stays one.
pub(crate) fn visible_text(text: &str) -> String {
    String::from_utf8_lossy(&visible(text.as_bytes())).into_owned()
}

const fn is_harmful(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_pictures_and_everything_else_stays() {
        assert_eq!(visible_text("a\u{1b}[31mb\u{7f}\u{0}\r"), "a␛[31mb␡␀␍");
        assert_eq!(visible_text("ü\t1\n2"), "ü\t1\n2");
        assert!(matches!(visible("plain ü".as_bytes()), Cow::Borrowed(_)));
    }
}
