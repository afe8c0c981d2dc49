//! One shard, message by message, with both tables alongside.

use journal::Delivery;
use pipeline::writer::{Gap, Item};
use schemas::{Position, Sequence, ShardId};

use super::{
    Pinned,
    cursor::{Cursor, Key},
    findings::{Findings, Violation},
    gaps,
    repeats::{Absent, Repeats},
    tally::Tally,
};

pub(super) struct Walk<'a> {
    pub(super) tally: Tally,
    pub(super) events: Cursor<'a>,
    pub(super) quarantine: Cursor<'a>,
    pub(super) repeats: &'a mut Repeats,
    pub(super) findings: &'a mut Findings,
}

impl Walk<'_> {
    /// Finds each item of a message in exactly one place.
    pub(super) async fn check(&mut self, delivery: &Delivery, items: &[Item]) -> anyhow::Result<()> {
        let (shard, sequence) = (delivery.shard, delivery.sequence);
        let tables = [self.events.pinned(), self.quarantine.pinned()];
        let rows = self.events.keys_of(sequence, self.findings).await?;
        let quarantined = self.quarantine.keys_of(sequence, self.findings).await?;
        self.tally.accepted += items.len() as u64;
        for item in items {
            let position = position(shard, sequence, item.index);
            match (holds(rows, item.index), holds(quarantined, item.index)) {
                (true, false) => self.tally.rows += 1,
                (false, true) => self.tally.quarantined += 1,
                (true, true) => self.findings.add(shard, Violation::InBoth { position }),
                (false, false) if is_given_up(tables, item, position) => self.tally.given_up += 1,
                (false, false) => self.repeats.push(Absent::new(item, position)),
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
    pub(super) fn pass(&mut self, shard: ShardId, hole: Gap) {
        if !gaps::cover(&self.tally.gaps, hole) {
            self.findings.add(shard, Violation::Hole { shard, first: hole.first.0, last: hole.last.0 });
        }
    }

    /// Looks at the files that lie outside of the journal's range.
    pub(super) async fn finish(mut self) -> anyhow::Result<Tally> {
        self.events.finish(self.findings).await?;
        self.quarantine.finish(self.findings).await?;
        Ok(self.tally)
    }
}

/// Whether retention or an erasure took the item's row, or the row that it repeats.
fn is_given_up(tables: [&Pinned; 2], item: &Item, position: Position) -> bool {
    let is_erased = |table: &Pinned| table.erased.has(position) || item.identity.is_some_and(|id| table.erased.has_event(id));
    let is_old = |table: &Pinned| table.snapshot.dropped_before().is_some_and(|first| item.date() < first);
    tables.into_iter().any(|table| is_erased(table) || is_old(table))
}

fn holds(keys: &[Key], index: u32) -> bool {
    keys.binary_search_by_key(&index, |key| key.index).is_ok()
}

fn position(shard: ShardId, sequence: Sequence, index: u32) -> Position {
    Position { shard, sequence, index: Some(index) }
}
