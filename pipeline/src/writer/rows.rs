//! `Delivery` -> `Rows`: the table rows of one journal message.
//!
//! A block of ours is decoded and gets the columns that only the journal knows. Anything else is read as JSON; what cannot be
//! an event becomes a quarantine row. So every message is rows (INVARIANTS I9), and none stops the pipeline.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use bytes::Bytes;
use journal::Delivery;
use schemas::{Block, EventDate, Identity, IdentityRule, Rules, Sequence, Timestamp, block, tables};

use super::foreign;

/// The rows of one message, in the columns of the two tables.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) sequence: Sequence,
    /// The message as it was published.
    pub(super) message: Bytes,
    pub(super) events: Option<Identified>,
    pub(super) quarantined: Option<RecordBatch>,
}

/// Rows of `events` and the identity of each.
#[derive(Clone, Debug)]
pub struct Identified {
    /// The events.
    pub rows: RecordBatch,
    /// As many as there are rows.
    pub identities: Vec<Identity>,
}

/// Turns deliveries into rows.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    identity: IdentityRule,
    rules: Rules,
}

impl Reader {
    pub(super) fn new(identity: IdentityRule, foreign_rules: Rules) -> Self {
        Self { identity, rules: foreign_rules }
    }

    pub(super) fn read(&self, delivery: &Delivery) -> Rows {
        match Block::decode(&delivery.payload) {
            Ok(events) => Rows {
                sequence: delivery.sequence,
                message: delivery.payload.clone(),
                events: Some(event_rows(&events, delivery, None)),
                quarantined: None,
            },
            Err(block::Error::Foreign) => foreign::read(delivery, &self.rules, &self.identity),
            Err(error @ block::Error::Broken { .. }) => foreign::quarantine_whole(delivery, "broken_block", &error.to_string()),
        }
    }
}

/// The rows of `events` for a batch in a block's columns. `indices` are their places in the message; none = 0, 1, 2...
pub(super) fn event_rows(block: &RecordBatch, delivery: &Delivery, indices: Option<Vec<i32>>) -> Identified {
    Identified { rows: table_rows(block, delivery, indices), identities: identities(block) }
}

fn table_rows(block: &RecordBatch, delivery: &Delivery, indices: Option<Vec<i32>>) -> RecordBatch {
    let schema = tables::events();
    let count = block.num_rows();
    let column = |name: &str| -> ArrayRef {
        match name {
            tables::EVENT_DATE => Arc::new(dates(block)),
            "_shard" => Arc::new(Int32Array::from_value(i32::from(delivery.shard.0), count)),
            "_sequence" => Arc::new(Int64Array::from_value(sequence(delivery), count)),
            "_index" => Arc::new(Int32Array::from(indices.clone().unwrap_or_else(|| (0..).take(count).collect()))),
            sent => Arc::clone(block.column_by_name(sent).expect("a block has every column of `events` that a client fills")),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(schema, columns).expect("a block's columns have the types of the table")
}

/// The sequence as the table stores it.
pub(super) fn sequence(delivery: &Delivery) -> i64 {
    i64::try_from(delivery.sequence.0).expect("a stream would take centuries to pass 2^63 messages")
}

fn identities(block: &RecordBatch) -> Vec<Identity> {
    let column = block.column_by_name(block::IDENTITY).expect("a block has identities").as_fixed_size_binary();
    column.iter().flatten().map(|bytes| Identity(bytes.try_into().expect("the column has 16 bytes"))).collect()
}

fn dates(block: &RecordBatch) -> Date32Array {
    let timestamps = block.column_by_name("timestamp").expect("a block has event times").as_primitive::<TimestampMicrosecondType>();
    debug_assert_eq!(timestamps.null_count(), 0, "the column is not nullable");
    timestamps.values().iter().map(|us| EventDate::of(Timestamp(*us)).0).collect::<Vec<i32>>().into()
}
