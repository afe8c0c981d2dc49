//! The identities of past hours, from the rows of the table: the index at rest.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use futures::TryStreamExt;
use schemas::{IdentityRule, raw::Field};
use table::{DataFile, Error, Snapshot, Table};

use super::dedup::{Hour, keys::KeySet};

/// Asks the table who was there.
#[derive(Clone)]
pub(super) struct History {
    events: Table,
    rule: IdentityRule,
    columns: Vec<&'static str>,
}

impl History {
    pub(super) fn new(events: Table, rule: IdentityRule) -> Self {
        let mut columns = vec![Field::EventId.name(), Field::Timestamp.name(), "received_at"];
        columns.extend(rule.fields().iter().map(|field| field.name()).filter(|name| *name != Field::Timestamp.name()));
        Self { events, rule, columns }
    }

    /// The identities of each of these hours, in one pass over the files that may have rows in any of them.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) async fn load(&self, snapshot: &Snapshot, hours: &BTreeSet<Hour>) -> Result<BTreeMap<Hour, KeySet>, Error> {
        let mut known: BTreeMap<Hour, KeySet> = hours.iter().map(|hour| (*hour, KeySet::default())).collect();
        for file in snapshot.files().iter().filter(|file| may_touch(file, hours)) {
            let mut batches = self.events.read(file, &self.columns).await?;
            while let Some(batch) = batches.try_next().await? {
                self.collect(&batch, &mut known);
            }
        }
        Ok(known)
    }

    fn collect(&self, batch: &RecordBatch, known: &mut BTreeMap<Hour, KeySet>) {
        let timestamps = batch.column_by_name("timestamp").expect("every file has event times").as_primitive::<TimestampMicrosecondType>();
        for (row, timestamp) in timestamps.values().iter().enumerate() {
            if let Some(keys) = known.get_mut(&Hour::of(*timestamp)) {
                keys.insert(u128::from_be_bytes(schemas::identity::of_row(&self.rule, batch, row).0));
            }
        }
    }
}

/// Whether a file may have rows in one of the hours, by the range of times that the Delta log says.
fn may_touch(file: &DataFile, hours: &BTreeSet<Hour>) -> bool {
    let Some((first, last)) = file.stats.timestamp else { return true };
    hours.range(Hour::of(first)..=Hour::of(last)).next().is_some()
}
