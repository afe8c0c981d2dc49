//! What a run was, as text for people and as JSON for programs.

use std::fmt;

use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::Serialize;

use super::{
    check::Checked,
    recorder::{Counts, Recording, Second, StepTally, ms},
};

/// The latencies that are told, by name.
const QUANTILES: [f64; 6] = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0];
const NAMES: [&str; 6] = ["p50", "p90", "p95", "p99", "p99.9", "max"];
/// Points of the curve of latencies by percentile, for each halving of what is above.
const POINTS_PER_HALVING: u32 = 5;

/// How the run was asked for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Asked {
    /// The name of the run: the `site_id` of its events.
    pub(super) run: String,
    pub(super) url: String,
    pub(super) rate: String,
    pub(super) connections: u64,
    pub(super) batch: u64,
    pub(super) body: String,
    pub(super) ids: String,
    pub(super) repeats_percent: f64,
    /// How long before they were sent events happened at most, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) span_s: Option<f64>,
    /// When the first request was meant to be sent.
    pub(super) began: DateTime<Utc>,
    /// What each step is called.
    #[serde(skip)]
    pub(super) steps: Vec<String>,
    /// Requests that the schedule has in each second; none in a closed loop.
    #[serde(skip)]
    pub(super) schedule: Vec<u64>,
}

/// Everything that is told about a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) asked: Asked,
    /// From the start to the last answer.
    pub(super) took_s: f64,
    pub(super) scheduled: u64,
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Requests without a 2xx, those that were dropped apart.
    pub(super) errors: u64,
    /// Requests with a 2xx.
    pub(super) accepted_per_second: f64,
    pub(super) acknowledged_events_per_second: f64,
    /// From the intended time to a 2xx, or to where it was given up; a refusal has none.
    pub(super) latency_ms: Latency,
    /// Of it, from the intended time until the request was sent.
    pub(super) wait_ms: Latency,
    /// CPU time of this process for each request.
    pub(super) cpu_us_per_request: f64,
    pub(super) steps: Vec<Step>,
    /// What SQL counts; absent when it was not asked.
    pub(super) check: Option<Checked>,
    /// Why the run has failed.
    pub(super) failures: Vec<String>,
    pub(super) seconds: Vec<Second>,
    /// Percentile and latency in milliseconds, with ever smaller steps towards 100.
    pub(super) percentiles: Vec<(f64, f64)>,
}

/// One step of the schedule.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) rate: String,
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) errors: u64,
    pub(super) latency_ms: Latency,
}

/// Latencies in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) mean: f64,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

impl Report {
    /// Puts a report together, with what does not add up among its failures.
    #[expect(clippy::cast_precision_loss, reason = "events are fewer than 2^53")]
    pub(super) fn new(asked: Asked, scheduled: u64, recording: Recording, took_s: f64, cpu_us: f64) -> Self {
        let counts = recording.counts();
        let (latency, wait) = recording.histograms();
        let per_second = |count: u64| count as f64 / took_s.max(f64::EPSILON);
        let steps = asked.steps.iter().zip(&recording.steps).map(|(rate, tally)| Step::of(rate, tally)).collect();
        Self {
            asked,
            took_s,
            scheduled,
            errors: counts.errors(),
            accepted_per_second: per_second(counts.accepted()),
            acknowledged_events_per_second: per_second(counts.acknowledged_events),
            latency_ms: Latency::of(&latency),
            wait_ms: Latency::of(&wait),
            cpu_us_per_request: cpu_us / (counts.sent as f64).max(1.0),
            steps,
            check: None,
            failures: lost_count(scheduled, &counts).into_iter().collect(),
            seconds: recording.seconds,
            percentiles: curve(&latency),
            counts,
        }
    }

    fn outcome(&self) -> String {
        let Counts { statuses, timeouts, broken, unreachable, dropped, .. } = &self.counts;
        let statuses = statuses.iter().map(|(status, count)| format!("{} x {status}", HumanCount(*count)));
        let others = [
            ("timed out", timeouts),
            ("broke off", broken),
            ("not sent: server unreachable", unreachable),
            ("dropped: no free connection", dropped),
        ];
        let others = others.into_iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{} {name}", HumanCount(*count)));
        statuses.chain(others).collect::<Vec<_>>().join(", ")
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(["latency in ms", "requests", "mean"].into_iter().chain(NAMES));
        let mut row = |name: &str, requests: u64, latency: &Latency| {
            let numbers = [latency.mean].into_iter().chain(QUANTILES.map(|quantile| latency.at(quantile)));
            table.add_row([name.to_owned(), HumanCount(requests).to_string()].into_iter().chain(numbers.map(shown)));
        };
        if self.steps.len() > 1 {
            self.steps.iter().for_each(|step| row(&step.rate, step.counts.sent, &step.latency_ms));
        }
        row("all", self.counts.sent, &self.latency_ms);
        row("of it before sending", self.counts.sent, &self.wait_ms);
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }
}

/// What a generator that counts right can never say.
fn lost_count(scheduled: u64, counts: &Counts) -> Option<String> {
    let Counts { sent, answered, timeouts, broken, unreachable, dropped, .. } = counts;
    let adds_up = sent + unreachable + dropped == scheduled && answered + timeouts + broken == *sent;
    (!adds_up).then(|| format!("the generator has lost count: {scheduled} scheduled, {counts:?}"))
}

impl Step {
    fn of(rate: &str, tally: &StepTally) -> Self {
        let errors = tally.counts.errors();
        Self { rate: rate.to_owned(), counts: tally.counts.clone(), errors, latency_ms: Latency::of(&tally.latency) }
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let [p50, p90, p95, p99, p99_9, max] = QUANTILES.map(|quantile| ms(histogram.value_at_quantile(quantile)));
        Self { mean: (histogram.mean()).round() / 1000.0, p50, p90, p95, p99, p99_9, max }
    }

    /// The latency of one of the quantiles that are told.
    pub(super) fn at(&self, quantile: f64) -> f64 {
        let all = [self.p50, self.p90, self.p95, self.p99, self.p99_9, self.max];
        let index = QUANTILES.iter().position(|known| *known >= quantile).unwrap_or(QUANTILES.len() - 1);
        all[index]
    }
}

fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let steps = histogram.iter_quantiles(POINTS_PER_HALVING);
    steps.map(|step| (step.quantile_iterated_to() * 100.0, ms(step.value_iterated_to()))).collect()
}

fn shown(ms: f64) -> String {
    if ms < 100.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive and has no more than nine digits")]
        let whole = |rate: f64| HumanCount(rate.round() as u64);
        let Counts { sent, repeats, acknowledged_events, .. } = &self.counts;
        writeln!(
            f,
            "{} of {} requests sent in {:.1} s over {} connections; {} a second got a 2xx",
            HumanCount(*sent),
            HumanCount(self.scheduled),
            self.took_s,
            self.asked.connections,
            whole(self.accepted_per_second)
        )?;
        writeln!(f, "answers: {}", self.outcome())?;
        writeln!(
            f,
            "events: {} acknowledged ({} a second); {} requests were repeats",
            HumanCount(*acknowledged_events),
            whole(self.acknowledged_events_per_second),
            HumanCount(*repeats)
        )?;
        writeln!(f, "\n{}\n", self.table().trim_fmt())?;
        if let Some(check) = &self.check {
            writeln!(f, "check: {check}")?;
        }
        write!(f, "this generator: {:.1} us of CPU a request", self.cpu_us_per_request)
    }
}
