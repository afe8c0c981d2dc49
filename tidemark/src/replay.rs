//! `tidemark replay`: what the table has lost and the journal still has becomes rows again.
//!
//! ```text
//! audit -> what is lost, which files cannot be read -> Plan -> messages of the lost rows -> Rebuilder -> commits
//! ```
//!
//! It is the audit of `tidemark verify`, so what was folded, quarantined, erased or given up is not written. It looks only at positions
//! at or below the tidemark that was pinned, so a pipeline may run beside it; a commit that does not fit what was pinned does not
//! happen, and everything is looked at anew.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use pipeline::{
    maintenance,
    writer::{self, GivingWay, RebuildError, Rebuilder, Rebuilt},
};
use schemas::ShardId;
use service::{clock::Clock, settings::Settings};

use self::{
    plan::Plan,
    range::{End, Range},
    report::Report,
};
use crate::{
    audit::{Audit, Auditor, Messages, Pinned},
    output,
};

mod plan;
mod range;
mod report;

/// Others may change the table under our hands; then we look again.
const ROUNDS: usize = 8;

/// Options of `tidemark replay`.
#[derive(Args)]
pub(crate) struct ReplayOptions {
    /// The first message, such as 0:1234, or the time from which on the journal received them: RFC 3339, seconds since 1970, or a time
    /// before now such as `-2h`; the first of the journal unless given.
    #[arg(long, value_name = "POSITION|TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// The last message, itself included, told like `--from`; the last one that is committed unless given.
    #[arg(long, value_name = "POSITION|TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Replay one shard only.
    #[arg(long)]
    shard: Option<u16>,
    /// Say what would be written, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take files that cannot be read out of the table also when the journal no longer has all of their rows.
    #[arg(long)]
    give_up_rows: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl ReplayOptions {
    fn range(&self, now: DateTime<Utc>) -> anyhow::Result<Range> {
        let end = |text: &Option<String>| text.as_deref().map(|text| End::parse(text, now)).transpose();
        Range::new(end(&self.from)?, end(&self.to)?, self.shard.map(ShardId))
    }
}

/// Replays and prints the report; fails when something that is missing could not be written.
pub(crate) async fn run(options: ReplayOptions, settings: &Settings) -> anyhow::Result<()> {
    service::telemetry::install_crypto();
    let clock = Clock::system();
    let range = options.range(clock.now())?;
    let replayer =
        Replayer { writer: settings.section("pipeline")?, keep: maintenance::Config::load(settings)?.keep.0, clock, range, options };
    for _ in 0..ROUNDS {
        if let Some(report) = replayer.replay(settings).await? {
            return replayer.print(&report);
        }
    }
    bail!(
        "the tables were changed {ROUNDS} times while they were compared; is another replay running? Replay again: what is there is not \
         written twice"
    )
}

struct Replayer {
    options: ReplayOptions,
    range: Range,
    writer: writer::Config,
    keep: Duration,
    clock: Clock,
}

impl Replayer {
    /// One round; `None` when somebody else changed what had been looked at.
    async fn replay(&self, settings: &Settings) -> anyhow::Result<Option<Report>> {
        let auditor = Auditor::open(settings).await?;
        let mut range = self.range.clone();
        let audit = self.audit(&auditor, &mut range).await?;
        let mut report = Report::new(self.options.dry_run, range.asked(), &audit.tallies);
        let mut plans = Vec::new();
        for pinned in [&auditor.events, &auditor.quarantine] {
            plans.push((pinned, Plan::new(pinned, &audit, &range)?));
        }
        let is_refused = !self.options.give_up_rows && plans.iter().any(|(_, plan)| plan.not_in_journal > 0);
        for (pinned, plan) in plans {
            let rebuilt = if self.options.dry_run || is_refused || plan.is_empty() {
                Rebuilt::default()
            } else {
                match self.rebuild(&auditor, pinned, &plan).await? {
                    Some(rebuilt) => rebuilt,
                    None => return Ok(None),
                }
            };
            report.add(pinned.table.name(), plan, rebuilt);
        }
        Ok(Some(report))
    }

    /// Compares journal and tables, after a look at whether they belong together (INVARIANTS I8).
    async fn audit(&self, auditor: &Auditor, range: &mut Range) -> anyhow::Result<Audit> {
        for shard in (0..auditor.journal.shards()).map(ShardId) {
            let bounds = auditor.journal.bounds(shard).await.context("the journal cannot be read")?;
            writer::confirm(auditor.journal.as_ref(), shard, &bounds, &auditor.events.snapshot).await?;
        }
        let style = ProgressStyle::with_template("{spinner} {human_pos} messages compared  {per_sec}").expect("the template is fixed");
        let bar = ProgressBar::new_spinner().with_style(style);
        let shard = range.shard();
        let see = &mut |delivery: &_| {
            range.see(delivery);
            bar.inc(1);
        };
        let audit = auditor.audit(shard, see).await;
        bar.finish_and_clear();
        audit
    }

    /// Writes what is missing in one table; `None` when somebody else changed it.
    async fn rebuild(&self, auditor: &Auditor, pinned: &Pinned, plan: &Plan) -> anyhow::Result<Option<Rebuilt>> {
        let known = (pinned.table.clone(), pinned.snapshot.clone());
        let giving_way = GivingWay { unreadable: plan.unreadable.clone(), late: plan.late.clone() };
        let mut rebuilder = Rebuilder::new(known, giving_way, auditor.identity.clone(), &self.writer, self.keep, self.clock.clone());
        let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows  {per_sec}").expect("the template is fixed");
        let bar = ProgressBar::new(plan.rows()).with_style(style);
        let mut messages: Option<Messages<'_>> = None;
        for (message, places) in plan.messages() {
            let messages = match &mut messages {
                Some(messages) if messages.shard() == message.shard => messages,
                other => other.insert(Messages::before(auditor.journal.as_ref(), message)),
            };
            // Released meanwhile: what is missing now is another question.
            let Some(delivery) = messages.seek(message.sequence).await? else { return Ok(None) };
            match rebuilder.push(&delivery, &places).await {
                Err(RebuildError::Changed { .. }) => return Ok(None),
                pushed => pushed?,
            }
            bar.inc(places.len() as u64);
        }
        bar.finish_and_clear();
        match rebuilder.finish().await {
            Err(RebuildError::Changed { .. }) => Ok(None),
            rebuilt => Ok(Some(rebuilt?)),
        }
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        output::print(&if self.options.json { serde_json::to_string_pretty(report)? } else { report.to_string() })?;
        let given_up: u64 = report.tables.iter().map(|part| part.rows_not_in_journal).sum();
        if given_up > 0 && !self.options.give_up_rows {
            bail!(
                "{} rows of files that cannot be read are not in the journal any more, so nothing was changed; put the files back from a copy \
                 of the bucket if there is one, or replay with `--give-up-rows` to do without these rows",
                HumanCount(given_up)
            );
        }
        Ok(())
    }
}
