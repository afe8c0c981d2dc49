//! Both roles as they are built for real, over the in-memory journal, a temporary table and real HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, also in its helpers")]

mod app;
mod clients;
mod door;
mod edges;
mod errors;
mod gaps;
mod writing;
