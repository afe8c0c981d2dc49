//! What was refused: all of it in a file, the first of it on the terminal.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Context;
use indicatif::HumanCount;
use serde::Serialize;
use serde_json::value::RawValue;

use super::batch::Refusal;
use crate::terminal::visible_text;

/// So many are shown.
const SHOWN: u64 = 20;

/// Where refusals go.
pub(super) struct Refusals {
    file: Option<BufWriter<File>>,
    shown: u64,
    hidden: u64,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    /// What `number` counts.
    unit: &'a str,
    number: u64,
    code: &'a str,
    pointer: &'a str,
    message: &'a str,
    /// The event, when it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    /// What stood there, when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl Refusals {
    /// Refusals go to a file, if one is named; behind what is in it when the import goes on.
    pub(super) fn open(path: Option<&Path>, goes_on: bool) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let opened = File::options().create(true).write(true).append(goes_on).truncate(!goes_on).open(path);
            opened.map(BufWriter::new).with_context(|| format!("cannot write `{}`", path.display()))
        };
        Ok(Self { file: path.map(open).transpose()?, shown: 0, hidden: 0 })
    }

    /// Writes one down; the line to show, if it is one of the first.
    pub(super) fn add(&mut self, file: &str, unit: &str, refusal: &Refusal) -> anyhow::Result<Option<String>> {
        let Refusal { record, code, pointer, message } = refusal;
        let event = serde_json::from_slice::<&RawValue>(&record.json).ok();
        let text = event.is_none().then(|| String::from_utf8_lossy(&record.json).into_owned());
        let line = Line { file, unit, number: record.number, code, pointer, message, event, text };
        if let Some(out) = &mut self.file {
            let line = [serde_json::to_vec(&line)?, b"\n".to_vec()].concat();
            out.write_all(&line).context("what was refused cannot be written")?;
        }
        if self.shown == SHOWN {
            self.hidden += 1;
            return Ok(None);
        }
        self.shown += 1;
        let place = if pointer.is_empty() { String::new() } else { format!("{pointer} ") };
        Ok(Some(visible_text(&format!("{file} {unit} {}: [{code}] {place}{message}", record.number))))
    }

    /// Everything is in the file.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.file.as_mut().map_or(Ok(()), |out| out.flush().and_then(|()| out.get_ref().sync_data()));
        flushed.context("what was refused cannot be written")
    }

    /// How many were not shown.
    pub(super) fn more(&self) -> Option<String> {
        (self.hidden > 0).then(|| format!("and {} more", HumanCount(self.hidden)))
    }
}
