//! The product as its users start it: the real binary, a real NATS server, a local folder or a real S3 server, and DuckDB reading
//! the table for itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, also in its helpers")]

mod as_sent;
mod chaos;
mod charts;
mod crash;
mod doctor;
mod duckdb;
mod edges;
mod end_to_end;
mod foreign;
mod heavy_sql;
mod https;
mod import;
mod internal_ports;
mod journal;
mod journal_disk;
mod load;
mod maintenance;
mod messages;
mod openapi;
mod openness;
mod oracle;
mod process;
mod repeats;
mod replay;
mod shell;
mod store_away;
mod table_status;
mod telemetry;
mod terminal;
mod times;
mod traces;
mod verify;
mod wrong_journal;
