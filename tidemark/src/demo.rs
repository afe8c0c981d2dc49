//! `tidemark demo`: a day of events through the public door, then what Tidemark counts.
//!
//! Every event has an `event_id`, and whatever did not get a 2xx is sent again, so a server that is killed and started again in
//! the middle loses nothing.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use service::{clock::Clock, settings::Settings};

use self::{
    generator::Generator,
    report::{committed, report},
    sender::Sender,
};
use crate::{client, output::print};

pub(crate) mod generator;
mod report;
mod sender;

/// Options of `tidemark demo`.
#[derive(Args)]
pub(crate) struct DemoOptions {
    /// How many events.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// The same seed makes the same events; without one, every run makes others.
    #[arg(long)]
    seed: Option<u64>,
    /// The end of the day of events, in RFC 3339; now unless given.
    #[arg(long)]
    end: Option<DateTime<Utc>>,
    /// Where Tidemark listens for events; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
    /// Where Tidemark answers questions, if that is another address.
    #[arg(long)]
    query_url: Option<String>,
    /// Events in a request.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Requests at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// How long to try again while the server is away.
    #[arg(long, default_value = "2m", value_parser = patience)]
    patience: Duration,
}

fn patience(text: &str) -> Result<Duration, String> {
    text.parse::<service::settings::Interval>().map(|interval| interval.0).map_err(|error| error.to_string())
}

/// Sends, then asks.
pub(crate) async fn run(options: DemoOptions, settings: &Settings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let end = options.end.unwrap_or_else(|| clock.now());
    let url = client::server(options.url, settings)?;
    let seed = options.seed.unwrap_or_else(|| end.timestamp().unsigned_abs());
    let client = client::client(settings)?;
    client::send(client.get(format!("{url}/livez")), &url).await?;
    print(&format!(
        "sending {} events of the 24 hours before {} to {} (seed {seed})",
        HumanCount(options.events),
        end.format("%F %T UTC"),
        url
    ))?;
    let generator = Generator::new(seed, options.events, end);
    let bar = progress_bar(options.events);
    let sender = Sender { client, url: url.clone(), clock, patience: options.patience, bar: bar.clone() };
    let started = Instant::now();
    let batches = stream::iter((0..options.events).step_by(usize::try_from(options.batch)?));
    let sent =
        batches.map(|first| sender.send(generator.batch(first, options.batch))).buffer_unordered(usize::try_from(options.connections)?);
    let answers: Vec<sender::Answer> = sent.try_collect().await?;
    bar.finish_and_clear();
    let accepted: u64 = answers.iter().map(|answer| answer.accepted).sum();
    let rate = accepted as f64 / started.elapsed().as_secs_f64();
    print(&format!(
        "{} events acknowledged in {:.1} s ({:.0} a second), each on disk before its 2xx",
        HumanCount(accepted),
        started.elapsed().as_secs_f64(),
        rate
    ))?;
    let query_url = options.query_url.as_deref().unwrap_or(&url);
    let shown = async {
        report(&sender.client, query_url, end, &answers).await?;
        committed(&sender.client, query_url, &sender.clock, &answers).await
    };
    shown.await.context("the events are stored, but the answers could not be shown")
}

fn progress_bar(events: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} events  {per_sec}  {msg}").expect("the template is fixed");
    ProgressBar::new(events).with_style(style)
}
