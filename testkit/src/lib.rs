//! Real servers for tests, as child processes: started on free loopback ports, removed on drop. Never linked into a binary.
//!
//! The binaries come from `.tools/`, which `./justw tools` fills with pinned versions.

use std::path::PathBuf;

mod nats;
mod proxy;
mod s3;
mod wait;

pub use nats::{NatsServer, publish};
pub use proxy::{Outcome, Proxy, Rule, Seen};
pub use s3::S3Server;
pub use wait::{pause, until};

/// The path of a pinned tool; panics with the command that installs it.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin")).join(name);
    assert!(path.exists(), "`{}` is missing; run `./justw tools`", path.display());
    path
}

/// A loopback port that was free a moment ago.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}
