//! `tidemark erase`: takes events out of the table for good.
//!
//! ```text
//! SQL: where do they stand? -> wait until they are in the table -> remember their places -> write their files anew -> ask again
//! ```
//!
//! The running query finds them, so a condition means what it means in `tidemark sql`. Queries see each file without its rows as soon
//! as it is replaced. The old files are deleted by maintenance, and the journal forgets the events when its retention ends.
//! The places are remembered, so that nobody takes their absence for a loss.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures::TryStreamExt;
use pipeline::{connect::JournalConfig, maintenance};
use schemas::{EventDate, IdentityRule, Position, Sequence, ShardId, identity, raw::Field};
use service::{
    clock::Clock,
    settings::{Interval, Settings},
};
use table::{Change, DataFile, ErasedRow, Scan, Snapshot, Store, Table};

use self::{places::Places, receipt::Receipt};
use crate::output;

mod places;
mod receipt;

/// How long the pipeline may take to commit what is in its tail.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Queries look at the tables at least so often; after it no answer has the rows.
const UNTIL_QUERIES_SEE: Duration = Duration::from_secs(1);
/// Merges may replace the files under our hands; then we look again.
const ROUNDS: usize = 100;

/// Options of `tidemark erase`.
#[derive(Args)]
pub(crate) struct EraseOptions {
    /// Erase all events of this user, and the records of `quarantine` that contain the id as a JSON text.
    #[arg(long, value_name = "ID", required_unless_present = "condition", conflicts_with = "condition")]
    user: Option<String>,
    /// Erase the events for which this SQL condition is true.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Say how many there are, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
    /// The address of the server that finds them; that of `tidemark serve` under the same settings unless given.
    #[arg(long)]
    url: Option<String>,
}

/// Erases and prints the receipt.
pub(crate) async fn run(options: EraseOptions, settings: &Settings) -> anyhow::Result<()> {
    let places = Places::new(options.url.clone(), settings)?;
    let store = Store::open(&settings.section("table")?).await?;
    let eraser = Eraser {
        places,
        rule: settings.section::<identity::Config>("dedup")?.identity,
        clock: Clock::system(),
        kept_files: maintenance::Config::load(settings)?.keep,
        kept_messages: settings.section::<JournalConfig>("journal")?.retention,
    };
    let receipt = eraser.run(&store, &options).await?;
    output::print(&if options.json { serde_json::to_string_pretty(&receipt)? } else { receipt.to_string() })?;
    Ok(())
}

struct Eraser {
    places: Places,
    rule: IdentityRule,
    clock: Clock,
    kept_files: Interval,
    kept_messages: Interval,
}

/// Where rows stand, day by day.
type Days = BTreeMap<EventDate, HashSet<Position>>;

impl Eraser {
    async fn run(&self, store: &Store, options: &EraseOptions) -> anyhow::Result<Receipt> {
        let mut receipt = Receipt::new(options.dry_run, self.kept_files, self.kept_messages, self.clock.now());
        for (name, condition) in conditions(options) {
            let found = self.places.of(name, &condition).await?;
            let part = receipt.begin(name, found.values().map(|places| places.len() as u64).sum());
            if options.dry_run || found.is_empty() {
                continue;
            }
            let table = Table::open(store, name).await?.with_context(|| format!("there is no table `{name}` at `{}`", store.location()))?;
            self.wait_until_committed(&table, &found).await?;
            self.erase(&table, found, &condition, part).await?;
        }
        if !options.dry_run {
            self.pause(UNTIL_QUERIES_SEE).await;
        }
        Ok(receipt)
    }

    /// Waits until every place is covered by the table's tidemark.
    async fn wait_until_committed(&self, table: &Table, found: &Days) -> anyhow::Result<()> {
        let mut last: BTreeMap<ShardId, Sequence> = BTreeMap::new();
        for position in found.values().flatten() {
            let last = last.entry(position.shard).or_default();
            *last = position.sequence.max(*last);
        }
        let deadline = self.clock.now() + PATIENCE;
        loop {
            let snapshot = table.snapshot().await?;
            if last.iter().all(|(shard, last)| snapshot.tidemark(*shard) >= *last) {
                return Ok(());
            }
            ensure!(
                self.clock.now() < deadline,
                "some of these events are not in the table after {PATIENCE:?}; nothing was erased. Start the pipeline (`/readyz` says what \
                 is down) and erase again"
            );
            self.pause(LOOK_EVERY).await;
        }
    }

