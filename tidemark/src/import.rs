//! `tidemark import`: events of files through the public door, with its validation and its deduplication.
//!
//! ```text
//! file -> decompressed -> records -> Batch -> POST /events/bulk, several at a time -> Ledger
//! ```
//!
//! Whatever got no answer is sent again, and an import may be run again as a whole: the same event is folded. Memory is bounded by
//! the batches on their way, whatever the files are. [`Ledger`] keeps what was answered, in the order of the file, so an import that
//! was killed can go on where it was.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};
use schemas::identity;
use service::{clock::Clock, settings::Settings};
use tokio::{sync::mpsc, task::spawn_blocking};

use self::{batch::Batch, door::Door, ledger::Ledger, reader::Reader, source::Source};
use crate::{client, output};

mod batch;
mod columns;
mod door;
mod format;
mod ledger;
mod reader;
mod refusals;
mod resume;
mod source;

/// Options of `tidemark import`.
#[derive(Args)]
pub(crate) struct ImportOptions {
    /// Files of events: NDJSON, JSON, CSV or Parquet, plain or compressed with gzip or zstd; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files are; each is looked at unless given.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What separates the cells of CSV; found in the header unless given ("\t" is a tab).
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// What becomes of the columns of CSV and Parquet that are no field of an event.
    #[arg(long, value_enum, default_value_t = Others::Metadata)]
    other_columns: Others,
    /// Let the door judge every event, and store nothing.
    #[arg(long)]
    dry_run: bool,
    /// Keep in this file how far the import is, and go on there when it exists.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    resume: Option<PathBuf>,
    /// Write what was refused to this file, with file, line and reason, as NDJSON.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// End well also when something was refused.
    #[arg(long)]
    allow_rejects: bool,
    /// Where Tidemark listens for events; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
    /// Events in a request.
    #[arg(long, default_value = "500")]
    batch: NonZeroUsize,
    /// Requests at the same time.
    #[arg(long, default_value = "4")]
    connections: NonZeroUsize,
    /// How long to try again while the server is away or busy.
    #[arg(long, default_value = "2m", value_parser = patience)]
    patience: Duration,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One event in each line.
    Ndjson,
    /// A list of events, an object with the list under `events`, or one event.
    Json,
    /// A header with the names of the fields, then one event in each record.
    Csv,
    /// Columns with the names of the fields.
    Parquet,
}

/// What becomes of columns that are no field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Others {
    /// Members of `metadata`, under the name of the column.
    Metadata,
    /// Nothing.
    Ignore,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err("write one character, or \\t".to_owned()),
    }
}

fn patience(text: &str) -> Result<Duration, String> {
    text.parse::<service::settings::Interval>().map(|interval| interval.0).map_err(|error| error.to_string())
}

/// Sends everything, then says what came of it; fails when something was refused or could not be read.
pub(crate) async fn run(options: ImportOptions, settings: &Settings) -> anyhow::Result<()> {
    let (url, client) = (client::server(options.url.clone(), settings)?, client::client(settings)?);
    let sources = options.files.iter().map(|file| Source::find(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let is_source = |file: &PathBuf| sources.iter().any(|source| source.is(file));
    if let Some(file) = options.rejects.iter().chain(&options.resume).find(|file| is_source(file)) {
        bail!("`{}` is one of the files to import; nothing else may be written there", file.display());
    }
    let mut ledger = Ledger::open(&sources, options.resume.as_deref(), options.rejects.as_deref())?;
    client::send(client.get(format!("{url}/livez")), &url).await?;
    let door = Door { client, url, clock: Clock::system(), patience: options.patience, is_dry_run: options.dry_run };
    let rule = settings.section::<identity::Config>("dedup")?.identity;
    let reader = Reader {
        format: options.format,
        delimiter: options.delimiter,
        others: options.other_columns,
        batch_records: options.batch.get(),
        rule,
        done: ledger.acknowledged(),
    };
    let connections = options.connections.get();
    let (sender, receiver) = mpsc::channel(connections);
    let reading = spawn_blocking(move || reader.read_all(&sources, sender));
    let sent = send_all(&door, receiver, connections, &mut ledger).await;
    ledger.close()?;
    let interrupted = |error: anyhow::Error| anyhow!("{error:#}; {}", ledger.interrupted());
    let sent = sent.map_err(interrupted);
    // A reader that nobody listens to any more stops; its error tells less than that of the door.
    let read = reading.await.context("the reader stopped")?;
    sent.and(read.map_err(interrupted))?;
    output::print(&ledger.report(options.dry_run))?;
    match ledger.refused() {
        0 => Ok(()),
        _ if options.allow_rejects => Ok(()),
        refused if options.dry_run => bail!("{refused} events would be refused"),
        refused => bail!("{refused} events were refused; the others are in"),
    }
}

/// Sends batches as they come, several at a time, and writes down the answers in their order.
async fn send_all(door: &Door, batches: mpsc::Receiver<Batch>, connections: usize, ledger: &mut Ledger) -> anyhow::Result<()> {
    let batches = stream::unfold(batches, async |mut batches| Some((batches.recv().await?, batches)));
    let mut answered = std::pin::pin!(batches.map(|batch| door.send(batch)).buffered(connections));
    while let Some(answered) = answered.try_next().await? {
        ledger.add(answered)?;
    }
    Ok(())
}
