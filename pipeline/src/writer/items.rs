//! What a journal message holds, as the writer reads it: for those who check afterwards what became of it.

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, TimestampMicrosecondType},
};
use journal::Delivery;
use schemas::{EventDate, Identity, IdentityRule, Rules, Timestamp};

use super::rows::Reader;

/// One thing in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place in the message, counted from 0.
    pub index: u32,
    /// What makes it the same event as another; `None` when it is no event.
    pub identity: Option<Identity>,
    /// The time of its row, in whose day it lies: that of the event, or of its arrival when it is none.
    pub at: Timestamp,
}

impl Item {
    /// The day of its row.
    #[must_use]
    pub fn date(&self) -> EventDate {
        EventDate::of(self.at)
    }
}

/// Splits messages into items, by the same code that makes their rows.
#[derive(Clone, Debug)]
pub struct Items(Reader);

impl Items {
    /// Items that are identified by this rule.
    #[must_use]
    pub fn new(identity: IdentityRule) -> Self {
        Self(Reader::new(identity, Rules::default().for_foreign_messages()))
    }

    /// The items of a message, in their order, none left out.
    #[must_use]
    pub fn of(&self, delivery: &Delivery) -> Vec<Item> {
        let rows = self.0.read(delivery);
        let mut items = Vec::new();
        if let Some(events) = &rows.events {
            let places = indices(&events.rows).zip(times(&events.rows, "timestamp"));
            items.extend(places.zip(&events.identities).map(|((index, at), id)| Item { index, identity: Some(*id), at }));
        }
        if let Some(quarantined) = &rows.quarantined {
            let places = indices(quarantined).zip(times(quarantined, "received_at"));
            items.extend(places.map(|(index, at)| Item { index, identity: None, at }));
        }
        items.sort_unstable_by_key(|item| item.index);
        items
    }
}

fn indices(rows: &RecordBatch) -> impl Iterator<Item = u32> {
    let column = rows.column_by_name("_index").expect("both tables have it").as_primitive::<Int32Type>();
    column.values().iter().map(|index| u32::try_from(*index).expect("indices are counted from 0"))
}

fn times(rows: &RecordBatch, column: &str) -> impl Iterator<Item = Timestamp> {
    let column = rows.column_by_name(column).expect("each table has its time").as_primitive::<TimestampMicrosecondType>();
    column.values().iter().copied().map(Timestamp)
}
