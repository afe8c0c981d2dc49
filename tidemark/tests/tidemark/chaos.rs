//! Real processes under load while everything around them breaks; then what was acknowledged, what the journal holds and what the
//! tables say must be one story.
//!
//! The slices below run with all tests. `just chaos [seed] [minutes]` plays the whole deck. A run prints its seed, and a fault that
//! did not happen fails it. `just soak` breaks nothing, so that no question may fail either, and tells what the table costs. See
//! [`plan`] for what may happen, [`checks`] for what must hold and [`figures`] for what is told.

use std::time::Duration;

use self::plan::{Plan, Setting};

mod checks;
mod faults;
mod figures;
mod fleet;
mod journal;
mod ledger;
mod load;
mod plan;
mod requests;
mod role;
mod rows;
mod run;
mod watch;

#[tokio::test]
async fn one_process_on_a_folder_tells_one_story_whatever_breaks() {
    run::run(&Plan::slice(1, Setting { is_on_s3: false, is_together: true, shards: 1, journal_gib: 1 })).await;
}

#[tokio::test]
async fn three_processes_on_s3_tell_one_story_whatever_breaks() {
    run::run(&Plan::slice(2, Setting { is_on_s3: true, is_together: false, shards: 2, journal_gib: 1 })).await;
}

#[tokio::test]
async fn every_crash_leaves_one_story_and_needs_no_hand_on_a_folder() {
    run::run(&Plan::crashes(3, Setting { is_on_s3: false, is_together: false, shards: 1, journal_gib: 1 })).await;
}

#[tokio::test]
async fn every_crash_leaves_one_story_and_needs_no_hand_on_s3() {
    run::run(&Plan::crashes(4, Setting { is_on_s3: true, is_together: false, shards: 1, journal_gib: 1 })).await;
}

#[tokio::test]
#[ignore = "takes minutes; `just chaos` runs it"]
async fn a_long_run_tells_one_story_whatever_breaks() {
    let minutes: f64 = variable("TIDEMARK_CHAOS_MINUTES").map_or(1.0, |text| text.parse().expect("a number of minutes"));
    let seed = variable("TIDEMARK_CHAOS_SEED").map_or_else(rand::random, |text| text.parse().expect("a seed is a whole number"));
    let plan = if minutes > 0.0 { Plan::long(seed, Duration::from_secs_f64(60.0 * minutes)) } else { Plan::short(seed) };
    run::run(&plan).await;
}

#[tokio::test]
#[ignore = "takes minutes; `just soak` runs it"]
async fn commits_merges_deletions_and_questions_together_stay_exact() {
    let is_on_s3 = match variable("TIDEMARK_SOAK_STORE").as_deref() {
        None | Some("folder") => false,
        Some("s3") => true,
        Some(other) => panic!("`{other}` is no store; it is folder or s3"),
    };
    let minutes: f64 = variable("TIDEMARK_SOAK_MINUTES").map_or(10.0, |text| text.parse().expect("a number of minutes"));
    let rate = variable("TIDEMARK_SOAK_RATE").map_or(5000, |text| text.parse().expect("a number of events in a second"));
    run::run(&Plan::calm(rand::random(), is_on_s3, Duration::from_secs_f64(60.0 * minutes), rate)).await;
}

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "a test has no settings; the recipe hands these over")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
