//! The tables: ours, of a version that this program knows, with all their files, committed lately, short of log, and written from this journal.

use std::collections::HashMap;

use anyhow::Context;
use chrono::TimeDelta;
use futures::TryStreamExt;
use indicatif::{HumanCount, HumanDuration};
use journal::{Journal, jetstream::adoption::Streams};
use pipeline::writer::{self, OriginError, confirm};
use schemas::{ShardId, tables};
use service::settings::Interval;
use table::{DataFile, Store, Table};

use super::{Examination, finding::Findings};
use crate::table::status::{Status, TableStatus};

/// What every version of Tidemark has written so far.
const DELTA_PROTOCOL: (i32, i32) = (1, 2);
/// Checkpoints come at least every 50 commits.
const LONG_LOG: u64 = 200;
/// So many files cost every question that reads them all.
const MANY_SMALL_FILES: u64 = 1000;
/// What a commit may take beyond `pipeline.max_age`.
const COMMIT_MARGIN: TimeDelta = TimeDelta::minutes(1);

/// Looks at what a store holds; `runs` says whether somebody should be committing.
pub(super) async fn examine(
    examination: &Examination,
    store: Option<&Store>,
    streams: Option<&Streams>,
    runs: bool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    const CHECK: &str = "tables";
    let Some(store) = store else {
        findings.note(CHECK, "not looked at, because the store is not there or cannot be used");
        return Ok(());
    };
    let table = match Table::open(store, "events").await {
        Ok(Some(table)) => table,
        Ok(None) => {
            findings.note(CHECK, "there is no table yet; `tidemark serve` creates it");
            return Ok(());
        }
        Err(error) => {
            findings.error(CHECK, error);
            return Ok(());
        }
    };
    let status = match Status::of_store(store, &examination.settings).await {
        Ok(status) => status,
        Err(error) => {
            findings.error(CHECK, error);
            return Ok(());
        }
    };
    form(&table, &status.events, findings);
    files(store, findings).await;
    size(&status.events, findings);
    progress(examination, &status, runs, findings)?;
    quarantine(&status, findings);
    match streams {
        Some(streams) => origin(&table, streams, findings).await,
        None => Ok(()),
    }
}

/// Version of the rows, protocol and columns.
fn form(table: &Table, events: &TableStatus, findings: &mut Findings) {
    const CHECK: &str = "tables.form";
    let (schema, found) = (table.schema(), (events.delta_reader_version, events.delta_writer_version));
    let wanted = tables::events();
    let names = wanted.fields().iter().map(|field| field.name().as_str());
    let missing: Vec<&str> = names.filter(|name| schema.field_with_name(name).is_err()).collect();
    if !missing.is_empty() {
        findings.problem(CHECK, format!("the table `events` has no columns {}", missing.join(", ")), "name another place with `table.url`");
    } else if found == DELTA_PROTOCOL {
        findings.ok(CHECK, format!("columns and Delta protocol ({} to read, {} to write) are Tidemark's", found.0, found.1));
    } else {
        let told = format!("the Delta protocol is {} to read and {} to write, Tidemark makes {DELTA_PROTOCOL:?}", found.0, found.1);
        findings.warning(CHECK, told, "another program has changed the table; see whether your readers still open it");
    }
}

/// Whether the store has each file that the log names, with its size. What is in them only `tidemark verify` reads.
async fn files(store: &Store, findings: &mut Findings) {
    const CHECK: &str = "tables.files";
    let (files, wrong) = match missing_files(store).await {
        Ok(found) => found,
        Err(error) => {
            findings.error(CHECK, error);
            return;
        }
    };
    match wrong.first() {
        None => findings.ok(CHECK, format!("all {} data files are there, each with the size that the log says", HumanCount(files))),
        Some(first) => findings.problem(
            CHECK,
            format!("{} of {} data files are missing or have another size than the log says: `{first}` first", wrong.len(), HumanCount(files)),
            "questions that need them are refused; `tidemark verify` names what is lost, `tidemark replay` brings back what the journal has",
        ),
    }
}

