//! A run from its start to the judgement.
//!
//! ```text
//! load, foreign messages and watcher:  ------------------------------------------------>|
//! faults:                              calm  ------------------->| heal, drained, calm   | judge
//! ```

use std::{
    cell::Cell,
    path::Path,
    time::{Duration, Instant},
};

use futures::join;
use journal::Journal as _;
use schemas::ShardId;
use service::clock::Clock;
use testkit::{pause, until};

use super::{
    checks::{self, Rule, Violation},
    faults::{Happened, Troublemaker, orphans, tidemarks},
    figures::{Figures, Latencies},
    fleet::{Fleet, START_DEADLINE},
    journal::Journal,
    ledger::{Book, Counts, Ledger},
    load::{Load, publish_foreign},
    plan::Plan,
    requests::Requests,
    rows::{self, Tables},
    watch::{Sightings, Watcher},
};
use crate::{
    duckdb,
    process::{text, tidemark},
};

/// How long the load may take to finish what it has begun, and the pipeline to commit all of it.
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);

/// How long everything works before the first fault, and again after the last one is mended; then at least so many counts are answered.
const CALM: Duration = Duration::from_secs(2);
const CALM_ANSWERS: u64 = 5;
/// How long every row may take to be told, on a machine that does much else.
const TELL_DEADLINE: Duration = Duration::from_secs(60);

/// Runs a plan and panics with its report when a rule was broken.
pub(crate) async fn run(plan: &Plan) {
    println!("chaos: seed {} ({:?}); again with TIDEMARK_CHAOS_SEED={}", plan.seed, plan.setting, plan.seed);
    let fleet = Fleet::start(plan.setting).await;
    let path = fleet.folder.path().join("ledger");
    let ledger = Ledger::create(&path);
    let lived = live(plan, &fleet, &ledger).await;
    ledger.flush();
    let violations = judge(plan, &fleet, &path, &lived).await;
    let report = Report { counts: ledger.counts(), lived, violations };
    println!("{report}");
    assert!(report.violations.is_empty(), "seed {}: {} rules are broken", plan.seed, report.violations.len());
}

/// What was seen while it ran.
struct Lived {
    happened: Vec<Happened>,
    /// From the end of the last fault until the table had everything.
    drained_in: Duration,
    sightings: Sightings,
    figures: Figures,
}

/// Everything that happens side by side.
async fn live(plan: &Plan, fleet: &Fleet, ledger: &Ledger) -> Lived {
    let calm_answers = Cell::new(0);
    let (is_calm, is_sent, is_finished, is_over) = (Cell::new(true), Cell::new(false), Cell::new(false), Cell::new(false));
    let requests = Requests::new(plan.seed, Clock::system().now().timestamp_millis(), plan.events_per_second);

    let load = Load { client: &fleet.client, url: &fleet.ingest_url, requests, ledger };
    let watcher = Watcher { client: &fleet.client, url: &fleet.query_url, ledger };
    let story = async {
        pause(CALM).await;
        is_calm.set(plan.is_calm());
        let happened = Troublemaker::new(fleet, plan, ledger).run().await;
        fleet.heal();
        let healed = Instant::now();
        is_sent.set(true);
        until("the load to finish what it has begun", DRAIN_DEADLINE, async || is_finished.get().then_some(())).await;
        drained(fleet, plan.setting.shards).await;
        let drained_in = healed.elapsed();
        is_calm.set(true);
        pause(CALM).await;
        until("counts in calm times", DRAIN_DEADLINE, async || (calm_answers.get() >= CALM_ANSWERS).then_some(())).await;
        is_over.set(true);
        (happened, drained_in)
    };
    let sending = async {
        join!(
            load.run(|| is_sent.get(), DRAIN_DEADLINE / 2),
            publish_foreign(&fleet.nats_url, plan.setting.shards, ledger, || is_sent.get())
        );
        is_finished.set(true);
    };
    let tending = async {
        while !is_over.get() {
            fleet.tend().await;
            pause(Duration::from_millis(200)).await;
        }
    };
    let figures = Figures::of(plan, fleet, ledger, || is_over.get());
    let ((happened, drained_in), (), sightings, (), figures) =
        join!(story, sending, watcher.run(|| is_calm.get(), || is_over.get(), &calm_answers), tending, figures);
    Lived { happened, drained_in, sightings, figures }
}

/// Waits until every role is ready and the table has everything that the journal has.
async fn drained(fleet: &Fleet, shards: u16) {
    for role in &fleet.roles {
        role.lock().await.ready(&fleet.client, START_DEADLINE).await;
    }
    let journal = pipeline::connect::journal(&fleet.settings()).await.unwrap();
    let mut last = Vec::new();
    for shard in 0..shards {
        last.push(journal.bounds(ShardId(shard)).await.unwrap().last.0);
    }
    until("the pipeline to commit everything", DRAIN_DEADLINE, async || (tidemarks(fleet, shards).await == last).then_some(())).await;
}

