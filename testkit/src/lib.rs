//! Real servers for tests, as child processes: started on free loopback ports, removed on drop. Never linked into a binary.
//!
//! The binaries come from `.tools/`, which `./justw tools` fills with pinned versions.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

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

/// Below the ports that systems give to outgoing connections, one of which could take what was free a moment ago.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// A loopback port that is free, and that nobody else in this process was given.
///
/// # Panics
/// When thousands of ports in a row are taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin elsewhere.
    let first = std::process::id().wrapping_mul(997);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut candidates = (0..PORTS.len()).map(|_| {
        let number =
            first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % u32::try_from(PORTS.len()).expect("there are fewer than 2^16 ports");
        PORTS.start + u16::try_from(number).expect("a number of a port is one of a few thousand")
    });
    candidates.find(is_free).expect("loopback has a free port")
}
