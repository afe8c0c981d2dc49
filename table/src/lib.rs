//! The lake: Delta tables in a local folder or on S3, through the same code.
//!
//! [`Store`] opens (and probes) the object store; [`Table`] is one Delta table in it. [`Table::write`] turns sorted rows ([`Picked`]) into a
//! [`DataFile`]; [`Table::commit`] adds files and moves a shard's tidemark in one atomic Delta commit, under compare-and-set
//! (INVARIANTS I2, I3); [`Table::snapshot`] pins one version with its files and tidemarks (I7). A [`Policy`] and [`Table::merge`]
//! keep the files few; [`Table::rebuild`] brings lost rows back.
//!
//! The Delta log is read and written by `deltalake-core` without DataFusion, on an object store of our own: `object_store` does not
//! fsync a local file, and a commit must be on disk before the journal may forget its rows (I5).

mod commit;
mod config;
mod data_file;
mod erasures;
mod error;
mod log;
mod log_folder;
mod maintenance;
mod merge;
mod origin;
mod picked;
mod places;
mod probe;
mod protocol;
mod rebuild;
mod replace;
mod scan;
mod snapshot;
mod stats;
mod store;
mod summary;
mod table;
mod tail;
mod writer;

pub use commit::{CommitError, NewCommit};
pub use config::{Config, S3Config};
pub use data_file::{DataFile, FileStats};
pub use erasures::{Erased, ErasedRow};
pub use error::Error;
pub use log_folder::LogFolder;
pub use maintenance::Policy;
pub use merge::Keep;
pub use origin::{Fingerprint, Origin};
pub use picked::Picked;
pub use places::{positions, without};
pub use protocol::Protocol;
pub use replace::Change;
pub use scan::{Scan, Summary, Texts};
pub use snapshot::Snapshot;
pub use store::Store;
pub use summary::{Cell, Level, Place, Span, Users, UsersUnion};
pub use table::Table;
pub use tail::{DecodeError, TailPart, TailUnavailable, TailView, Tails, rows_above, size_bytes};
