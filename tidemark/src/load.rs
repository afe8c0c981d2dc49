//! `tidemark load`: requests at fixed times over many connections, and whether what was acknowledged is counted.
//!
//! ```text
//! rate -> schedule -> pace --ticket--> worker (one per connection): message -> connection -> answer
//!                                        |                                                     |
//!                 report <- recording <--+-- recorder: latency from the intended time <--------+
//!                 check: rows in SQL = ledger: identities that were acknowledged
//! ```
//!
//! The schedule does not wait for the server: a request that finds no free connection waits, and its latency includes that. Memory is
//! bounded by the connections and the seconds of the run, time by the schedule and two timeouts.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use futures::future::try_join_all;
use rand::{SeedableRng, rngs::SmallRng};
use service::{
    clock::Clock,
    settings::{Interval, Settings},
};
use tokio::{
    runtime,
    signal::ctrl_c,
    task::{JoinSet, spawn_blocking},
};

use self::{
    check::Check,
    connection::{Connection, Target},
    ledger::Ledger,
    message::{Body, Ids, Messages, Plan},
    pace::Pace,
    progress::Progress,
    rate::Rate,
    recorder::Recorder,
    report::{Asked, Report},
    threshold::Thresholds,
    worker::Worker,
};
use crate::{client, output};

mod answer;
mod check;
mod connection;
mod cpu;
mod html;
mod ledger;
mod message;
mod pace;
mod progress;
mod rate;
mod recorder;
mod report;
mod schedule;
mod threshold;
mod timer;
mod worker;

/// Options of `tidemark load`.
#[derive(Args)]
pub(crate) struct LoadOptions {
    /// Requests in a second and for how long, one step or several; or `max for 60s`: each connection as fast as it is answered.
    #[arg(long, default_value = "1000 for 10s")]
    rate: Rate,
    /// At most so many requests.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    connections: u64,
    /// Events in a request; more than one go to `/events/bulk`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Threads that send; one costs least, and is enough for some ten thousand requests in a second.
    #[arg(long, default_value_t = 1, value_parser = threads)]
    threads: usize,
    /// What events look like.
    #[arg(long, value_enum, default_value_t = Body::Realistic)]
    body: Body,
    /// The ids of events.
    #[arg(long, value_enum, default_value_t = Ids::Numbered)]
    ids: Ids,
    /// So many requests of a hundred are one that was sent before, byte for byte.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    repeats: f64,
    /// The same seed makes the same realistic events, but for their times and ids.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many different realistic events are prepared, at about 400 bytes of memory; then they come again, with other times and ids.
    #[arg(long, value_name = "NUMBER", default_value_t = 25_600, value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    variety: u64,
    /// Events happen while they are sent, at most so long before, such as 5m; without it, in the 24 hours before the run.
    #[arg(long, value_name = "INTERVAL")]
    span: Option<Interval>,
    /// How long a request waits for a free connection before it is dropped, and then for its answer.
    #[arg(long, default_value = "10s")]
    timeout: Interval,
    /// The run fails when one of these is true: p50, p90, p95, p99, p99.9, max, mean (each of the slowest step), errors, dropped and rate
    /// (requests with a 2xx in a second) against a value.
    #[arg(long, value_name = "THRESHOLDS")]
    fail_if: Option<Thresholds>,
    /// Where the events go, with a path if it is not that of Tidemark; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
    /// Where SQL is answered, if that is another address.
    #[arg(long)]
    query_url: Option<String>,
    /// Count the rows at the end; fails at once when there is no SQL. Without it they are counted when there is.
    #[arg(long, conflicts_with = "no_check")]
    check: bool,
    /// Do not count the rows.
    #[arg(long)]
    no_check: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the report with plots to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|threads| (1..=256).contains(threads));
    number.ok_or_else(|| "a number from 1 to 256 is wanted".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim().parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    number.ok_or_else(|| "a percentage from 0 to 100 is wanted".to_owned())
}

