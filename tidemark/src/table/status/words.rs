//! The status for a person.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::{BinaryBytes, HumanCount, HumanDuration};

use super::{
    Log, Shard, Status, TableStatus,
    files::{Files, SMALL_BYTES},
};
use crate::output::counted;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events in {}", self.location)?;
        self.events.write("events", self.at, f)?;
        for shard in &self.shards {
            write!(f, "\n  shard {:<7}{shard}", shard.shard)?;
        }
        if let Some(error) = &self.journal_error {
            write!(f, "\n  journal      not asked how far it is: {error}")?;
        }
        match &self.quarantine {
            None => write!(f, "\nquarantine: there is no such table yet"),
            Some(quarantine) => {
                write!(f, "\nquarantine: what was durable and is no event")?;
                quarantine.write("records", self.at, f)
            }
        }
    }
}

impl TableStatus {
    /// What one table is made of; its rows are `things`.
    fn write(&self, things: &str, at: DateTime<Utc>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, committed_at, delta_reader_version: reader, delta_writer_version: writer, schema_version, files, log } = self;
        files.write(things, f)?;
        write!(f, "\n  version      {version}")?;
        if let Some(age) = committed_at.and_then(|committed_at| (at - committed_at).to_std().ok()) {
            write!(f, ", committed {} ago", HumanDuration(whole_seconds(age)))?;
        }
        let columns = schema_version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
        write!(f, "; Delta protocol {reader} to read, {writer} to write; columns of version {columns}")?;
        write!(f, "\n  log          {log}")
    }
}

impl Files {
    fn write(&self, things: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, files, bytes, partitions, .. } = self;
        if *files == 0 {
            return write!(f, "\n  rows         none");
        }
        let (rows, files, days) = (HumanCount(*rows), counted(*files, "file"), counted(*partitions, "day"));
        write!(f, "\n  rows         {rows} in {files} of {days}, {}", BinaryBytes(*bytes))?;
        if let Some(bytes_per_row) = self.bytes_per_row {
            write!(f, ", {bytes_per_row:.1} bytes for each")?;
        }
        match (self.oldest, self.newest, self.first_day, self.last_day) {
            (Some(oldest), Some(newest), ..) => write!(f, "\n  {things:<13}from {} to {}", time(oldest), time(newest))?,
            (.., Some(first), Some(last)) => write!(f, "\n  {things:<13}from {first} to {last}")?,
            _ => {}
        }
        self.write_small(f)
    }

    fn write_small(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, small_files, small_bytes, .. } = self;
        let (below_mib, percent) = (SMALL_BYTES >> 20, 100 * small_bytes / bytes.max(&1));
        match small_files {
            0 => write!(f, "\n  small files  none that could be joined with others of its day"),
            _ => {
                let (small, files) = (HumanCount(*small_files), HumanCount(*files));
                write!(
                    f,
                    "\n  small files  {small} of {files} are below {below_mib} MiB and could be joined within their days: {percent} % of the bytes"
                )
            }
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, commits_since_checkpoint, .. } = self;
        match self.checkpoint {
            Some(checkpoint) => write!(f, "{} since the checkpoint of version {checkpoint}", counted(*commits_since_checkpoint, "commit"))?,
            None => write!(f, "{}, no checkpoint yet", counted(*commits_since_checkpoint, "commit"))?,
        }
        write!(f, "; {}, {}", counted(*files, "file"), BinaryBytes(*bytes))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tidemark {}", self.tidemark)?;
        match (self.journal_last, self.uncommitted_messages) {
            (Some(last), Some(0)) => write!(f, ", the journal is at {last}: everything is committed"),
            (Some(last), Some(more)) => write!(f, ", the journal is at {last}: {} not committed yet", counted(more, "message")),
            _ => Ok(()),
        }
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

const fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
