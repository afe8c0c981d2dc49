//! The role as a whole: real tables in a temporary folder, the real build, real HTTP on a free port. Answers are compared with
//! a plain Rust model over the same rows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, also in its helpers")]

mod app;
mod buckets;
mod counted;
mod formats;
mod heavy;
mod limits;
mod metrics;
mod past;
mod past_kept;
mod pruning;
mod rows;
mod slt;
mod sql;
mod stats;
mod summaries;
mod watched;
