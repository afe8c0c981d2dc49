//! `tidemark keys`: make, list and revoke API keys. Running servers follow within a second.

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use service::{
    clock::Clock,
    keys::{Config, KeyFile, KeyRecord, NewKey, Scopes},
    limits::KeyLimits,
    settings::{ByteSize, Interval, Settings},
};

use crate::output::print;

/// What to do with keys.
#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it; it is shown only this once.
    New(NewOptions),
    /// Print what is known of each key: all but the key.
    List,
    /// Let a key open nothing any more.
    Revoke {
        /// The key's id, as `list` shows it.
        id: String,
    },
}

/// What the new key shall be.
#[derive(Args)]
pub(crate) struct NewOptions {
    /// What it may do: ingest, query, admin; several are joined by commas.
    #[arg(long)]
    scope: Scopes,
    /// What you call it.
    #[arg(long, default_value = "")]
    name: String,
    /// How long it is valid, such as "90days"; for ever unless given.
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<Interval>,
    /// Events that it may send in a second, in place of `limits.events_per_second`; 0 = any number.
    #[arg(long, value_name = "NUMBER")]
    events_per_second: Option<u64>,
    /// Bytes of events that it may send in a second, in place of `limits.bytes_per_second`; "0 B" = any number.
    #[arg(long, value_name = "SIZE")]
    bytes_per_second: Option<ByteSize>,
    /// Questions that it may ask in a second, in place of `limits.queries_per_second`; 0 = any number.
    #[arg(long, value_name = "NUMBER")]
    queries_per_second: Option<u64>,
}

/// Does it to the file of the setting `keys.file`.
pub(crate) fn run(command: KeysCommand, settings: &Settings) -> anyhow::Result<()> {
    let file = KeyFile::new(settings.section::<Config>("keys")?.file);
    match command {
        KeysCommand::New(options) => new(options, &file),
        KeysCommand::List => list(&file),
        KeysCommand::Revoke { id } => revoke(&id, &file),
    }
}

/// The key goes to standard output, alone, so that scripts can take it.
fn new(options: NewOptions, file: &KeyFile) -> anyhow::Result<()> {
    let NewOptions { scope, name, expires_in, events_per_second, bytes_per_second, queries_per_second } = options;
    let limits = KeyLimits { events_per_second, bytes_per_second, queries_per_second };
    let new = NewKey { name, scopes: scope, lifetime: expires_in.map(|interval| interval.0), limits };
    let (key, record) = file.add(new, Clock::system().now())?;
    print(key.expose())?;
    eprintln!(
        "This key is shown only now. Its scopes are {}, its id is {}, its record is in {}.",
        record.scopes,
        record.id,
        file.path().display()
    );
    Ok(())
}

fn list(file: &KeyFile) -> anyhow::Result<()> {
    let keys = file.read()?.with_context(|| format!("there is no file `{}`; `tidemark keys new` makes it", file.path().display()))?;
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["id", "name", "scopes", "created", "expires", "ends with", "limits per second"]);
    for key in &keys {
        table.add_row(row(key));
    }
    Ok(print(&table.trim_fmt())?)
}

fn row(key: &KeyRecord) -> [String; 7] {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let expires = match key.expires {
        Some(expires) if key.has_expired(Clock::system().now()) => format!("{} (has expired)", time(expires)),
        Some(expires) => time(expires),
        None => "never".to_owned(),
    };
    let id = key.id.to_string();
    [id, key.name.clone(), key.scopes.to_string(), time(key.created), expires, format!("...{}", key.ends_with), limits(&key.limits)]
}

fn limits(KeyLimits { events_per_second, bytes_per_second, queries_per_second }: &KeyLimits) -> String {
    let events = events_per_second.map(|events| format!("{events} events"));
    let bytes = bytes_per_second.map(|bytes| bytes.to_string());
    let queries = queries_per_second.map(|queries| format!("{queries} queries"));
    [events, bytes, queries].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn revoke(id: &str, file: &KeyFile) -> anyhow::Result<()> {
    let KeyRecord { name, ends_with, .. } = file.revoke(id)?;
    Ok(print(&format!("revoked {id} {name} (...{ends_with}); running servers refuse it within a second"))?)
}
