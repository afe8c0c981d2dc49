//! What the journal holds at the end: the truth about what was accepted, in which order.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use futures::StreamExt;
use journal::{Delivery, Journal as _};
use schemas::{Block, ShardId, block};
use service::settings::Settings;

use super::requests::EventKey;

/// Shard, sequence and index.
pub(crate) type Place = (u16, u64, u32);

/// Every item of every message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    /// Events in the order of their places.
    pub(crate) events: Vec<(Place, EventKey)>,
    /// The place of each message that is no event, by its number.
    pub(crate) rubbish: BTreeMap<u64, Place>,
    /// The last sequence of each shard.
    pub(crate) last: BTreeMap<u16, u64>,
}

impl Journal {
    /// Reads all of it.
    pub(crate) async fn read(settings: &Settings) -> Self {
        let source = pipeline::connect::journal(settings).await.unwrap();
        let mut journal = Self::default();
        for shard in (0..source.shards()).map(ShardId) {
            let bounds = source.bounds(shard).await.unwrap();
            assert_eq!(bounds.first.0, 1, "nothing was released, so all of it can be judged");
            journal.last.insert(shard.0, bounds.last.0);
            let mut deliveries = source.read(shard, schemas::Sequence::ZERO).await.unwrap();
            for sequence in 1..=bounds.last.0 {
                let delivery = deliveries.next().await.unwrap().unwrap();
                assert_eq!(delivery.sequence.0, sequence);
                journal.add(&delivery);
            }
        }
        journal
    }

    fn add(&mut self, delivery: &Delivery) {
        let place = |index: usize| (delivery.shard.0, delivery.sequence.0, u32::try_from(index).unwrap());
        match Block::decode(&delivery.payload) {
            Ok(events) => {
                let metadata = events.column_by_name("metadata").unwrap().as_string::<i32>();
                let key = |metadata: Option<&str>| EventKey::of_metadata(metadata.unwrap()).unwrap();
                self.events.extend(metadata.iter().enumerate().map(|(index, metadata)| (place(index), key(metadata))));
            }
            Err(block::Error::Foreign) => self.add_foreign(&delivery.payload, place(0)),
            Err(error) => panic!("{error} at {:?}", place(0)),
        }
    }

    fn add_foreign(&mut self, payload: &[u8], place: Place) {
        let text = std::str::from_utf8(payload).unwrap();
        if let Some(number) = text.strip_prefix(RUBBISH) {
            assert!(self.rubbish.insert(number.parse().unwrap(), place).is_none(), "every rubbish is sent once");
            return;
        }
        let event: serde_json::Value = serde_json::from_str(text).unwrap();
        self.events.push((place, event["event_id"].as_str().unwrap().parse().unwrap()));
    }
}

/// How a message begins that is no event; its number follows.
pub(crate) const RUBBISH: &str = "{\"rubbish\" ";
