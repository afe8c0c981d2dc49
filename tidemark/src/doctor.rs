//! `tidemark doctor`: every dependency and setting looked at, and what to do about each finding.
//!
//! ```text
//! settings -> this machine -> a running Tidemark -> journal -> store -> tables -> clocks -> an event through the door
//! ```
//!
//! It works when nothing runs, and says what that means. Nothing is created: a stream, folder or bucket that is missing is one that
//! `tidemark serve` makes. The store is tried with two small objects, which are removed. An event is only judged by the door, unless
//! `--canary` asks for one that is stored.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use clap::Args;
use reqwest::{Client, RequestBuilder};
use service::{clock::Clock, process::SettingArgs, settings::Settings};

use self::finding::Findings;
use crate::{client, output};

mod canary;
mod clocks;
mod finding;
mod journal;
mod machine;
mod server;
mod settings;
mod store;
mod tables;

/// For one request: what listens and never answers is a finding too.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Options of `tidemark doctor`.
#[derive(Args)]
pub(crate) struct DoctorOptions {
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Store an event and measure how long it takes until queries see it: at most one row for each day, named `tidemark.canary`.
    #[arg(long)]
    canary: bool,
    /// Where Tidemark listens for events; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
    /// Where Tidemark answers questions, if that is another address.
    #[arg(long)]
    query_url: Option<String>,
}

/// What all examinations share.
struct Examination {
    settings: Arc<Settings>,
    clock: Clock,
    /// Brings the key of the settings.
    client: Client,
    /// Brings nothing: for servers that are not ours.
    stranger: Client,
    url: String,
    query_url: String,
    /// Whether `url` was named, and need not be an address of this machine.
    is_named: bool,
}

impl Examination {
    /// A question to Tidemark, with the key of the settings.
    fn get(&self, url: String) -> RequestBuilder {
        self.client.get(url).timeout(TIMEOUT)
    }
}

/// Prints what was found; fails when something has to be done.
pub(crate) async fn run(options: DoctorOptions, arguments: SettingArgs) -> anyhow::Result<()> {
    service::telemetry::install_crypto();
    let mut findings = Findings::default();
    if let Some(settings) = settings::examine(arguments, &mut findings) {
        examine(&options, settings, &mut findings).await?;
    }
    output::print(&if options.json { serde_json::to_string_pretty(&findings.report())? } else { findings.to_string() })?;
    match findings.problems() {
        0 => Ok(()),
        1 => bail!("1 problem"),
        many => bail!("{many} problems"),
    }
}

async fn examine(options: &DoctorOptions, settings: Settings, findings: &mut Findings) -> anyhow::Result<()> {
    let url = client::server(options.url.clone(), &settings)?;
    let examination = Examination {
        clock: Clock::system(),
        client: client::client(&settings)?,
        stranger: Client::builder().timeout(TIMEOUT).build()?,
        query_url: options.query_url.as_ref().map_or_else(|| url.clone(), |url| url.trim_end_matches('/').to_owned()),
        url,
        is_named: options.url.is_some(),
        settings: Arc::new(settings),
    };
    machine::examine(&examination, findings)?;
    let runs = server::examine(&examination, findings).await?;
    let streams = journal::examine(&examination, findings).await?;
    let lake = store::examine(&examination, findings).await?;
    tables::examine(&examination, lake.as_ref(), streams.as_ref(), runs, findings).await?;
    clocks::examine(&examination, findings).await?;
    if runs {
        canary::examine(&examination, options.canary, findings).await?;
    }
    Ok(())
}
