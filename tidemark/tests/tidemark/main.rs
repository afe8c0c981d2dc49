//! The product as its users start it: the real binary, a real NATS server, a local folder or a real S3 server, and DuckDB reading
//! the table for itself.

mod chaos;
mod crash;
mod duckdb;
mod end_to_end;
mod messages;
mod process;
