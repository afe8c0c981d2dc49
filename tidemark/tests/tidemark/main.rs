//! The product as its users start it: the real binary, a real NATS server, a local folder or a real S3 server, and DuckDB reading
//! the table for itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, also in its helpers")]

mod chaos;
mod crash;
mod duckdb;
mod edges;
mod end_to_end;
mod messages;
mod process;
mod verify;
