//! `tidemark verify`: what the [audit](crate::audit) of journal and tables saw, and whether any rule is broken.

use anyhow::bail;
use clap::Args;
use schemas::ShardId;
use service::settings::Settings;

use self::report::Report;
use crate::{audit::Auditor, output};

mod report;

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
        1 => bail!("1 violation: journal and tables do not tell one story"),
        many => bail!("{many} violations: journal and tables do not tell one story"),
    }
}
