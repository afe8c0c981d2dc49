//! `tidemark verify`: what the [audit](crate::audit) of journal and tables saw, and whether any rule is broken.

use anyhow::bail;
use clap::Args;
use indicatif::HumanCount;
use schemas::ShardId;
use service::settings::Settings;

use self::report::Report;
use crate::{audit::Auditor, output};

mod report;

const REMEDY: &str =
    "journal and tables do not tell one story; `tidemark replay --dry-run` tells what the journal can bring back, docs/FAULTS.md the rest";

/// Options of `tidemark verify`.
#[derive(Args)]
pub(crate) struct VerifyOptions {
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Check one shard only.
    #[arg(long)]
    shard: Option<u16>,
}

/// Prints the report; fails when a rule is broken, or something cannot be read.
pub(crate) async fn run(options: VerifyOptions, settings: &Settings) -> anyhow::Result<()> {
    service::telemetry::install_crypto();
    let auditor = Auditor::open(settings).await?;
    let audit = auditor.audit(options.shard.map(ShardId), &mut |_| ()).await?;
    let report = Report::new(audit, [&auditor.events, &auditor.quarantine]);
    output::print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.to_string() })?;
    match report.violations {
        0 => Ok(()),
        1 => bail!("1 violation: {REMEDY}"),
        many => bail!("{} violations: {REMEDY}", HumanCount(many)),
    }
}
