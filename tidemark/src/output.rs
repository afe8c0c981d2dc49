//! What a command says on standard output.

use std::io::{ErrorKind, Result, Write, stdout};

/// Prints a text and ends the line; a reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
