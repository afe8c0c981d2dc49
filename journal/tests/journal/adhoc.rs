use std::time::{Duration, Instant};
use futures::{FutureExt, StreamExt, TryStreamExt};
use journal::{Journal, jetstream::StreamsConfig};
use schemas::{Sequence, ShardId};
use testkit::NatsServer;
use crate::{backends::{open, streams}, rules::{message, next}};
const SHARD: ShardId = ShardId(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adhoc_pause() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_env_filter("info,journal=debug").init();
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let mut d = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    journal.publish(SHARD, message("a", "a")).await.unwrap();
    next(&mut d).await.unwrap();
    assert!(d.next().now_or_never().is_none());
    eprintln!("idle 33 s");
    let t = tokio::time::timeout(Duration::from_secs(33), d.next()).await;
    assert!(t.is_err());
    let at = Instant::now();
    journal.publish(SHARD, message("b", "b")).await.unwrap();
    eprintln!("{:?} {:?}", next(&mut d).await.unwrap().sequence, at.elapsed());
    server.pause();
    let t = tokio::time::timeout(Duration::from_secs(40), d.next()).await;
    assert!(t.is_err());
    eprintln!("{:?}", journal.publish(SHARD, message("c", "c")).await);
    eprintln!("{:?}", journal.health().await);
    server.resume();
    let at = Instant::now();
    let r = futures::join!(journal.publish(SHARD, message("c", "c")), next(&mut d));
    eprintln!("{:?} {:?}", r, at.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adhoc_speed() {
    for (bytes, count, flight) in [(250_000, 2000, 4), (30_000, 10_000, 16), (300, 10_000, 100)] {
        let server = NatsServer::start().await;
        let journal = open(&server, &StreamsConfig { max_bytes: 2 << 30, ..streams() }).await;
        let at = Instant::now();
        let payload = bytes::Bytes::from(vec![1; bytes]);
        let n: Vec<Sequence> = futures::stream::iter((0..count).map(|i| journal.publish(SHARD, message(i.to_string(), payload.clone())))).buffer_unordered(flight).try_collect().await.unwrap();
        let e = at.elapsed().as_secs_f64();
        eprintln!("publish {bytes} B x {}: {:.0}/s {:.0} MB/s", n.len(), count as f64 / e, (count * bytes) as f64 / e / 1e6);
        let at = Instant::now();
        let mut d = journal.read(SHARD, Sequence::ZERO).await.unwrap();
        for _ in 0..count { next(&mut d).await.unwrap(); }
        let e = at.elapsed().as_secs_f64();
        eprintln!("read: {:.0}/s {:.0} MB/s", count as f64 / e, (count * bytes) as f64 / e / 1e6);
    }
}
