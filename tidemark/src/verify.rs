//! `tidemark verify`: journal, tables and quarantine side by side, position by position (INVARIANTS I2, I4, I9).
//!
//! ```text
//! journal --items--> [is a row?] --no--> [is in quarantine?] --no--> repeats --> [is an earlier row the same event?] --no--> lost
//! ```
//!
//! The tables are pinned first, the journal is read up to their tidemark, so a running pipeline does not disturb. What was released
//! from the journal cannot be compared; its rows are still checked for their key, their day and their file.
//!
//! Files are streamed, twice. In memory are 16 bytes for each row of the files whose sequences overlap (without compaction: of one
//! commit), 32 bytes for each row of one day, and 48 bytes for each duplicate. Rows and repeats are judged by the identity rule in
//! force now.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use futures::TryStreamExt;
use journal::{Bounds, Deliveries, Delivery, Error, Journal};
use pipeline::{
    connect,
    writer::{Gap, Item, Items},
};
use schemas::{Position, Sequence, ShardId, identity};
use service::settings::Settings;
use table::{Erased, Snapshot, Store, Table};
use tokio::time::timeout;

use self::{
    cursor::{Cursor, Key},
    findings::{Findings, Violation},
    repeats::{Repeat, Repeats},
    report::{Report, Tally},
};

use crate::output;

mod cursor;
mod findings;
mod gaps;
mod repeats;
mod report;

/// How long the journal may take for the next message, of which we know that it is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `tidemark verify`.
#[derive(Args)]
pub(crate) struct VerifyOptions {
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Check one shard only.
    #[arg(long)]
    shard: Option<u16>,
}

/// Prints the report; fails when a rule is broken, or something cannot be read.
pub(crate) async fn run(options: VerifyOptions, settings: &Settings) -> anyhow::Result<()> {
    service::telemetry::install_crypto();
    let report = Verifier::open(settings).await?.verify(options.shard.map(ShardId)).await?;
    output::print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.to_string() })?;
    match report.violations {
        0 => Ok(()),
        1 => bail!("1 violation: journal and tables do not tell one story"),
        many => bail!("{many} violations: journal and tables do not tell one story"),
    }
}

/// A table and the version of it that is checked.
struct Pinned {
    table: Table,
    snapshot: Snapshot,
    erased: Erased,
}

struct Verifier {
    journal: Box<dyn Journal>,
    identity: schemas::IdentityRule,
    items: Items,
    events: Pinned,
    quarantine: Pinned,
}

impl Verifier {
    /// Pins `events` first: what it holds was quarantined before.
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let identity = settings.section::<identity::Config>("dedup")?.identity;
        let journal = Box::new(connect::journal(settings).await?);
        let store = Store::open(&settings.section("table")?).await?;
        let (events, quarantine) = (Pinned::open(&store, "events").await?, Pinned::open(&store, "quarantine").await?);
        Ok(Self { journal, items: Items::new(identity.clone()), identity, events, quarantine })
    }

    async fn verify(&self, only: Option<ShardId>) -> anyhow::Result<Report> {
        let (mut findings, mut repeats, mut tallies) = (Findings::default(), Repeats::default(), Vec::new());
        for shard in only.map_or_else(|| self.shards(), |shard| BTreeSet::from([shard])) {
            tallies.push(self.verify_shard(shard, &mut repeats, &mut findings).await?);
        }
        for Repeat { position, is_repeat, .. } in repeats.judge(&self.events, &self.identity, &mut findings).await? {
            match is_repeat {
                true => tallies.iter_mut().filter(|tally| tally.shard == position.shard).for_each(|tally| tally.duplicates += 1),
                false => findings.add(position.shard, Violation::Lost { position }),
            }
        }
        Ok(Report::new(tallies, findings, [&self.events, &self.quarantine]))
    }

    /// Every shard that the journal has, or that a table speaks of.
    fn shards(&self) -> BTreeSet<ShardId> {
        let mut shards: BTreeSet<ShardId> = (0..self.journal.shards()).map(ShardId).collect();
        for Pinned { snapshot, .. } in [&self.events, &self.quarantine] {
            shards.extend(snapshot.tidemarks().keys());
            let ranges = snapshot.files().iter().filter_map(|file| file.stats.shards);
            shards.extend(ranges.flat_map(|(first, last)| (first.0..=last.0).map(ShardId)));
        }
        shards
    }

    async fn verify_shard(&self, shard: ShardId, repeats: &mut Repeats, findings: &mut Findings) -> anyhow::Result<Tally> {
        let Bounds { first, last, .. } = self.journal.bounds(shard).await.context("the journal cannot be read")?;
        let tidemark = self.events.snapshot.tidemark(shard);
        if last < tidemark {
            findings.add(shard, Violation::JournalEndsEarly { shard, last: last.0, tidemark: tidemark.0 });
        }
        let mut walk = Walk {
            tally: Tally::new(shard, first, last.min(tidemark), gaps::recorded(&self.quarantine, shard).await),
            events: Cursor::new(&self.events, shard),
            quarantine: Cursor::new(&self.quarantine, shard),
            repeats,
            findings,
        };
        if let Some((first, end)) = walk.tally.checked {
            let mut at = Sequence(first.0 - 1);
            let mut deliveries = None;
            while at < end {
                match self.next(shard, at, &mut deliveries).await? {
                    Ok(delivery) => {
                        at = delivery.sequence;
                        walk.check(&delivery, &self.items.of(&delivery)).await?;
                    }
                    Err(gap) => {
                        at = gap.last;
                        walk.pass(shard, Gap { last: gap.last.min(end), ..gap });
                        deliveries = None;
                    }
                }
            }
        }
        walk.finish().await
    }

    /// The message after `at`, or the hole that is there instead.
    async fn next(&self, shard: ShardId, at: Sequence, open: &mut Option<Deliveries>) -> anyhow::Result<Result<Delivery, Gap>> {
        let next = async {
            if open.is_none() {
                *open = Some(self.journal.read(shard, at).await?);
            }
            open.as_mut().expect("opened above").try_next().await
        };
        match timeout(PATIENCE, next).await.context("the journal does not answer")? {
            Err(Error::Gap { expected, found, .. }) => Ok(Err(Gap { first: expected, last: Sequence(found.0 - 1) })),
            next => Ok(Ok(next.context("the journal cannot be read")?.context("the journal ended before its last message")?)),
        }
    }
}

