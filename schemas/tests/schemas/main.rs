//! Rules of the whole crate, seen from outside.

mod oracle;
mod round_trip;
