//! Section `[ingest]` of the settings.

use schemas::{Rules, event::Presence};
use serde::Deserialize;
use service::settings::{Address, ByteSize, Interval};

/// Section `[ingest]`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Public address.
    pub listen: Address,
    /// Prometheus and health.
    pub admin_listen: Address,
    /// Whether an event must bring its time.
    pub timestamp: Timestamp,
    /// How far ahead an event time may lie.
    pub future_skew: Interval,
    /// What to do with a field that no event has.
    pub unknown_fields: UnknownFields,
    /// What becomes of an event without an id of its own.
    pub missing_event_id: MissingEventId,
    /// The channels accepted; empty = any.
    pub channels: Vec<String>,
    /// Most events in a request.
    pub max_bulk_events: usize,
    /// Largest body after decompression.
    pub max_body: ByteSize,
    /// A block of this size is full.
    pub block_target: ByteSize,
    /// Blocks of a shard that may wait for the journal at once.
    pub blocks_in_flight: usize,
    /// Bytes of events that may wait for the journal.
    pub max_waiting: ByteSize,
}

/// Whether an event must bring its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timestamp {
    /// An event without is refused.
    Required,
    /// An event without has the time of its arrival.
    Optional,
}

/// What to do with a field that no event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// It is left out.
    Ignore,
    /// The event is refused.
    Reject,
}

/// What becomes of an event without `event_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingEventId {
    /// Its id follows from its fields, so that a repeat is the same event.
    Derived,
    /// It gets a new one, so that a repeat is another event.
    Random,
}

impl Config {
    /// The rules for `/events` and `/events/bulk`.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            timestamp: match self.timestamp {
                Timestamp::Required => Presence::Required,
                Timestamp::Optional => Presence::Optional,
            },
            future_skew: self.future_skew.0,
            reject_unknown_fields: self.unknown_fields == UnknownFields::Reject,
            channels: self.channels.iter().cloned().collect(),
            ..Rules::default()
        }
    }
}
