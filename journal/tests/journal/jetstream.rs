//! What holds for JetStream alone: its streams, its server, and the ways in which they fail.

use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, stream};
use futures::{FutureExt, StreamExt, TryStreamExt, future::join_all};
use journal::{
    Deliveries, Error, JetStream, Journal, PublishError,
    jetstream::{Credentials, Durability, OpenError, ServerConfig, StreamsConfig},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use schemas::{Sequence, ShardId};
use testkit::{NatsServer, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    backends::{at, open, streams},
    rules::{message, next},
};

const SHARD: ShardId = ShardId(0);
const STREAM: &str = "events-0";
const DEADLINE: Duration = Duration::from_secs(20);

/// A client of its own, as an operator has one.
async fn operator(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

async fn open_error(url: String, streams: &StreamsConfig) -> OpenError {
    JetStream::open(&at(url), streams).await.unwrap_err()
}

/// Deletes the stream and makes it again as it was.
async fn recreate(server: &NatsServer) {
    let operator = operator(server).await;
    let config = operator.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    operator.delete_stream(STREAM).await.unwrap();
    operator.create_stream(config).await.unwrap();
}

async fn publish(journal: &JetStream, id: &str) -> Sequence {
    journal.publish(SHARD, message(id, id.to_owned())).await.unwrap()
}

/// Publishes until it is acknowledged, always with the same id, as ingest does.
async fn publish_until_acknowledged(journal: &JetStream, id: String) -> (u64, String) {
    loop {
        match journal.publish(SHARD, message(&id, id.clone())).await {
            Ok(sequence) => return (sequence.0, id),
            Err(PublishError::NoAnswer { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn read_all(deliveries: &mut Deliveries, count: usize) -> Vec<(u64, String)> {
    let mut delivered = Vec::new();
    while delivered.len() < count {
        let delivery = next(deliveries).await.unwrap();
        delivered.push((delivery.sequence.0, String::from_utf8(delivery.payload.to_vec()).unwrap()));
    }
    delivered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_delivered_once_and_in_order_although_the_server_is_killed() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 300;
    let mut server = NatsServer::start().await;
    let journal = open(&server, &StreamsConfig { publish_timeout: Duration::from_secs(1), ..streams() }).await;
    let identity = journal.bounds(SHARD).await.unwrap().identity;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();

    let answered = Cell::new(0);
    let publisher = async |name: usize| {
        let mut acknowledged = Vec::new();
        for number in 0..MESSAGES {
            acknowledged.push(publish_until_acknowledged(&journal, format!("{name}-{number}")).await);
            answered.set(answered.get() + 1);
        }
        acknowledged
    };
    let killer = async {
        for kill in 1..=5 {
            until("the next kill", DEADLINE, async || (answered.get() >= kill * PUBLISHERS * MESSAGES / 6).then_some(())).await;
            server.kill();
            server.restart().await;
        }
    };
    let publishers = join_all((0..PUBLISHERS).map(publisher));
    let (acknowledged, (), delivered) = futures::join!(publishers, killer, read_all(&mut deliveries, PUBLISHERS * MESSAGES));

    let sequences: Vec<u64> = delivered.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=(PUBLISHERS * MESSAGES) as u64).collect::<Vec<_>>());
    let acknowledged: BTreeMap<u64, String> = acknowledged.into_iter().flatten().collect();
    assert_eq!(delivered.into_iter().collect::<BTreeMap<_, _>>(), acknowledged);
    let bounds = journal.bounds(SHARD).await.unwrap();
    assert_eq!((bounds.last.0, bounds.identity), ((PUBLISHERS * MESSAGES) as u64, identity));
}

#[tokio::test]
async fn a_reader_waits_while_the_server_is_away_and_goes_on_where_it_was() {
    let mut server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    publish(&journal, "before").await;
    assert_eq!(read_all(&mut deliveries, 1).await, [(1, "before".to_owned())]);

    server.kill();
    let error = journal.health().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(deliveries.next().now_or_never().is_none());

    server.restart().await;
    let (_, delivered) = futures::join!(publish_until_acknowledged(&journal, "after".to_owned()), read_all(&mut deliveries, 1));
    assert_eq!(delivered, [(2, "after".to_owned())]);
}

#[tokio::test]
async fn a_question_that_the_server_took_to_its_grave_is_asked_again() {
    let mut server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    server.pause();
    let restart = async {
        testkit::pause(Duration::from_millis(100)).await;
        server.restart().await;
        Instant::now()
    };
    let (bounds, restarted) = futures::join!(async { (journal.bounds(SHARD).await, Instant::now()) }, restart);
    assert_eq!(bounds.0.unwrap().last.0, 0);
    assert!(bounds.1 < restarted + Duration::from_secs(2), "answered {:?} after the restart", bounds.1 - restarted);
}

#[tokio::test]
async fn a_reader_whose_consumer_was_deleted_goes_on_with_another() {
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    publish(&journal, "a").await;
    assert_eq!(read_all(&mut deliveries, 1).await, [(1, "a".to_owned())]);

    let stream = operator(&server).await.get_stream(STREAM).await.unwrap();
    let consumers: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    assert_eq!(consumers.len(), 1);
    stream.delete_consumer(&consumers[0]).await.unwrap();
    publish(&journal, "b").await;
    assert_eq!(read_all(&mut deliveries, 1).await, [(2, "b".to_owned())]);
}

#[tokio::test]
async fn a_reader_gets_more_than_one_pull_brings() {
    let server = NatsServer::start().await;
    let journal = open(&server, &StreamsConfig { max_bytes: 128 << 20, ..streams() }).await;
    let large = journal.max_payload_bytes();
    for id in 0..5 {
        journal.publish(SHARD, message(id.to_string(), vec![0; large])).await.unwrap();
    }
    let small = (5..9_000).map(|id| journal.publish(SHARD, message(id.to_string(), id.to_string())));
    let stored: Vec<Sequence> = futures::stream::iter(small).buffer_unordered(500).try_collect().await.unwrap();
    assert_eq!(stored.len(), 8_995);

    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    for sequence in 1..=9_000 {
        assert_eq!(next(&mut deliveries).await.unwrap().sequence, Sequence(sequence));
    }
}

#[tokio::test]
async fn a_foreign_message_that_looks_like_a_status_is_delivered() {
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let headers = "NATS/1.0 503 No Responders\r\n\r\n";
    let address = server.url().replace("nats://", "");
    let publication = format!("HPUB events.0 {} {}\r\n{headers}foreign\r\n", headers.len(), headers.len() + 7);
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\n{publication}PING\r\n").as_bytes()).await.unwrap();

    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    publish(&journal, "ours").await;
    let delivered = read_all(&mut deliveries, 2).await;
    assert_eq!(delivered, [(1, "foreign".to_owned()), (2, "ours".to_owned())]);
}

#[tokio::test]
async fn a_stream_that_was_created_again_is_noticed_by_whoever_depends_on_it() {
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    publish(&journal, "a").await;
    assert_eq!(read_all(&mut deliveries, 1).await.len(), 1);

    recreate(&server).await;
    operator(&server).await.publish("events.0", "b".into()).await.unwrap().await.unwrap();
    let recreated = |error: &Error| matches!(error, Error::Recreated { opened, found, .. } if opened != found);
    assert!(recreated(&next(&mut deliveries).await.unwrap_err()));
    assert!(recreated(&journal.read(SHARD, Sequence::ZERO).await.err().unwrap()));
    assert!(recreated(&journal.health().await.unwrap_err()));
    assert!(recreated(&journal.release(SHARD, Sequence(1)).await.unwrap_err()));
    assert_eq!(journal.bounds(SHARD).await.unwrap().last, Sequence(1));
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_an_end_for_readers_and_a_refusal_for_writers() {
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    operator(&server).await.delete_stream(STREAM).await.unwrap();
    assert!(matches!(next(&mut deliveries).await.unwrap_err(), Error::Deleted { .. }));
    let error = journal.publish(SHARD, message("a", "a")).await.unwrap_err();
    assert!(error.to_string().starts_with("the journal refuses the message: stream `events-0` was deleted"), "{error}");
}

#[tokio::test]
async fn a_new_message_with_an_old_number_is_not_acknowledged_and_is_the_last_one_that_is_sent() {
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    for id in ["a", "b"] {
        publish(&journal, id).await;
    }
    recreate(&server).await;
    for id in ["c", "d"] {
        let error = journal.publish(SHARD, message(id, id)).await.unwrap_err();
        assert!(matches!(error, PublishError::AnotherStream { seen: Sequence(2), found: Sequence(1), .. }), "{error}");
    }
    assert_eq!(journal.bounds(SHARD).await.unwrap().last, Sequence(1), "the second one was not even sent");

    // Who opens the stream afresh knows its numbers from the first message on.
    let reopened = open(&server, &streams()).await;
    recreate(&server).await;
    let error = reopened.publish(SHARD, message("e", "e")).await.unwrap_err();
    assert!(matches!(error, PublishError::AnotherStream { seen: Sequence(1), found: Sequence(1), .. }), "{error}");
}

#[tokio::test]
async fn a_consumer_that_is_alive_and_brings_nothing_is_replaced_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    publish(&journal, "a").await;
    assert_eq!(read_all(&mut deliveries, 1).await.len(), 1);

    let stream = operator(&server).await.get_stream(STREAM).await.unwrap();
    let consumers: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    let pause = format!("CONSUMER.PAUSE.{STREAM}.{}", consumers[0]);
    let until = serde_json::json!({"pause_until": "2999-01-01T00:00:00Z"});
    let paused: serde_json::Value = operator(&server).await.request(pause, &until).await.unwrap();
    assert_eq!(paused["paused"], true, "it sends heartbeats and no messages");
    publish(&journal, "b").await;
    let started = Instant::now();
    assert_eq!(read_all(&mut deliveries, 1).await, [(2, "b".to_owned())]);
    assert!(started.elapsed() >= Duration::from_secs(4), "not at once");
    let text = counted.render();
    assert!(text.contains(r#"tidemark_journal_consumer_restarts_total{reason="stalled"} 1"#), "{text}");
}

#[tokio::test]
async fn a_subject_that_belongs_to_another_stream_is_a_refusal() {
    let server = NatsServer::start().await;
    let journal = open(&server, &streams()).await;
    let operator = operator(&server).await;
    operator.delete_stream(STREAM).await.unwrap();
    operator.create_stream(stream::Config { name: "other".into(), subjects: vec!["events.>".into()], ..Default::default() }).await.unwrap();
    let error = journal.publish(SHARD, message("a", "a")).await.unwrap_err();
    assert!(matches!(&error, PublishError::Refused { reason } if reason.contains("expected stream does not match")), "{error}");
}

#[tokio::test]
async fn opening_again_finds_the_same_streams() {
    let server = NatsServer::start().await;
    let two = StreamsConfig { shards: 2, ..streams() };
    let first = open(&server, &two).await;
    publish(&first, "a").await;
    let second = open(&server, &two).await;
    assert_eq!(first.bounds(SHARD).await.unwrap(), second.bounds(SHARD).await.unwrap());
    assert_eq!(publish(&second, "b").await, Sequence(2));
}

#[tokio::test]
async fn a_stream_with_another_setting_is_refused_with_its_name() {
    let server = NatsServer::start().await;
    open(&server, &streams()).await;
    let error = open_error(server.url(), &StreamsConfig { max_bytes: 1 << 20, ..streams() }).await;
    assert_eq!(
        error.to_string(),
        "stream `events-0` has `max_bytes` = `67108864`, but `1048576` is needed: \
         set `journal.max_bytes` to what it has, or change it with `nats stream edit events-0`"
    );

    let foreign = stream::Config { name: "visits-0".into(), subjects: vec!["visits.0".into()], ..Default::default() };
    operator(&server).await.create_stream(foreign).await.unwrap();
    let error = open_error(server.url(), &StreamsConfig { stream: "visits".into(), ..streams() }).await;
    assert!(matches!(&error, OpenError::StreamDiffers { stream, .. } if stream == "visits-0"), "{error}");
}

#[tokio::test]
async fn a_stream_that_does_not_fit_the_disk_is_refused_with_the_setting() {
    let server = NatsServer::start().await;
    let error = open_error(server.url(), &StreamsConfig { max_bytes: 1 << 60, ..streams() }).await;
    assert!(matches!(error, OpenError::NoRoom { .. }), "{error}");
    assert!(error.to_string().contains("lower `journal.max_bytes`"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_run_is_one_message_with_what_to_do() {
    let mut server = NatsServer::start().await;
    server.kill();
    let error = open_error(server.url(), &streams()).await;
    let url = server.url();
    let expected = format!("no NATS server answers at `{url}`: start one with `./justw up`, or point `nats.url` to yours");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let server = NatsServer::start_without_jetstream().await;
    let error = open_error(server.url(), &streams()).await;
    assert!(matches!(error, OpenError::NoJetStream { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let old_server = async {
        let (mut client, _) = listener.accept().await.unwrap();
        client.write_all(b"INFO {\"version\":\"2.9.10\",\"max_payload\":1048576,\"headers\":true}\r\nPONG\r\n").await.unwrap();
        client.read_to_end(&mut Vec::new()).await
    };
    let (error, _) = futures::join!(async { open_error(url, &streams()).await }, old_server);
    assert!(matches!(&error, OpenError::TooOld { found, .. } if found == "2.9.10"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let setting = async |streams: StreamsConfig| match open_error("nats://127.0.0.1:1".to_owned(), &streams).await {
        OpenError::BadSetting { setting, .. } => setting,
        error => panic!("{error}"),
    };
    assert_eq!(setting(StreamsConfig { stream: "a.b".into(), ..streams() }).await, "journal.stream");
    assert_eq!(setting(StreamsConfig { shards: 0, ..streams() }).await, "journal.shards");
    assert_eq!(setting(StreamsConfig { replicas: 2, ..streams() }).await, "journal.replicas");
    assert_eq!(setting(StreamsConfig { max_bytes: u64::MAX, ..streams() }).await, "journal.max_bytes");
    assert_eq!(setting(StreamsConfig { publish_timeout: Duration::ZERO, ..streams() }).await, "journal.publish_timeout");
    let error = open_error("http://127.0.0.1:1".to_owned(), &streams()).await;
    assert!(matches!(error, OpenError::BadUrl { .. }), "{error}");
}

#[tokio::test]
async fn the_shipped_configuration_syncs_before_it_acknowledges() {
    let server = NatsServer::start().await;
    let config = ServerConfig { monitoring_url: Some(server.monitoring_url()), ..at(server.url()) };
    let journal = JetStream::open(&config, &streams()).await.unwrap();
    assert_eq!(journal.durability().await.unwrap(), Some(Durability::BeforeAck));
    assert_eq!(open(&server, &streams()).await.durability().await.unwrap(), None);
}

#[test]
fn a_password_is_never_printed() {
    let credentials = Credentials { user: "u".to_owned(), password: "secret".to_owned() };
    assert!(!format!("{credentials:?}").contains("secret"));
}
