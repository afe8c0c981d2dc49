//! `tidemark table compact` and `vacuum`: what maintenance does by itself, now and by hand.

use std::{fmt, time::Duration};

use indicatif::BinaryBytes;
use pipeline::maintenance::{Config, Maintenance};
use serde::Serialize;
use service::{
    clock::Clock,
    settings::{Interval, Settings},
};
use table::{Store, Table};

use super::UpkeepOptions;
use crate::output::{self, counted};

/// What was done, or would be, in one table.
#[derive(Debug, Serialize)]
struct Outcome {
    table: String,
    dry_run: bool,
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// Small files became fewer.
    Merged { merges: u64, files: u64, rows: u64, from_bytes: u64, to_bytes: u64 },
    /// Files that no version needs.
    Deleted { files: u64, bytes: u64 },
}

/// Merges small files, as long as there is something to merge, however fresh it is.
pub(super) async fn compact(options: &UpkeepOptions, settings: &Settings) -> anyhow::Result<()> {
    let maintenance = open(Config { rest: Interval(Duration::ZERO), ..Config::load(settings)? }, settings).await?;
    for table in maintenance.tables() {
        let (mut merges, mut files, mut rows, mut from_bytes, mut to_bytes) = (0, 0, 0, 0, 0);
        if options.dry_run {
            let next = maintenance.next_merge(table).await?;
            merges = u64::from(next.is_some());
            for file in next.into_iter().flatten() {
                (files, rows, from_bytes) = (files + 1, rows + file.rows, from_bytes + file.size_bytes);
            }
        } else {
            while let Some(merged) = maintenance.merge_next(table).await? {
                (merges, files, rows) = (merges + 1, files + merged.files as u64, rows + merged.rows);
                (from_bytes, to_bytes) = (from_bytes + merged.from_bytes, to_bytes + merged.to_bytes);
            }
        }
        Outcome::new(table, options, What::Merged { merges, files, rows, from_bytes, to_bytes }).print(options)?;
    }
    Ok(())
}

/// Deletes the files that no version of the last `maintenance.keep` needs.
pub(super) async fn vacuum(options: &UpkeepOptions, settings: &Settings) -> anyhow::Result<()> {
    let maintenance = open(Config::load(settings)?, settings).await?;
    for table in maintenance.tables() {
        let garbage = maintenance.garbage(table).await?;
        let (files, bytes) = (garbage.len() as u64, garbage.iter().map(|found| found.size).sum());
        if !options.dry_run {
            table.delete(garbage).await?;
        }
        Outcome::new(table, options, What::Deleted { files, bytes }).print(options)?;
    }
    Ok(())
}

async fn open(config: Config, settings: &Settings) -> anyhow::Result<Maintenance> {
    let store = Store::open(&settings.section("table")?).await?;
    Ok(Maintenance::open(&store, config, Clock::system()).await?)
}

impl Outcome {
    fn new(table: &Table, options: &UpkeepOptions, what: What) -> Self {
        Self { table: table.name().to_owned(), dry_run: options.dry_run, what }
    }

    fn print(&self, options: &UpkeepOptions) -> anyhow::Result<()> {
        Ok(output::print(&if options.json { serde_json::to_string(self)? } else { self.to_string() })?)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, dry_run, what } = self;
        match (what, dry_run) {
            (What::Merged { merges: 0, .. }, _) => write!(f, "{table}: nothing to merge"),
            (What::Deleted { files: 0, .. }, _) => write!(f, "{table}: nothing to delete"),
            (What::Merged { files, rows, from_bytes, .. }, true) => {
                let (files, rows) = (counted(*files, "file"), counted(*rows, "row"));
                write!(f, "{table}: the first merge would make one of {files} with {rows} and {}", BinaryBytes(*from_bytes))
            }
            (What::Merged { merges, files, rows, from_bytes, to_bytes }, false) => {
                let (merges, files, rows) = (counted(*merges, "merge"), counted(*files, "file"), counted(*rows, "row"));
                let (from, to) = (BinaryBytes(*from_bytes), BinaryBytes(*to_bytes));
                write!(f, "{table}: {merges} of {files} with {rows}; {from} became {to}")
            }
            (What::Deleted { files, bytes }, dry_run) => {
                let done = if *dry_run { "would be deleted" } else { "deleted" };
                write!(f, "{table}: {} ({}) that no version needs {done}", counted(*files, "file"), BinaryBytes(*bytes))
            }
        }
    }
}
