//! Journal, tables and quarantine side by side, position by position (INVARIANTS I2, I4, I9): one audit, which `tidemark verify` reports
//! and `tidemark replay` puts right.
//!
//! ```text
//! journal --items--> [is a row?] --no--> [is in quarantine?] --no--> repeats --> [is an earlier row the same event?] --no--> lost
//! ```
//!
//! The tables are pinned first, the journal is read up to their tidemark, so a running pipeline does not disturb. What was released
//! from the journal cannot be compared; its rows are still checked for their key, their day and their file. The rows of a file that
//! cannot be read count as not there.
//!
//! Files are streamed. In memory are 16 bytes for each row of the files whose sequences overlap (without compaction: of one commit),
//! 32 bytes for each row of one day, and 48 bytes for each item that is no row. Rows and repeats are judged by the identity rule in
//! force now.

use std::collections::BTreeSet;

use anyhow::Context;
use journal::{Delivery, Journal};
use pipeline::{
    connect,
    writer::{Gap, Items},
};
use schemas::{IdentityRule, Sequence, ShardId, identity};
use service::settings::Settings;
use table::{Erased, Snapshot, Store, Table};

use self::{
    cursor::Cursor,
    repeats::{Judged, Repeats},
    walk::Walk,
};

pub(crate) use self::{
    findings::{Findings, Violation},
    messages::Messages,
    repeats::{Absent, Fate, Late},
    tally::Tally,
};

mod cursor;
mod files;
mod findings;
mod gaps;
mod messages;
mod repeats;
mod tally;
mod walk;

/// A table and the version of it that is looked at.
pub(crate) struct Pinned {
    pub(crate) table: Table,
    pub(crate) snapshot: Snapshot,
    pub(crate) erased: Erased,
}

/// Whoever compares.
pub(crate) struct Auditor {
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) identity: IdentityRule,
    items: Items,
    pub(crate) events: Pinned,
    pub(crate) quarantine: Pinned,
}

/// What was seen.
pub(crate) struct Audit {
    pub(crate) tallies: Vec<Tally>,
    pub(crate) findings: Findings,
    /// What should be somewhere and is nowhere, in the order of the positions.
    pub(crate) lost: Vec<Absent>,
    /// Rows that stand where a repeat of something lost stood.
    pub(crate) late: Vec<Late>,
}

impl Auditor {
    /// Pins `events` first: what it holds was quarantined before.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let identity = settings.section::<identity::Config>("dedup")?.identity;
        let journal = Box::new(connect::journal(settings).await?);
        let store = Store::open(&settings.section("table")?).await?;
        let (events, quarantine) = (Pinned::open(&store, "events").await?, Pinned::open(&store, "quarantine").await?);
        Ok(Self { journal, items: Items::new(identity.clone()), identity, events, quarantine })
    }

    /// Compares everything, or one shard; `seen` is told each message.
    pub(crate) async fn audit(&self, only: Option<ShardId>, seen: &mut dyn FnMut(&Delivery)) -> anyhow::Result<Audit> {
        let shards = only.map_or_else(|| self.shards(), |shard| BTreeSet::from([shard]));
        let (mut findings, mut repeats, mut tallies) = (Findings::default(), Repeats::default(), Vec::new());
        for pinned in [&self.events, &self.quarantine] {
            files::examine(pinned, &shards, &mut findings).await?;
        }
        for shard in shards {
            tallies.push(self.audit_shard(shard, &mut repeats, &mut findings, seen).await?);
        }
        let Judged { absent, late } = repeats.judge(&self.events, &self.identity, &mut findings).await?;
        let mut lost = Vec::new();
        for absent in absent {
            match absent.fate {
                Fate::Repeat => {
                    tallies.iter_mut().filter(|tally| tally.shard == absent.position.shard).for_each(|tally| tally.duplicates += 1);
                }
                Fate::Lost | Fate::Overtaken => lost.push(absent),
            }
        }
        Ok(Audit { tallies, findings, lost, late })
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

    async fn audit_shard(
        &self,
        shard: ShardId,
        repeats: &mut Repeats,
        findings: &mut Findings,
        seen: &mut dyn FnMut(&Delivery),
    ) -> anyhow::Result<Tally> {
        let bounds = self.journal.bounds(shard).await.context("the journal cannot be read")?;
        let tidemark = self.events.snapshot.tidemark(shard);
        if bounds.last < tidemark {
            findings.add(shard, Violation::JournalEndsEarly { shard, last: bounds.last.0, tidemark: tidemark.0 });
        }
        let mut walk = Walk {
            tally: Tally::new(shard, &bounds, tidemark, gaps::recorded(&self.quarantine, shard, findings).await),
            events: Cursor::new(&self.events, shard),
            quarantine: Cursor::new(&self.quarantine, shard),
            repeats,
            findings,
        };
        if let Some((first, end)) = walk.tally.checked {
            let mut messages = Messages::after(self.journal.as_ref(), shard, Sequence(first.0 - 1));
            while messages.at() < end {
                match messages.next().await? {
                    Ok(delivery) => {
                        seen(&delivery);
                        walk.check(&delivery, &self.items.of(&delivery)).await?;
                    }
                    Err(gap) => walk.pass(shard, Gap { last: gap.last.min(end), ..gap }),
                }
            }
        }
        walk.finish().await
    }
}

impl Pinned {
    async fn open(store: &Store, name: &str) -> anyhow::Result<Self> {
        let missing =
            || format!("there is no table `{name}` at `{}`; `table.url` names the place, `tidemark serve` creates it", store.location());
        let table = Table::open(store, name).await?.with_context(missing)?;
        Ok(Self { snapshot: table.snapshot().await?, erased: table.erased().await?, table })
    }

    /// Whether it is the table of what was no event.
    pub(crate) fn is_quarantine(&self) -> bool {
        self.table.name() == "quarantine"
    }
}