impl Pinned {
    async fn open(store: &Store, name: &str) -> anyhow::Result<Self> {
        let missing =
            || format!("there is no table `{name}` at `{}`; `table.url` names the place, `tidemark serve` creates it", store.location());
        let table = Table::open(store, name).await?.with_context(missing)?;
        Ok(Self { snapshot: table.snapshot().await?, erased: table.erased().await?, table })
    }
}

/// One shard, message by message, with both tables alongside.
struct Walk<'a> {
    tally: Tally,
    events: Cursor<'a>,
    quarantine: Cursor<'a>,
    repeats: &'a mut Repeats,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    /// Finds each item of a message in exactly one place.
    async fn check(&mut self, delivery: &Delivery, items: &[Item]) -> anyhow::Result<()> {
        let (shard, sequence) = (delivery.shard, delivery.sequence);
        let tables = [self.events.pinned(), self.quarantine.pinned()];
        let rows = self.events.keys_of(sequence, self.findings).await?;
        let quarantined = self.quarantine.keys_of(sequence, self.findings).await?;
        self.tally.accepted += items.len() as u64;
        for item in items {
            let position = position(shard, sequence, item.index);
            match (holds(rows, item.index), holds(quarantined, item.index), item.identity) {
                (true, false, _) => self.tally.rows += 1,
                (false, true, _) => self.tally.quarantined += 1,
                (true, true, _) => self.findings.add(shard, Violation::InBoth { position }),
                (false, false, _) if is_given_up(tables, item, position) => self.tally.given_up += 1,
                (false, false, Some(identity)) => self.repeats.push(Repeat { identity, position, is_repeat: false }),
                (false, false, None) => self.findings.add(shard, Violation::Lost { position }),
            }
        }
        for (table, key) in rows.iter().map(|key| ("events", key)).chain(quarantined.iter().map(|key| ("quarantine", key))) {
            if items.binary_search_by_key(&key.index, |item| item.index).is_err() {
                self.findings.add(shard, Violation::NotInJournal { position: position(shard, sequence, key.index), table });
            }
        }
        Ok(())
    }

    /// Accounts for messages that are not there.
    fn pass(&mut self, shard: ShardId, hole: Gap) {
        if !gaps::cover(&self.tally.gaps, hole) {
            self.findings.add(shard, Violation::Hole { shard, first: hole.first.0, last: hole.last.0 });
        }
    }

    /// Looks at the files that lie outside of the journal's range.
    async fn finish(mut self) -> anyhow::Result<Tally> {
        self.events.finish(self.findings).await?;
        self.quarantine.finish(self.findings).await?;
        Ok(self.tally)
    }
}

/// Whether retention or an erasure took the item's row, or the row that it repeats.
fn is_given_up(tables: [&Pinned; 2], item: &Item, position: Position) -> bool {
    let is_erased = |table: &Pinned| table.erased.has(position) || item.identity.is_some_and(|id| table.erased.has_event(id));
    let is_old = |table: &Pinned| table.snapshot.dropped_before().is_some_and(|first| item.date < first);
    tables.into_iter().any(|table| is_erased(table) || is_old(table))
}

fn holds(keys: &[Key], index: u32) -> bool {
    keys.binary_search_by_key(&index, |key| key.index).is_ok()
}

fn position(shard: ShardId, sequence: Sequence, index: u32) -> Position {
    Position { shard, sequence, index: Some(index) }
}
