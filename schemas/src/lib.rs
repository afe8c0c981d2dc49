//! What an event is, from the bytes a client sends to the row of a table. No I/O.
//!
//! The modules stand in the order in which an event meets them:
//! [`raw`] (JSON as sent, of which [`metadata`] is kept whole) -> [`event`] (valid, typed) -> [`identity`] (what makes it the same event)
//! -> [`block`] (Arrow IPC, one journal message) -> [`position`] (where the journal put it)
//! -> [`partition`] (its day) -> [`tables`] (the row).

pub mod block;
mod cloud_event;
pub mod event;
pub mod identity;
mod json;
pub mod metadata;
pub mod partition;
pub mod position;
pub mod raw;
pub mod suggest;
pub mod tables;
pub mod timestamp;
pub mod violation;

pub use block::{Block, BlockBuilder};
pub use event::{Event, Rules};
pub use identity::{Identity, IdentityRule};
pub use partition::EventDate;
pub use position::{Position, Sequence, ShardId};
pub use raw::RawEvent;
pub use timestamp::Timestamp;
pub use violation::{Code, Violation};
