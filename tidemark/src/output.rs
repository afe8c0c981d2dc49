//! What a command says on standard output.

use std::io::{ErrorKind, Result, Write, stdout};

use indicatif::HumanCount;

/// Prints a text and ends the line; a reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    write(format!("{text}\n").as_bytes()).map(|_| ())
}

/// Prints bytes as they are, at once; false when the reader has seen enough.
pub(crate) fn write(bytes: &[u8]) -> Result<bool> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// A number with its noun: `1 file`, `20,000 files`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}
