//! NDJSON: each line is an event, or something that the door refuses; empty lines are none.

use std::io::{BufRead, Read};

use super::{MAX_RECORD_BYTES, Out};
use crate::import::{format::without_mark, source::Opened};

/// So much of a line that is too long is kept for the report.
const KEPT_BYTES: usize = 256;

pub(super) fn read(opened: Opened, out: &mut Out<'_>) -> anyhow::Result<()> {
    let mut bytes = opened.bytes;
    for number in 1.. {
        let mut line = Vec::new();
        let limit = MAX_RECORD_BYTES as u64 + 1;
        bytes.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        if line.len() > MAX_RECORD_BYTES {
            bytes.skip_until(b'\n')?;
            line.truncate(KEPT_BYTES);
            out.refuse(number, line, "too_long", format!("the line has more than {} MiB", MAX_RECORD_BYTES >> 20))?;
            continue;
        }
        let text = if number == 1 { without_mark(&line) } else { &line }.trim_ascii();
        if !text.is_empty() {
            out.record(number, text.to_vec())?;
        }
    }
    Ok(())
}