/// Sends, counts, reports; fails when the count is wrong or a threshold is crossed.
pub(crate) async fn run(options: LoadOptions, settings: &Settings) -> anyhow::Result<()> {
    let load = Arc::new(Load::prepare(options, settings).await?);
    let (mut report, ledger) = Arc::clone(&load).send_on_own_threads().await?;
    load.judge(&mut report, &ledger).await;
    if let Some(path) = &load.options.html {
        let page = html::page(&report)?;
        report.failures.extend(std::fs::write(path, page).err().map(|error| format!("cannot write `{}`: {error}", path.display())));
    }
    output::print(&if load.options.json { serde_json::to_string(&report)? } else { report.to_string() })?;
    if report.failures.is_empty() { Ok(()) } else { bail!("the load has failed: {}", report.failures.join("; ")) }
}

/// A run that can begin.
struct Load {
    options: LoadOptions,
    plan: Plan,
    target: Target,
    check: Option<Check>,
}

impl Load {
    /// Finds the server and asks whether it can count.
    async fn prepare(options: LoadOptions, settings: &Settings) -> anyhow::Result<Self> {
        let plan = Plan {
            run: format!("load-{:08x}", rand::random::<u32>()),
            began: Clock::system().now(),
            body: options.body,
            ids: options.ids,
            batch: options.batch,
            connections: options.connections,
            seed: options.seed,
            variety: options.variety,
            span: options.span.as_ref().map(|span| span.0),
            has_repeats: options.repeats > 0.0,
        };
        plan.check()?;
        let url = client::server(options.url.clone(), settings)?;
        let target = Target::find(&url, plan.path(), &client::key_headers(settings)?).await?;
        target.reach().await?;
        let check = if options.no_check { None } else { prepare_check(&options, settings, &target).await? };
        Ok(Self { options, plan, target, check })
    }

    /// Sends everything on a runtime of its own: with one thread a request wakes nobody but itself, which costs least.
    async fn send_on_own_threads(self: Arc<Self>) -> anyhow::Result<(Report, Ledger)> {
        let mut runtime = match self.options.threads {
            1 => runtime::Builder::new_current_thread(),
            _ => runtime::Builder::new_multi_thread(),
        };
        let runtime = runtime.worker_threads(self.options.threads).enable_all().build()?;
        spawn_blocking(move || runtime.block_on(self.send())).await?
    }

    async fn send(&self) -> anyhow::Result<(Report, Ledger)> {
        self.announce()?;
        let connections = try_join_all((0..self.options.connections).map(|_| Connection::open(&self.target))).await;
        let connections = connections.with_context(|| format!("{} connections could not be opened", self.options.connections))?;
        let messages: Vec<_> = (0..self.options.connections).map(|number| Messages::prepare(&self.plan, number, &self.target)).collect();

        let (cpu, began) = (cpu::Meter::start(), Clock::system().now());
        let pace = Arc::new(Pace::start(&self.options.rate, self.options.requests.unwrap_or(u64::MAX)));
        let recorder = Arc::new(Recorder::new(pace.began(), self.steps(&pace).len()));
        let workers = connections.into_iter().zip(messages).zip(0..);
        let workers = workers.map(|((connection, messages), number)| self.worker(connection, messages, number, &pace, &recorder).run());
        let released = async { pace.release().await.context("the requests cannot be timed") };
        let (ledger, ()) = tokio::try_join!(finished(workers.collect(), &pace, &recorder), released)?;
        let (took, cpu_us) = (pace.began().elapsed(), cpu.elapsed_us());

        let recording = Arc::into_inner(recorder).expect("every worker has ended").finish();
        Ok((Report::new(self.asked(&pace, began), pace.scheduled(), recording, took.as_secs_f64(), cpu_us), ledger))
    }

    fn announce(&self) -> anyhow::Result<()> {
        let Self { options: LoadOptions { rate, connections, json, .. }, plan: Plan { run, .. }, target, .. } = self;
        let counted = if self.check.is_some() { "counted by SQL at the end" } else { "not counted: nobody answers SQL, or nobody asks" };
        if !json {
            output::print(&format!("{rate} to {} over {connections} connections; events of site `{run}`, {counted}", target.origin))?;
        }
        Ok(())
    }

