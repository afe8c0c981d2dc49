//! The identities of past minutes, from the rows of the table: the index at rest.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use schemas::{IdentityRule, identity, raw::Field};
use table::{DataFile, Error, Scan, Table};
use tokio::task::spawn_blocking;

use super::dedup::Minute;

pub(super) use self::reading::Reading;

mod reading;

/// Files that are read at the same time: most of the wait is the store's.
const FILES_AT_ONCE: usize = 8;
/// Batches of rows that are hashed at the same time.
const BATCHES_AT_ONCE: usize = 2;

/// Asks the table who was there.
#[derive(Clone)]
pub(super) struct History {
    events: Table,
    rule: Arc<IdentityRule>,
    columns: Arc<[&'static str]>,
}

/// Identities and their minutes.
pub(super) type Keys = Vec<(Minute, u128)>;

impl History {
    pub(super) fn new(events: Table, rule: IdentityRule) -> Self {
        let mut columns = vec![Field::EventId.name(), Field::Timestamp.name(), "received_at"];
        columns.extend(rule.fields().iter().map(|field| field.name()).filter(|name| *name != Field::Timestamp.name()));
        Self { events, rule: Arc::new(rule), columns: columns.into() }
    }

    /// The identities of all rows in the minutes of a reading; each file is read once, and of it only the pages that may matter.
    ///
    /// The stream fails when the table cannot be read.
    pub(super) fn read(&self, reading: &Reading) -> impl Stream<Item = Result<Keys, Error>> + Send + use<> {
        let (minutes, ranges): (_, Arc<[_]>) = (Arc::new(reading.minutes().clone()), reading.ranges_us().into());
        let (this, hasher) = (self.clone(), self.clone());
        let open = move |file: DataFile| {
            let (this, ranges) = (this.clone(), Arc::clone(&ranges));
            async move { this.events.scan(&file, &Scan { columns: &this.columns, ranges_us: Some(&ranges), ..Scan::default() }).await }
        };
        let batches = stream::iter(reading.files().to_vec()).map(open).buffered(FILES_AT_ONCE).try_flatten_unordered(FILES_AT_ONCE);
        let hash = move |batch: RecordBatch| {
            let (hasher, minutes) = (hasher.clone(), Arc::clone(&minutes));
            async move { Ok(spawn_blocking(move || hasher.keys(&batch, &minutes)).await.expect("hashing does not panic")) }
        };
        batches.map_ok(hash).try_buffered(BATCHES_AT_ONCE)
    }

    fn keys(&self, batch: &RecordBatch, minutes: &BTreeSet<Minute>) -> Keys {
        let times = batch.column_by_name("timestamp").expect("every file has event times").as_primitive::<TimestampMicrosecondType>();
        let rows = times.values().iter().map(|us| Minute::of(*us)).enumerate().filter(|(_, minute)| minutes.contains(minute));
        rows.map(|(row, minute)| (minute, u128::from_be_bytes(identity::of_row(&self.rule, batch, row).0))).collect()
    }
}
