//! What broken and strange clients send: a clear 4xx with the place, or an exact round trip; never a 500, never a silent change.

use std::io::Write;

use journal::Journal;
use schemas::ShardId;
use serde_json::{Value, json};

use crate::app::App;

const GOOD: &str = r#"{"event_name":"a","user_id":"u","timestamp":1723475612}"#;

fn with(member: &str) -> String {
    format!(r#"{{"event_name":"a","user_id":"u","timestamp":1723475612,{member}}}"#)
}

async fn stored(app: &App) -> u64 {
    app.journal.bounds(ShardId(0)).await.unwrap().last.0
}

#[tokio::test]
async fn a_value_that_no_field_takes_is_refused_with_its_pointer() {
    let app = App::start().await;
    let nested = |depth: usize| format!(r#""metadata":{}1{}"#, "{\"a\":".repeat(depth), "}".repeat(depth));
    for (event, pointer, code) in [
        (with(&nested(10_000)), "/metadata/a", "too_deep"),
        (with(r#""metadata":{"a":[{"b":1,"b":2}]}"#), "/metadata/a/0/b", "repeated_field"),
        (with(r#""timestamp":1723475612"#), "/timestamp", "repeated_field"),
        (GOOD.replace("1723475612", "1e999"), "/timestamp", "timestamp_out_of_range"),
        (GOOD.replace("1723475612", "9223372036854775808"), "/timestamp", "timestamp_out_of_range"),
        (GOOD.replace("\"u\"", "7"), "/user_id", "wrong_type"),
        (GOOD.replace("\"u\"", r#""\ud800""#), "/user_id", "invalid_text"),
        (GOOD.replace("\"u\"", r#""a\u0000b""#), "/user_id", "invalid_text"),
        (with(r#""metadata":{"a":"\udc00"}"#), "/metadata/a", "invalid_text"),
        (GOOD.replace("\"u\"", &format!("\"{}\"", "x".repeat(7_000_000))), "/user_id", "too_long"),
    ] {
        let (status, answer) = app.post("/events", event).await;
        let error = &answer["errors"][0];
        assert!(error["pointer"].as_str().unwrap().starts_with(pointer), "{pointer}: {answer}");
        assert_eq!((status, &answer["code"], &error["code"]), (400, &json!("invalid_event"), &json!(code)));
    }
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn one_strange_event_does_not_take_the_others_with_it() {
    let app = App::start().await;
    let strange = GOOD.replace("1723475612", "1e999");
    let (status, answer) = app.post("/events/bulk", format!(r#"[{GOOD},{strange},{},{GOOD}]"#, with(r#""metadata":{"a":"\ud800"}"#))).await;
    let places: Vec<_> = answer["errors"].as_array().unwrap().iter().map(|error| (&error["index"], &error["pointer"])).collect();
    assert_eq!((status, &answer["accepted"]), (202, &json!(2)));
    assert_eq!(places, [(&json!(1), &json!("/timestamp")), (&json!(2), &json!("/metadata/a"))]);
}

#[tokio::test]
async fn what_is_not_json_is_refused_whole_with_item_line_and_column() {
    let app = App::start().await;
    for (body, index, line, column) in [
        (GOOD.replace("1723475612", "NaN").into_bytes(), None, 1, 45),
        ([GOOD.as_bytes(), b" {}"].concat(), None, 1, GOOD.len() + 2),
        (b"{\"event_name\":\n\"\xff\"}".to_vec(), None, 2, 2),
        (b"{\"event_name\":\"a\0\"}".to_vec(), None, 1, 17),
        (format!("[{GOOD},\n{GOOD},]").into_bytes(), Some(2), 2, GOOD.len() + 2),
        (format!("{{\"events\":[{GOOD}").into_bytes(), Some(1), 1, GOOD.len() + 12),
    ] {
        let (status, answer) = app.post("/events", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_json")), "{answer}");
        assert_eq!((&answer["line"], &answer["column"]), (&json!(line), &json!(column)), "{answer}");
        assert_eq!(answer["errors"][0]["index"], index.map_or(Value::Null, Value::from), "{answer}");
    }
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn lines_may_be_blank_end_in_any_way_and_begin_with_a_mark() {
    let app = App::start().await;
    let lines = format!("\u{feff}{GOOD}\r\n\r\n \n{GOOD}\n{{\"event_name\"\n\n{GOOD}");
    for kind in ["application/x-ndjson", "application/json"] {
        let answer = app.send("/events", &[("content-type", kind)], lines.clone()).await;
        assert_eq!((answer.status, &answer.body["accepted"], &answer.body["rejected"]), (202, &json!(3), &json!(1)), "{}", answer.body);
        let error = &answer.body["errors"][0];
        assert_eq!((&error["index"], &error["code"]), (&json!(2), &json!("invalid_json")));
        assert!(error["message"].as_str().unwrap().contains("line 5 column 14"), "{error}");
    }
    let answer = app.send("/events", &[], format!("\u{feff}{GOOD}")).await;
    assert_eq!(answer.status, 202, "a mark before one event, and no content type");
}

#[tokio::test]
async fn metadata_comes_back_byte_for_byte() {
    let app = App::start().await;
    let writer = app.writer().await;
    let all = [
        r#"{"z":1,"a":1.10,"n":9223372036854775808,"e":1e999,"m":-0.0,"big":123456789012345678901234567890.123456789012345678901234567890}"#,
        r#"{ "\u0061" : "\u00e9\/\ud83d\ude00" , "é":"\"\\\b", "":[[],{},null,true] }"#,
    ];
    for metadata in all {
        assert_eq!(app.post("/events", with(&format!("\"metadata\":{metadata}"))).await.0, 202);
    }
    app.drained().await;
    assert_eq!(app.rows().await.iter().map(|row| row.metadata.as_deref()).collect::<Vec<_>>(), all.map(Some));
    writer.stop().await;
}

#[tokio::test]
async fn a_misspelt_field_is_named() {
    let app = App::with_settings(&[("ingest.unknown_fields", "reject")]).await;
    let (status, answer) = app.post("/events", GOOD.replace("event_name", "evnt_name")).await;
    let messages: Vec<&str> = answer["errors"].as_array().unwrap().iter().map(|error| error["message"].as_str().unwrap()).collect();
    assert_eq!(status, 400);
    assert_eq!(
        messages,
        [
            "no event has a field `evnt_name`; did you mean `event_name`?",
            "`event_name` (or `event_type`) is required; did you mean it by `evnt_name`?"
        ]
    );
    let (status, answer) = app.post("/events", format!(r#"{{"events":[{GOOD}],"evnts":1}}"#)).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/evnts")), "also beside the list");
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_stores_nothing() {
    let app = App::start().await;
    let answer = app.send("/events?dry_run=true", &[], GOOD).await;
    assert_eq!((answer.status, &answer.body["dry_run"], answer.body.get("position")), (202, &json!(true), None));
    assert_eq!(answer.headers["tidemark-dry-run"], "true");
    let (_, real) = app.post("/events?dry_run=false", GOOD).await;
    assert_eq!((&real["event_id"], real.get("dry_run")), (&answer.body["event_id"], None));
    let (status, bulk) = app.post("/events/bulk?dry_run=true", format!("[{GOOD},7]")).await;
    assert_eq!((status, &bulk["accepted"], &bulk["rejected"], &bulk["dry_run"]), (202, &json!(1), &json!(1), &json!(true)));
    let view = app.send("/event?dry_run=true", &[], r#"{"event_type":"page_view","site_id":"s","path":"/"}"#).await;
    assert_eq!((view.status, view.headers.get("tidemark-position")), (204, None));
    assert_eq!(app.post("/events?dry_run=true", "{}").await.0, 400, "what is wrong is said");
    let (status, misspelt) = app.post("/events?dryrun=true", GOOD).await;
    assert_eq!((status, &misspelt["code"]), (400, &json!("invalid_parameter")), "nobody relies on it in vain");
    assert_eq!(stored(&app).await, 1, "the one that was meant");
}

#[tokio::test]
async fn a_preference_that_was_applied_is_told() {
    let app = App::start().await;
    let body = format!("[{GOOD},7]");
    let strict = app.send("/events/bulk", &[("prefer", "handling=strict")], body.clone()).await;
    assert_eq!((strict.status, strict.headers["preference-applied"].to_str().unwrap()), (400, "handling=strict"));
    assert_eq!(strict.body["errors"][0]["index"], 1);
    let lenient = app.send("/events/bulk", &[("prefer", "return=minimal, handling=lenient")], body.clone()).await;
    assert_eq!((lenient.status, lenient.headers["preference-applied"].to_str().unwrap()), (202, "handling=lenient"));
    assert_eq!(app.send("/events/bulk", &[], body).await.headers.get("preference-applied"), None);
}

#[tokio::test]
async fn compressed_bodies_are_read_and_other_encodings_and_types_are_refused_with_a_hint() {
    let app = App::start().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(GOOD.as_bytes()).unwrap();
    let (gzip, zstd) = (gzip.finish().unwrap(), zstd::encode_all(GOOD.as_bytes(), 3).unwrap());
    for (encoding, body) in [("gzip", gzip.clone()), ("zstd", zstd), ("identity", GOOD.into())] {
        assert_eq!(app.send("/events", &[("content-encoding", encoding)], body).await.status, 202, "{encoding}");
    }
    let cut = app.send("/events", &[("content-encoding", "gzip")], gzip[..gzip.len() - 9].to_vec()).await;
    assert_eq!((cut.status, &cut.body["code"]), (400, &json!("unreadable_body")));
    let brotli = app.send("/events", &[("content-encoding", "br")], GOOD).await;
    assert_eq!((brotli.status, &brotli.body["code"]), (415, &json!("unsupported_content_encoding")));
    for (kind, body) in [("text/xml", "<a/>"), ("application/x-www-form-urlencoded", "event_name=a")] {
        let other = app.send("/events", &[("content-type", kind)], body).await;
        assert_eq!((other.status, &other.body["code"]), (415, &json!("unsupported_media_type")));
        assert!(other.body["detail"].as_str().unwrap().contains("application/x-ndjson"), "{}", other.body);
    }
}
