//! Event times from before 1970 to far ahead: a row in the day of its own time, or a 400 that names the field.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use service::clock::Clock;
use testkit::{NatsServer, S3Server};

use crate::{
    duckdb,
    process::{Tidemark, good},
};

fn text(at: DateTime<Utc>) -> String {
    format!("\"{}\"", at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

async fn lie_in_their_day_or_are_refused(s3: Option<&S3Server>) {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start_at(&nats, s3, &[]).await;
    let (now, client) = (Clock::system().now(), reqwest::Client::new());
    let late = now - Duration::weeks(7);
    let soon = now + Duration::seconds(200);
    let taken = [
        ("\"1970-01-01T00:00:00Z\"".to_owned(), "1970-01-01".to_owned()),
        ("\"1969-12-31T23:59:59.999999Z\"".to_owned(), "1969-12-31".to_owned()),
        ("\"1901-02-03T04:05:06Z\"".to_owned(), "1901-02-03".to_owned()),
        ("1".to_owned(), "1970-01-01".to_owned()),
        (late.timestamp_millis().to_string(), late.format("%Y-%m-%d").to_string()),
        (text(soon), soon.format("%Y-%m-%d").to_string()),
    ];
    for (number, (time, _)) in taken.iter().enumerate() {
        let body = format!(r#"{{"event_id":"{number}","event_name":"a","user_id":"u","timestamp":{time}}}"#);
        let (status, answer) = tidemark.post(&client, "/events", body).await;
        assert_eq!(status, 202, "{time}: {answer}");
    }
    let hour_ahead = text(now + Duration::hours(1));
    for time in [hour_ahead.as_str(), "\"9999-12-31T23:59:59Z\"", "\"10000-01-01T00:00:00Z\"", "253402300799000000", "0", "-1", "1e300"] {
        let (status, answer) = tidemark.post(&client, "/events", format!(r#"{{"event_name":"a","user_id":"u","timestamp":{time}}}"#)).await;
        assert!(status == 400 && answer.contains("/timestamp"), "{time}: {status} {answer}");
    }

    tidemark.says("SELECT count(*) FROM events_committed", &taken.len().to_string()).await;
    let statement = "SELECT event_id, event_date FROM events ORDER BY 1";
    let wanted: Vec<String> = taken.iter().enumerate().map(|(number, (_, day))| format!("{number},{day}")).collect();
    let found = duckdb::rows(&tidemark.location(s3, "events"), "events", s3, statement);
    assert_eq!(found.lines().collect::<Vec<_>>(), wanted);
    for (number, (_, day)) in taken.iter().enumerate() {
        assert_eq!(tidemark.sql(&format!("SELECT event_date::varchar FROM events WHERE event_id = '{number}'")), *day);
    }
    good(&tidemark.command(&["verify"]).output().unwrap());
}

#[tokio::test]
async fn event_times_lie_in_their_day_or_are_refused_on_a_folder() {
    lie_in_their_day_or_are_refused(None).await;
}

#[tokio::test]
async fn event_times_lie_in_their_day_or_are_refused_on_s3() {
    lie_in_their_day_or_are_refused(Some(&S3Server::start().await)).await;
}
