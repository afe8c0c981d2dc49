//! From an HTTP request to a row in Parquet, in two roles that share nothing but the journal.
//!
//! ```text
//! ingest:   request -> RawEvent -> Event -> Block -> journal -> 202
//! writer:   journal -> Delivery -> Rows -> Batch -> DataFiles -> Commit
//! ```
//!
//! [`ingest`] is stateless and may run many times over. [`writer`] (the binary `pipeline`) has one active task for each shard;
//! its only memory of what it did is the tidemark in the table. [`maintenance`] keeps the tables small beside it.

pub mod connect;
mod failpoint;
pub mod ingest;
mod journal_watch;
pub mod maintenance;
pub mod writer;