    /// Writes the files with these rows anew, until none has any.
    async fn erase(&self, table: &Table, mut found: Days, condition: &str, part: &mut receipt::Part) -> anyhow::Result<()> {
        for _ in 0..ROUNDS {
            let snapshot = table.snapshot().await?;
            for file in candidates(&snapshot, &found) {
                let places = Arc::new(found.get(&file.date).cloned().unwrap_or_default());
                let rows = self.rows(table, &file, &places).await?;
                if rows.is_empty() {
                    continue;
                }
                table.remember_erased(&rows).await?;
                let into = table.merge_kept(std::slice::from_ref(&file), table::without(Arc::clone(&places))).await?;
                let kept = into.as_ref().map_or(0, |file| file.rows);
                ensure!(kept + rows.len() as u64 == file.rows, "`{}` would lose other rows too; nothing was erased in it", file.path);
                let change = Change::Rows(format!("erased: {condition}"));
                if table.replace(vec![file.clone()], into, change, self.clock.now()).await?.is_some() {
                    part.erased(&file, rows.len() as u64);
                    let left = found.get_mut(&file.date).expect("a candidate is of a day with places");
                    rows.iter().for_each(|row| assert!(left.remove(&row.position), "a row stands in one file (I3)"));
                }
            }
            found.retain(|_, places| !places.is_empty());
            if found.is_empty() {
                return Ok(());
            }
        }
        bail!("{} rows were not found in any file; run `tidemark verify`", found.values().map(HashSet::len).sum::<usize>())
    }

    /// The rows of a file that stand at these places.
    async fn rows(&self, table: &Table, file: &DataFile, places: &HashSet<Position>) -> anyhow::Result<Vec<ErasedRow>> {
        let is_events = table.schema().column_with_name(Field::EventName.name()).is_some();
        let columns = if is_events { self.columns() } else { vec!["_shard", "_sequence", "_index"] };
        let mut batches = table.scan(file, &Scan { columns: &columns, ..Scan::default() }).await?;
        let mut rows = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            let hits = table::positions(&batch).enumerate().filter(|(_, position)| places.contains(position));
            let identity = |row| is_events.then(|| identity::of_row(&self.rule, &batch, row));
            rows.extend(hits.map(|(row, position)| ErasedRow { position, identity: identity(row) }));
        }
        Ok(rows)
    }

    /// What the place and the identity of an event are made of.
    fn columns(&self) -> Vec<&'static str> {
        let mut columns = BTreeSet::from(["_shard", "_sequence", "_index", "received_at", "timestamp", "event_id"]);
        columns.extend(self.rule.fields().iter().map(|field| field.name()));
        columns.into_iter().collect()
    }

    async fn pause(&self, pause: Duration) {
        self.clock.sleep_until(self.clock.now() + pause).await;
    }
}

/// Tables and what to erase in each.
fn conditions(options: &EraseOptions) -> Vec<(&'static str, String)> {
    match (&options.user, &options.condition) {
        (Some(user), _) => {
            let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
            let as_json = serde_json::to_string(user).expect("a text is JSON");
            let raw = format!("contains(coalesce(TRY_CAST(raw AS TEXT), ''), {})", text(&as_json));
            vec![("events", format!("user_id = {}", text(user))), ("quarantine", raw)]
        }
        (None, condition) => vec![("events", condition.clone().unwrap_or_default())],
    }
}

/// The files that may hold some of the places.
fn candidates(snapshot: &Snapshot, found: &Days) -> Vec<DataFile> {
    let may_hold = |file: &&DataFile| {
        found.get(&file.date).is_some_and(|places| {
            places.iter().any(|place| {
                file.stats.shards.is_none_or(|(first, last)| (first..=last).contains(&place.shard))
                    && file.stats.sequences.is_none_or(|(first, last)| (first..=last).contains(&place.sequence))
            })
        })
    };
    snapshot.files().iter().filter(may_hold).cloned().collect()
}
