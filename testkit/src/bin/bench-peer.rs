//! What `just bench` measures Tidemark against: a door that does nothing, one with a JetStream message for each event, and JetStream alone.
//!
//! Each is as short as it can be, without validation, identity or limits: a bound that Tidemark is compared with, not a product.

use std::time::{Duration, Instant};

use anyhow::Context;
use async_nats::jetstream::{self, context::PublishErrorKind, stream};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing};
use clap::{Parser, Subcommand};
use futures::{StreamExt, TryStreamExt};
use tokio::net::TcpListener;

const STREAM: &str = "bench";
const SUBJECT: &str = "bench.events";

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    peer: Peer,
}

#[derive(Subcommand)]
enum Peer {
    /// Reads each request and answers 202.
    Empty {
        /// Where.
        #[arg(long)]
        listen: String,
    },
    /// Publishes each request as one message and answers 202 after the acknowledgement; `GET /messages` counts them.
    Message {
        /// Where.
        #[arg(long)]
        listen: String,
        /// The NATS server.
        #[arg(long)]
        nats: String,
    },
    /// Publishes for a while and prints how much, as JSON.
    Publish {
        /// The NATS server.
        #[arg(long)]
        nats: String,
        /// Bytes of a message.
        #[arg(long)]
        bytes: usize,
        /// Messages that wait for their acknowledgement at the same time.
        #[arg(long)]
        in_flight: usize,
        /// For so long.
        #[arg(long)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().peer {
        Peer::Empty { listen } => serve(&listen, Router::new().fallback(|_: Bytes| async { StatusCode::ACCEPTED })).await,
        Peer::Message { listen, nats } => {
            let jetstream = new_stream(&nats).await?;
            let router = Router::new()
                .route("/messages", routing::get(messages))
                .fallback_service(routing::post(publish).with_state(jetstream.clone()))
                .with_state(jetstream);
            serve(&listen, router).await
        }
        Peer::Publish { nats, bytes, in_flight, seconds } => flood(&nats, bytes, in_flight, Duration::from_secs(seconds)).await,
    }
}

async fn serve(listen: &str, router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on `{listen}`"))?;
    Ok(axum::serve(listener, router).await?)
}

/// A stream with nothing in it.
async fn new_stream(nats: &str) -> anyhow::Result<jetstream::Context> {
    let client = async_nats::connect(nats).await.with_context(|| format!("no NATS server answers at `{nats}`"))?;
    let jetstream = jetstream::new(client);
    let subjects = vec![SUBJECT.to_owned()];
    // A stream of an earlier run, if there is one.
    let _ = jetstream.delete_stream(STREAM).await;
    jetstream
        .create_stream(stream::Config { name: STREAM.to_owned(), subjects, storage: stream::StorageType::File, ..Default::default() })
        .await?;
    Ok(jetstream)
}

async fn publish(State(jetstream): State<jetstream::Context>, event: Bytes) -> StatusCode {
    match acknowledged(&jetstream, event).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn acknowledged(jetstream: &jetstream::Context, message: Bytes) -> Result<(), async_nats::error::Error<PublishErrorKind>> {
    jetstream.publish(SUBJECT, message).await?.await.map(drop)
}

async fn messages(State(jetstream): State<jetstream::Context>) -> Result<String, StatusCode> {
    let stream = jetstream.get_stream(STREAM).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(stream.cached_info().state.messages.to_string())
}

async fn flood(nats: &str, bytes: usize, in_flight: usize, duration: Duration) -> anyhow::Result<()> {
    let jetstream = new_stream(nats).await?;
    let message = Bytes::from(vec![b'x'; bytes]);
    let started = Instant::now();
    let published = futures::stream::repeat_with(|| acknowledged(&jetstream, message.clone()))
        .take_while(|_| std::future::ready(started.elapsed() < duration))
        .buffer_unordered(in_flight)
        .try_fold(0_u64, |count, ()| std::future::ready(Ok(count + 1)));
    let (messages, seconds) = (published.await?, started.elapsed().as_secs_f64());
    jetstream.delete_stream(STREAM).await?;
    println!(r#"{{"messages":{messages},"bytes":{},"seconds":{seconds}}}"#, messages * bytes as u64);
    Ok(())
}