async fn judge(plan: &Plan, fleet: &Fleet, ledger: &Path, lived: &Lived) -> Vec<Violation> {
    let Lived { happened, sightings, figures, .. } = lived;
    let started = Instant::now();
    let book = Book::read(&std::fs::read_to_string(ledger).unwrap());
    let journal = Journal::read(&fleet.settings()).await;
    let by_duckdb = by_duckdb(fleet);
    let of_sql = checks::judge(&book, &journal, &by_sql(fleet).await).into_iter().map(|violation| violation.seen_by(" (/sql)"));
    let of_duckdb = checks::judge(&book, &journal, &by_duckdb).into_iter().map(|violation| violation.seen_by(" (DuckDB)"));
    let mut violations: Vec<Violation> = of_sql.chain(of_duckdb).collect();
    let mut ends = Vec::new();
    for role in &fleet.roles {
        ends.append(&mut role.lock().await.ends);
    }
    violations.extend(Violation::of(Rule::Ended, ends));
    violations.extend(Violation::of(Rule::Verify, refused_by_verify(fleet, &journal, &by_duckdb)));
    violations.extend(Violation::of(Rule::Unsteady, &sightings.complaints));
    violations.extend(Violation::of(Rule::NoFault, happened.iter().filter(|happened| happened.evidence.is_err())));
    let unanswered = (plan.is_calm() && sightings.unanswered > 0).then(|| format!("{} questions", sightings.unanswered));
    violations.extend(Violation::of(Rule::Unanswered, unanswered));
    violations.extend(figures.judge());
    let orphans = orphans(fleet).await;
    let no_orphan = (plan.leaves_orphans() && orphans == 0).then_some("the pipeline died between files and commit and left no orphan");
    violations.extend(Violation::of(Rule::NoFault, no_orphan));
    let (accepted, rows, quarantined) = (journal.events.len(), by_duckdb.events.len(), by_duckdb.quarantine.len());
    let messages: u64 = journal.last.values().sum();
    println!(
        "judged in {:?}: {accepted} events in {messages} messages of the journal, {rows} rows, {quarantined} quarantined, {orphans} orphan files",
        started.elapsed()
    );
    violations
}

fn by_duckdb(fleet: &Fleet) -> Tables {
    let read = |table: &str, statement: &str| duckdb::rows(&fleet.location(table), table, fleet.s3.as_ref(), statement);
    Tables::read(&read("events", rows::EVENTS_DUCKDB), &read("quarantine", rows::QUARANTINE))
}

/// `tidemark verify` must agree, in its verdict and in its numbers.
fn refused_by_verify(fleet: &Fleet, journal: &Journal, tables: &Tables) -> Option<String> {
    let settings: Vec<&str> = fleet.direct.iter().flat_map(|setting| ["--set", setting]).collect();
    let output = tidemark(&[&["verify", "--json"], &settings[..]].concat()).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let sum = |name: &str| report["shards"].as_array().into_iter().flatten().filter_map(|shard| shard[name].as_u64()).sum::<u64>();
    let told = ["accepted", "rows", "duplicates", "quarantined"].map(sum);
    let (rows, quarantined) = (tables.events.len(), tables.quarantine.len());
    let counted = [journal.events.len() + quarantined, rows, journal.events.len() - rows, quarantined].map(|count| count as u64);
    let is_agreed = output.status.success() && told == counted;
    (!is_agreed).then(|| format!("accepted, rows, duplicates, quarantined: {told:?}, and not {counted:?}; {}", text(&output.stderr)))
}

async fn by_sql(fleet: &Fleet) -> Tables {
    let read = async |statement: &'static str| {
        let request = fleet.client.post(format!("{}/sql?format=csv", fleet.query_url)).body(statement).timeout(TELL_DEADLINE);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        let text = answer.text().await.unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    Tables::read(&read(rows::EVENTS_SQL).await, &read(rows::QUARANTINE).await)
}

/// What a run tells its reader.
struct Report {
    counts: Counts,
    lived: Lived,
    violations: Vec<Violation>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { events, tries, acknowledged, acknowledged_events } = self.counts;
        writeln!(
            f,
            "load: {events} different events, {tries} tries, {acknowledged} requests with {acknowledged_events} events acknowledged"
        )?;
        let Lived { happened, drained_in, sightings, figures } = &self.lived;
        let Sightings { answers, fresh_answers, calm: (calm, fresh_calm), unanswered, .. } = sightings;
        writeln!(
            f,
            "watcher: {answers} counts, {fresh_answers} of them fresh; {calm} in calm times, {fresh_calm} of them fresh; {unanswered} \
             questions without an answer"
        )?;
        sightings.took.iter().try_for_each(|(kind, took)| writeln!(f, "{kind} took {}", Latencies::of(took)))?;
        happened.iter().try_for_each(|happened| writeln!(f, "{happened}"))?;
        writeln!(f, "drained in {drained_in:?}")?;
        write!(f, "{figures}")?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "BROKEN  {violation}"))?;
        write!(f, "{}", if self.violations.is_empty() { "green" } else { "RED" })
    }
}
