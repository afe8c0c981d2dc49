//! What a run without faults costs, looked at from time to time: nothing may grow but the events.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures::StreamExt;
use object_store::ObjectStore;
use table::{Store, Table};
use testkit::pause;

use super::{
    checks::{Rule, Violation},
    fleet::Fleet,
    ledger::Ledger,
    plan::{Part, Plan},
};

const EVERY: Duration = Duration::from_secs(20);
/// What the log may have: at four in a second the versions of `maintenance.keep`, and of a round of maintenance that takes as long on a
/// busy machine, and those since the last checkpoint but one. Ten minutes without maintenance make more.
const MOST_LOG_FILES: u64 = (60 + 60) * 4 + 2 * 50;
/// What the table may have: 24 files of each of the four days of a run's events before they are merged, and four times that on a machine
/// that leaves maintenance little, as it runs after all others. Ten minutes without merges make thousands.
const MOST_FILES: u64 = 4 * 4 * 24;

/// All of them, in order; none of a run with faults.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

/// At one moment.
#[derive(Debug)]
struct Figure {
    at: Duration,
    /// Events sent so far, each once.
    events: u64,
    version: u64,
    /// Files of the newest version.
    files: u64,
    /// Parquet files in the store, replaced ones included.
    stored_files: u64,
    log_files: u64,
    /// What maintenance has counted: files that became part of others, files deleted, rounds that failed.
    maintenance: [u64; 3],
    /// Of ingest, pipeline and query.
    memory_mib: [u64; 3],
}

impl Figures {
    /// Looks until `is_over`.
    pub(crate) async fn of(plan: &Plan, fleet: &Fleet, ledger: &Ledger, is_over: impl Fn() -> bool) -> Self {
        let (mut figures, started) = (Self::default(), Instant::now());
        while plan.is_calm() && !is_over() {
            let figure = Figure::now(fleet, ledger, started.elapsed()).await;
            println!("{figure}");
            figures.0.push(figure);
            pause(EVERY).await;
        }
        figures
    }

    /// Maintenance must have worked, without an error, and must have kept small what it looks after.
    pub(crate) fn judge(&self) -> Vec<Violation> {
        let Some(last) = self.0.last() else { return Vec::new() };
        let [merged, deleted, errors] = last.maintenance;
        let idle = [(merged, "nothing was merged"), (deleted, "nothing was deleted")];
        let idle = idle.into_iter().filter(|(count, _)| *count == 0).map(|(_, what)| what);
        let failed = (errors > 0).then(|| format!("{errors} rounds of maintenance failed"));
        let large = self.0.iter().filter(|figure| figure.log_files > MOST_LOG_FILES || figure.files > MOST_FILES).map(ToString::to_string);
        [Violation::of(Rule::NoFault, idle), Violation::of(Rule::Grown, failed.into_iter().chain(large))].into_iter().flatten().collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|figure| writeln!(f, "{figure}"))
    }
}

impl Figure {
    async fn now(fleet: &Fleet, ledger: &Ledger, at: Duration) -> Self {
        let store = Store::open(&fleet.settings().section("table").unwrap()).await.unwrap();
        let table = Table::open(&store, "events").await.unwrap().expect("the pipeline has created it");
        let snapshot = table.snapshot().await.unwrap();
        let stored = store.object_store().list(Some(&"events".into())).map(|object| object.unwrap().location);
        let stored_files = stored.filter(|path| std::future::ready(path.extension() == Some("parquet"))).count().await as u64;
        let mut memory_mib = [0; 3];
        for (memory_mib, part) in memory_mib.iter_mut().zip([Part::Ingest, Part::Pipeline, Part::Query]) {
            *memory_mib = fleet.part(part).lock().await.resident_mib();
        }
        Self {
            at,
            events: ledger.counts().events,
            version: snapshot.version(),
            files: snapshot.files().len() as u64,
            stored_files,
            log_files: table.log_folder().await.unwrap().files,
            maintenance: maintenance(fleet).await,
            memory_mib,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, events, version, files, stored_files, log_files, maintenance, memory_mib } = self;
        let ([merged, deleted, errors], [ingest, pipeline, query]) = (maintenance, memory_mib);
        write!(
            f,
            "{:4.0} s: {events} events; version {version}, {files} files, {stored_files} stored, {log_files} in the log; {merged} merged, {deleted} \
             deleted, {errors} errors; MiB of ingest {ingest}, pipeline {pipeline}, query {query}",
            at.as_secs_f64()
        )
    }
}

/// What the pipeline has counted of it.
async fn maintenance(fleet: &Fleet) -> [u64; 3] {
    let url = format!("{}/metrics", fleet.part(Part::Pipeline).lock().await.health_url);
    let text = fleet.client.get(url).send().await.unwrap().text().await.unwrap();
    ["merged_files", "deleted_files", "errors"].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("tidemark_maintenance_{name}_total ")));
        line.map_or(0, |count| count.parse().unwrap())
    })
}

/// How long questions took.
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    pub(crate) fn of(took: &[Duration]) -> Self {
        let mut sorted = took.to_vec();
        sorted.sort_unstable();
        Self { sorted }
    }

    fn at(&self, percent: usize) -> Duration {
        self.sorted.get((self.sorted.len() * percent / 100).min(self.sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, slowest] = [50, 99, 100].map(|percent| self.at(percent).as_millis());
        write!(f, "{median} ms (median), {p99} ms (99 of 100), {slowest} ms (slowest)")
    }
}
