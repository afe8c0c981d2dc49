//! `tidemark journal adopt`: whatever became of the stream, the table goes on with what is there, and everything is counted once.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, stream::Config};
use testkit::{NatsServer, pause, until};

use crate::{
    process::{Tidemark, good, text},
    verify::copy_folder,
};

const STREAM: &str = "tidemark-0";
const HELPER: &str = "tidemark-0-adopting";
const DEADLINE: Duration = Duration::from_secs(30);

async fn operator(nats: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

/// Deletes the stream and makes it again as it was.
async fn recreate(nats: &NatsServer) {
    let operator = operator(nats).await;
    let config = operator.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    operator.delete_stream(STREAM).await.unwrap();
    operator.create_stream(Config { first_sequence: None, ..config }).await.unwrap();
}

/// Publishes events past the door, each with its number as its id.
async fn publish(nats: &NatsServer, numbers: impl IntoIterator<Item = u32>) {
    let operator = operator(nats).await;
    for number in numbers {
        let event = format!(r#"{{"event_name":"a","user_id":"u","timestamp":1723475612,"event_id":"p-{number}"}}"#);
        operator.publish("tidemark.0", event.into()).await.unwrap().await.unwrap();
    }
}

async fn is_counted(tidemark: &Tidemark, events: u32) {
    let is_seen = async || (tidemark.sql("SELECT count(*) FROM events_committed") == events.to_string()).then_some(());
    until("every event in the table", DEADLINE, is_seen).await;
    assert_eq!(tidemark.sql("SELECT count(DISTINCT event_id) FROM events"), events.to_string());
}

/// A server with these events in its table.
async fn with_events(nats: &NatsServer, events: u32) -> Tidemark {
    let tidemark = Tidemark::start(nats).await;
    publish(nats, 0..events).await;
    is_counted(&tidemark, events).await;
    tidemark
}

fn status(tidemark: &Tidemark) -> String {
    good(&tidemark.command(&["journal", "status"]).output().unwrap())
}

fn adopt(tidemark: &Tidemark) -> String {
    good(&tidemark.command(&["journal", "adopt", "--yes"]).output().unwrap())
}

/// Everything is one story again, and what comes next is counted too.
async fn goes_on(nats: &NatsServer, tidemark: &mut Tidemark, events: u32) {
    assert!(status(tidemark).contains("accepted   yes"), "{}", status(tidemark));
    assert!(operator(nats).await.get_stream(HELPER).await.is_err(), "the helper is gone");
    tidemark.restart().await;
    is_counted(tidemark, events).await;
    publish(nats, 1_000_000..1_000_010).await;
    is_counted(tidemark, events + 10).await;
    assert!(tidemark.terminate().await);
    let said = good(&tidemark.command(&["verify"]).output().unwrap());
    assert!(said.contains("verified: ") && said.contains("adopted, positions"), "{said}");
}

#[tokio::test]
async fn a_stream_that_was_created_again_is_adopted_empty_or_not() {
    let nats = NatsServer::start().await;
    let mut tidemark = with_events(&nats, 20).await;
    assert!(status(&tidemark).contains("accepted   yes"));
    for events in [20, 35] {
        recreate(&nats).await;
        let (code, log) = tidemark.ended().await;
        assert_eq!(code, Some(1));
        assert!(log.contains("tidemark journal adopt"), "{log}");
        publish(&nats, 20..events).await;
        assert!(status(&tidemark).contains("accepted   no: the stream was created again"), "{}", status(&tidemark));

        let dry = good(&tidemark.command(&["journal", "adopt", "--dry-run"]).output().unwrap());
        assert!(dry.contains("numbers from ") && dry.contains(&format!("its {} messages", events - 20)), "{dry}");
        let refused = tidemark.command(&["journal", "adopt"]).output().unwrap();
        assert!(!refused.status.success() && text(&refused.stderr).contains("--yes"));
        assert!(status(&tidemark).contains("accepted   no"), "nothing was done");
        adopt(&tidemark);
        let again = adopt(&tidemark);
        assert!(again.contains("nothing to adopt"), "{again}");
        if events == 20 {
            tidemark.restart().await;
            is_counted(&tidemark, 20).await;
        }
    }
    goes_on(&nats, &mut tidemark, 35).await;
}

#[tokio::test]
async fn a_backup_with_new_messages_behind_it_is_adopted_and_nothing_is_counted_twice() {
    let mut nats = NatsServer::start().await;
    let mut tidemark = with_events(&nats, 20).await;
    let backup = tempfile::tempdir().unwrap();
    nats.kill();
    copy_folder(&nats.stream_folder(STREAM), backup.path());
    nats.restart().await;
    publish(&nats, 20..40).await;
    is_counted(&tidemark, 40).await;
    assert!(tidemark.terminate().await);

    nats.kill();
    std::fs::remove_dir_all(nats.stream_folder(STREAM)).unwrap();
    copy_folder(backup.path(), &nats.stream_folder(STREAM));
    nats.restart().await;
    publish(&nats, 40..75).await;
    assert!(status(&tidemark).contains("accepted   no"), "{}", status(&tidemark));
    adopt(&tidemark);
    goes_on(&nats, &mut tidemark, 75).await;
}

#[tokio::test]
async fn an_adoption_that_is_killed_again_and_again_moves_each_message_once() {
    const MESSAGES: u32 = 1500;
    let nats = NatsServer::start().await;
    let mut tidemark = with_events(&nats, 20).await;
    recreate(&nats).await;
    tidemark.ended().await;
    publish(&nats, 20..20 + MESSAGES).await;

    let operator = operator(&nats).await;
    let messages = async |stream: &str| Some(operator.get_stream(stream).await.ok()?.cached_info().state.messages);
    let part = |count: Option<u64>| count.is_some_and(|count| (50..u64::from(MESSAGES) - 50).contains(&count)).then_some(());
    killed_when(start_adoption(&tidemark), async || part(messages(HELPER).await)).await;
    part(messages(HELPER).await).expect("killed while the messages were copied aside");
    let refused = tidemark.command(&["verify"]).output().unwrap();
    assert!(text(&refused.stderr).contains("is being adopted"), "{}", text(&refused.stderr));

    killed_when(start_adoption(&tidemark), async || part(messages(STREAM).await)).await;
    part(messages(STREAM).await).expect("killed while the messages were copied back");
    let said = adopt(&tidemark);
    assert!(said.contains("adopted; start Tidemark again"), "{said}");
    assert_eq!(messages(STREAM).await, Some(u64::from(MESSAGES)));
    goes_on(&nats, &mut tidemark, 20 + MESSAGES).await;
}

#[tokio::test]
async fn an_adoption_waits_until_every_process_is_stopped() {
    let nats = NatsServer::start().await;
    let mut tidemark = with_events(&nats, 5).await;
    assert!(tidemark.terminate().await);
    recreate(&nats).await;
    let other = Tidemark::start(&nats).await;
    let refused = tidemark.command(&["journal", "adopt", "--yes"]).output().unwrap();
    assert!(text(&refused.stderr).contains("1 processes of Tidemark are connected"), "{}", text(&refused.stderr));
    drop(other);
    adopt(&tidemark);
    goes_on(&nats, &mut tidemark, 5).await;
}

fn start_adoption(tidemark: &Tidemark) -> Child {
    tidemark.command(&["journal", "adopt", "--yes"]).stdout(Stdio::null()).spawn().unwrap()
}

/// Lets a process run a little at a time, so that the moment is not missed, and kills it there.
async fn killed_when(mut process: Child, is_time: impl AsyncFn() -> Option<()>) {
    let id = process.id();
    let signal = |name: &str| assert!(Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap().success());
    let end = Instant::now() + DEADLINE;
    loop {
        signal("STOP");
        if is_time().await.is_some() {
            break;
        }
        signal("CONT");
        assert!(process.try_wait().unwrap().is_none() && Instant::now() < end, "it went by unseen");
        pause(Duration::from_millis(2)).await;
    }
    process.kill().unwrap();
    process.wait().unwrap();
}
