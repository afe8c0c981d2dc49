//! `tidemark config`: are the settings right, and what are they.

use clap::Subcommand;
use comfy_table::{Table, presets::NOTHING};
use pipeline::{
    connect::{self, JournalConfig, NatsConfig},
    ingest, maintenance, writer,
};
use service::{
    http::{CorsConfig, Limits, TlsConfig},
    keys, limits,
    process::{Process, SettingArgs},
    settings::{self, Settings},
    telemetry::LogConfig,
};
use table::Store;

use crate::{client::ClientConfig, output::print, serve::ServeConfig};

/// What to do with the settings.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read every layer and the files that it names, and say whether a server would start with them.
    Check,
    /// Print every setting, its value and where it came from; secrets are not shown.
    Show,
}

/// Checks always; prints the table for `show`.
pub(crate) fn run(command: ConfigCommand, arguments: SettingArgs) -> anyhow::Result<()> {
    let settings = arguments.load()?;
    check(&settings)?;
    match command {
        ConfigCommand::Check => {
            check_together(&settings)?;
            print(&format!("the settings are right: {} keys, {} of them set by you", settings.effective().len(), set_by_user(&settings)))?
        }
        ConfigCommand::Show => print(&shown(&settings))?,
    }
    Ok(())
}

/// Reads every section as its owner does.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    fn is<T: serde::de::DeserializeOwned>(settings: &Settings, section: &str) -> Result<(), settings::Error> {
        settings.section::<T>(section).map(drop)
    }
    is::<LogConfig>(settings, "log")?;
    is::<NatsConfig>(settings, "nats")?;
    is::<JournalConfig>(settings, "journal")?;
    is::<ingest::Config>(settings, "ingest")?;
    is::<writer::Config>(settings, "pipeline")?;
    is::<table::Config>(settings, "table")?;
    is::<query::Config>(settings, "query")?;
    is::<ServeConfig>(settings, "serve")?;
    is::<Limits>(settings, "http")?;
    is::<CorsConfig>(settings, "http")?;
    is::<keys::Config>(settings, "keys")?;
    is::<limits::Config>(settings, "limits")?;
    is::<TlsConfig>(settings, "tls")?;
    is::<ClientConfig>(settings, "client")?;
    is::<writer::Dedup>(settings, "dedup")?;
    Ok(())
}

/// What no value tells alone: whether places, certificate, keys and limits would do. Connects to nothing.
fn check_together(settings: &Settings) -> anyhow::Result<()> {
    Process::check(settings)?;
    connect::check(settings)?;
    Store::check(&settings.section("table")?)?;
    maintenance::Config::load(settings)?;
    Ok(())
}

/// How many keys have another value than the default's layer gives.
pub(crate) fn set_by_user(settings: &Settings) -> usize {
    settings.effective().iter().filter(|entry| entry.origin != "default").count()
}

fn shown(settings: &Settings) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["setting", "value", "from"]);
    for entry in settings.effective() {
        table.add_row([entry.key, entry.value, entry.origin]);
    }
    table.trim_fmt()
}
