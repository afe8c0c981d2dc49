//! What every binary needs to live, and nothing about events.
//!
//! In the order in which a process meets them: [`settings`] are read, [`telemetry`] starts, the [`clock`] is handed out,
//! [`tasks`] run until a stop is requested, [`http`] serves those who have [`keys`] within their [`limits`], errors leave as a
//! [`problem`] that leads to the page of [`errors`], [`health`] says how it goes, [`openapi`] tells clients what there is, and
//! [`process`] is all of them together.

pub mod clock;
pub mod errors;
mod file_watch;
pub mod health;
pub mod http;
pub mod keys;
pub mod limits;
pub mod openapi;
pub mod problem;
pub mod process;
pub mod settings;
pub mod tasks;
pub mod telemetry;

/// The allocator of every process. glibc's keeps what was freed for each of the many threads that read and write files; this one gives it
/// back after a second (`.cargo/config.toml` configures it).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const _: () = assert!(
    option_env!("JEMALLOC_SYS_WITH_MALLOC_CONF").is_some(),
    "the allocator is configured by .cargo/config.toml, which cargo reads only when it is started inside the checkout"
);
