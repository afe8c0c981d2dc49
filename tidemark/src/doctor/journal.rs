//! NATS: reached, new enough, with JetStream, syncing what it acknowledges, with streams as they must be and room in them.

use std::path::Path;

use indicatif::BinaryBytes;
use journal::{
    Bounds,
    jetstream::{
        Durability,
        adoption::{ServerFacts, Streams},
    },
};
use pipeline::{
    connect::{self, JournalConfig, NatsConfig},
    ingest,
};
use schemas::ShardId;
use serde::Deserialize;
use service::settings::ByteSize;

use super::{Examination, finding::Findings, machine};

/// A stream that is fuller gives messages up before their retention.
const FULL_PERCENT: u64 = 70;
/// One that is fuller refuses events soon.
const BRIM_PERCENT: u64 = 95;

/// What the monitoring address says of the store.
#[derive(Deserialize)]
struct Varz {
    jetstream: JetStreamVarz,
}

#[derive(Deserialize)]
struct JetStreamVarz {
    config: StoreConfig,
    stats: StoreStats,
}

#[derive(Deserialize)]
struct StoreConfig {
    store_dir: String,
    max_storage: u64,
}

#[derive(Deserialize)]
struct StoreStats {
    reserved_storage: u64,
}

/// Looks at the server and every stream; the connection, if there is one.
pub(super) async fn examine(examination: &Examination, findings: &mut Findings) -> anyhow::Result<Option<Streams>> {
    let Examination { settings, .. } = examination;
    let (nats, journal): (NatsConfig, JournalConfig) = (settings.section("nats")?, settings.section("journal")?);
    let streams = match connect::streams(settings).await {
        Ok(streams) => streams,
        Err(error) => {
            findings.error("journal", error);
            findings.note("journal.streams", "not looked at, because the journal cannot be reached");
            return Ok(None);
        }
    };
    let ServerFacts { url, version, max_payload_bytes } = streams.server();
    findings.ok("journal", format!("NATS {version} with JetStream at `{url}`"));
    payload(max_payload_bytes, settings.section::<ingest::Config>("ingest")?.max_body, findings);
    durability(&streams, journal.replicas, findings).await;
    let mut missing = 0;
    for shard in (0..streams.shards()).map(ShardId) {
        missing += u64::from(!stream(&streams, shard, findings).await);
    }
    if let Some(store) = monitored(examination, &nats.monitoring_url).await {
        room(&store, missing * journal.max_bytes.0, findings);
        disk(&store.config.store_dir, findings);
    }
    Ok(Some(streams))
}

fn payload(max_payload_bytes: usize, ByteSize(max_body): ByteSize, findings: &mut Findings) {
    const CHECK: &str = "journal.max_payload";
    let told =
        format!("NATS takes messages of {}, and the door requests of {}", BinaryBytes(max_payload_bytes as u64), BinaryBytes(max_body));
    match max_payload_bytes as u64 >= max_body {
        true => findings.ok(CHECK, told),
        false => findings.warning(
            CHECK,
            told,
            "large requests are refused with 413: set `max_payload: 8MiB` in the configuration of NATS, as in config/nats.conf",
        ),
    }
}

async fn durability(streams: &Streams, replicas: u16, findings: &mut Findings) {
    const CHECK: &str = "journal.durability";
    const REMEDY: &str =
        "set `sync_interval: always` in the `jetstream` block of the configuration of NATS, as in config/nats.conf, and restart it";
    match streams.durability().await {
        Ok(Some(Durability::BeforeAck)) => findings.ok(CHECK, "an acknowledged event is on disk (`sync_interval: always`)"),
        Ok(Some(Durability::Within(interval))) => {
            let told = format!("NATS syncs its disk only every {interval:?}: a power cut loses what was acknowledged since");
            match replicas {
                1 => findings.problem(CHECK, told, REMEDY),
                _ => findings.warning(CHECK, format!("{told}, on every server that it hits"), REMEDY),
            }
        }
        Ok(None) => findings.warning(
            CHECK,
            "nobody knows whether NATS syncs what it acknowledges, because `nats.monitoring_url` is not set",
            "set it to the `http_port` of NATS, for example `http://127.0.0.1:8222`",
        ),
        Err(error) => findings.error(CHECK, error),
    }
}

/// Whether the stream of a shard is there, and how it is.
async fn stream(streams: &Streams, shard: ShardId, findings: &mut Findings) -> bool {
    const CHECK: &str = "journal.streams";
    let name = streams.name(shard);
    if let Err(fault) = streams.verify(shard).await {
        findings.error(CHECK, fault);
        return true;
    }
    match streams.bounds(shard).await {
        Err(error) => findings.error(CHECK, error),
        Ok(None) => findings.note(CHECK, format!("there is no stream `{name}` yet; `tidemark serve` creates it")),
        Ok(Some(bounds)) => {
            fill(CHECK, &name, &bounds, findings);
            return true;
        }
    }
    false
}

fn fill(check: &'static str, name: &str, Bounds { bytes, max_bytes, .. }: &Bounds, findings: &mut Findings) {
    const REMEDY: &str =
        "see whether the pipeline commits; what is committed leaves by itself. When it is full, events are refused with 503";
    let percent = 100 * bytes / max_bytes.max(&1);
    let told = format!("`{name}` is as it must be, and has {} of {} ({percent} %)", BinaryBytes(*bytes), BinaryBytes(*max_bytes));
    match percent {
        0..FULL_PERCENT => findings.ok(check, told),
        FULL_PERCENT..BRIM_PERCENT => findings.warning(check, told, REMEDY),
        _ => findings.problem(check, told, REMEDY),
    }
}

/// What the server says of its store; nothing without a monitoring address.
async fn monitored(Examination { stranger, .. }: &Examination, monitoring_url: &str) -> Option<JetStreamVarz> {
    let url = format!("{}/varz", monitoring_url.trim_end_matches('/'));
    let answer = stranger.get(url).send().await.ok()?;
    Some(answer.json::<Varz>().await.ok()?.jetstream)
}

/// Whether the streams that are still to be created find room: the server promises each its whole size.
fn room(JetStreamVarz { config, stats, .. }: &JetStreamVarz, wanted: u64, findings: &mut Findings) {
    const CHECK: &str = "journal.room";
    let left = config.max_storage.saturating_sub(stats.reserved_storage);
    let told = format!("NATS can promise {} more to streams", BinaryBytes(left));
    match wanted {
        0 => findings.ok(CHECK, "every stream has its room"),
        _ if wanted <= left => findings.ok(CHECK, told),
        _ => findings.problem(
            CHECK,
            format!("{told}, and the missing ones need {}", BinaryBytes(wanted)),
            "lower `journal.max_bytes`, or give JetStream more disk (`max_file_store` of NATS, by default three quarters of what was free)",
        ),
    }
}

/// The disk of the streams, when it is one of this machine.
fn disk(store_dir: &str, findings: &mut Findings) {
    const CHECK: &str = "journal.disk";
    match Path::new(store_dir) {
        folder if folder.is_dir() => machine::disk(CHECK, folder, "NATS", findings),
        _ => findings.note(CHECK, format!("NATS keeps its streams in `{store_dir}`, which is not on this machine")),
    }
}