    fn worker(&self, connection: Connection, messages: Messages, number: u64, pace: &Arc<Pace>, recorder: &Arc<Recorder>) -> Worker {
        Worker {
            pace: Arc::clone(pace),
            recorder: Arc::clone(recorder),
            connection,
            messages,
            random: SmallRng::seed_from_u64(self.options.seed ^ number),
            clock: Clock::system(),
            batch: self.options.batch,
            repeats: self.options.repeats / 100.0,
            timeout: self.options.timeout.0,
            is_checked: self.check.is_some(),
        }
    }

    /// Asks SQL, if there is one, and notes why the run has failed, if it has.
    async fn judge(&self, report: &mut Report, ledger: &Ledger) {
        if let Err(error) = self.count(report, ledger).await {
            report.failures.push(format!("nobody could count what was acknowledged: {error:#}"));
        }
        let crossed = self.options.fail_if.as_ref().map(|thresholds| thresholds.crossed(report));
        report.failures.extend(crossed.unwrap_or_default());
    }

    async fn count(&self, report: &mut Report, ledger: &Ledger) -> anyhow::Result<()> {
        let Some(check) = &self.check else { return Ok(()) };
        let expected = match self.options.ids {
            Ids::Same => ledger.expected().start().min(&1).to_owned()..=ledger.expected().end().min(&1).to_owned(),
            Ids::Numbered | Ids::Uuid | Ids::None => ledger.expected(),
        };
        let checked = check.count(&self.plan.run, self.plan.began - TimeDelta::days(2), &ledger.positions(), expected).await?;
        report.failures.extend(checked.failure());
        if report.counts.acknowledged_events == 0 {
            report.failures.push("no event was acknowledged, so there was nothing to count".to_owned());
        }
        report.check = Some(checked);
        Ok(())
    }

    /// What the steps are called.
    fn steps(&self, pace: &Pace) -> Vec<String> {
        pace.schedule()
            .map_or_else(|| vec![self.options.rate.to_string()], |schedule| schedule.steps().map(|step| step.to_string()).collect())
    }

    fn asked(&self, pace: &Pace, began: DateTime<Utc>) -> Asked {
        let LoadOptions { rate, connections, batch, body, ids, repeats, .. } = &self.options;
        Asked {
            run: self.plan.run.clone(),
            url: self.target.origin.clone(),
            rate: rate.to_string(),
            connections: *connections,
            batch: *batch,
            body: format!("{body:?}").to_lowercase(),
            ids: format!("{ids:?}").to_lowercase(),
            repeats_percent: *repeats,
            span_s: self.plan.span.map(|span| span.as_secs_f64()),
            began,
            steps: self.steps(pace),
            schedule: pace.schedule().map(schedule::Schedule::per_second).unwrap_or_default(),
        }
    }
}

/// What counts the rows at the end, if there is such a thing.
async fn prepare_check(options: &LoadOptions, settings: &Settings, target: &Target) -> anyhow::Result<Option<Check>> {
    let url = options.query_url.clone().unwrap_or_else(|| target.origin.clone());
    match Check::prepare(client::client(settings)?, url).await {
        Err(error) if options.check => Err(error).context("the rows could not be counted at the end"),
        prepared => Ok(prepared.ok()),
    }
}

/// Runs the workers to their end, shows how they get on, and stops them on ctrl-c.
async fn finished(workers: Vec<impl Future<Output = Ledger> + Send + 'static>, pace: &Pace, recorder: &Recorder) -> anyhow::Result<Ledger> {
    let mut workers: JoinSet<Ledger> = workers.into_iter().collect();
    let (mut ledger, progress) = (Ledger::default(), Progress::new(pace.length()));
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(of_one) => ledger.add(of_one?),
                None => break,
            },
            () = progress.tick() => progress.show(pace, recorder),
            pressed = ctrl_c(), if !pace.is_stopped() => {
                pressed?;
                pace.stop();
            }
        }
    }
    progress.clear();
    Ok(ledger)
}
