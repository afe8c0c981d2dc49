//! What every binary needs to live, and nothing about events.
//!
//! In the order in which a process meets them: [`settings`] are read, [`telemetry`] starts, the [`clock`] is handed out,
//! [`tasks`] run until a stop is requested, [`http`] serves, errors leave as a [`problem`] that leads to the page of [`errors`], [`health`] says how it
//! goes, and [`process`] is all of them together.

pub mod clock;
pub mod errors;
pub mod health;
pub mod http;
pub mod problem;
pub mod process;
pub mod settings;
pub mod tasks;
pub mod telemetry;