/// How many files the newest versions of both tables have, and those that the store does not have as they were written.
async fn missing_files(store: &Store) -> anyhow::Result<(u64, Vec<String>)> {
    let (mut files, mut wrong) = (0, Vec::new());
    for name in ["events", "quarantine"] {
        let Some(table) = Table::open(store, name).await? else { continue };
        let snapshot = table.snapshot().await?;
        let listed = table.object_store().list(None).map_ok(|found| (String::from(found.location), found.size));
        let sizes: HashMap<String, u64> = listed.try_collect().await.context("the store does not list its files")?;
        let is_wrong = |file: &&DataFile| sizes.get(&*file.path) != Some(&file.size_bytes);
        wrong.extend(snapshot.files().iter().filter(is_wrong).map(|file| format!("{name}/{}", file.path)));
        files += snapshot.files().len() as u64;
    }
    Ok((files, wrong))
}

fn size(events: &TableStatus, findings: &mut Findings) {
    const CHECK: &str = "tables.size";
    let (since, small) = (events.log.commits_since_checkpoint, events.files.small_files);
    if since > LONG_LOG {
        let told = format!("{} commits since the last checkpoint make opening the table slow", HumanCount(since));
        findings.warning(CHECK, told, "a running pipeline writes checkpoints; see its log for why it does not");
    }
    if small > MANY_SMALL_FILES {
        let told = format!("{} small files could be joined within their days", HumanCount(small));
        findings.warning(CHECK, told, "`tidemark table status` shows them; many of them slow questions down");
    }
    if since <= LONG_LOG && small <= MANY_SMALL_FILES {
        findings
            .ok(CHECK, format!("{} rows, {since} commits since the last checkpoint, {small} small files", HumanCount(events.files.rows)));
    }
}

/// Whether what the journal has is committed in time.
fn progress(Examination { settings, clock, .. }: &Examination, status: &Status, runs: bool, findings: &mut Findings) -> anyhow::Result<()> {
    const CHECK: &str = "tables.lag";
    let Interval(max_age) = settings.section::<writer::Config>("pipeline")?.max_age;
    let age = status.events.committed_at.map_or(TimeDelta::zero(), |committed_at| clock.now() - committed_at);
    let ago = HumanDuration(age.to_std().unwrap_or_default());
    let waiting: u64 = status.shards.iter().filter_map(|shard| shard.uncommitted_messages).sum();
    let is_late = age > TimeDelta::from_std(max_age)? + COMMIT_MARGIN;
    let told = format!("{} messages of the journal are not committed, and the last commit was {ago} ago", HumanCount(waiting));
    match (waiting, runs) {
        (0, _) => findings.ok(CHECK, format!("everything is committed; the last commit was {ago} ago")),
        (_, false) => findings.note(CHECK, format!("{told}; that is done when Tidemark runs")),
        (_, true) if is_late => findings.problem(CHECK, told, "the pipeline does not commit: see `/readyz` and its log"),
        (_, true) => findings.ok(CHECK, told),
    }
    Ok(())
}

fn quarantine(status: &Status, findings: &mut Findings) {
    const CHECK: &str = "tables.quarantine";
    match status.quarantine.as_ref().map_or(0, |quarantine| quarantine.files.rows) {
        0 => findings.ok(CHECK, "the quarantine is empty"),
        rows => findings.note(
            CHECK,
            format!(
                "{} records are in quarantine; see why with `tidemark sql \"SELECT code, count(*), min(message) FROM quarantine GROUP BY 1\"`, \
                 and give them another try with `tidemark quarantine replay`",
                HumanCount(rows)
            ),
        ),
    }
}

/// Whether each stream is the one from which the table was written.
async fn origin(table: &Table, streams: &Streams, findings: &mut Findings) -> anyhow::Result<()> {
    const CHECK: &str = "tables.origin";
    let (snapshot, journal) = (table.snapshot().await?, streams.journal().await?);
    for shard in snapshot.tidemarks().keys().copied().filter(|shard| *shard < ShardId(streams.shards())) {
        let Some(bounds) = streams.bounds(shard).await? else {
            findings.problem(
                CHECK,
                format!("the table has rows of the stream `{}`, and there is no such stream", streams.name(shard)),
                "restore its files, or let the table go on with a new one: `tidemark journal adopt`",
            );
            continue;
        };
        match confirm(&journal as &dyn Journal, shard, &bounds, &snapshot).await {
            Ok(()) => findings.ok(CHECK, format!("`{}` is the stream from which the table was written", streams.name(shard))),
            Err(error @ (OriginError::AnotherJournal(_) | OriginError::Journal(_))) => findings.error(CHECK, error),
        }
    }
    Ok(())
}
