//! Requests as the clients of the five services send them; each gets the documented answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::app::App;

/// What `curl -d` says of every body.
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[tokio::test]
async fn event_metrics_service_an_event_with_seconds_and_tags() {
    let app = App::start().await;
    let body = r#"{"event_name":"product_view","channel":"web","campaign_id":"cmp_987","user_id":"user_123","timestamp":1723475612,
        "tags":["electronics","homepage","flash_sale"],"metadata":{"product_id":"prod-789","price":129.99,"currency":"TRY","referrer":"google"}}"#;
    for kind in [JSON, FORM] {
        let answer = app.send("/events", &[("content-type", kind)], body).await;
        assert_eq!((answer.status, &answer.body["status"]), (202, &json!("accepted")), "{kind}");
    }
}

#[tokio::test]
async fn event_ingestion_system_milliseconds_and_a_list_of_channels() {
    let app = App::with_settings(&[("ingest.channels", "web,mobile_app,api")]).await;
    let event = |channel: &str| {
        json!({"event_name": "purchase", "channel": channel, "campaign_id": "cmp_1", "user_id": "u1", "timestamp": 1_723_475_612_345_u64,
            "tags": ["a"], "metadata": {"product_id": "p1", "price": 12.5}})
        .to_string()
    };
    assert_eq!(app.post("/events", event("web")).await.0, 202);
    let (status, answer) = app.post("/events", event("fax")).await;
    assert_eq!((status, &answer["errors"][0]["pointer"], &answer["errors"][0]["code"]), (400, &json!("/channel"), &json!("not_allowed")));
    assert!(answer["detail"].as_str().unwrap().contains("api, mobile_app, web"), "{answer}");
}

#[tokio::test]
async fn events_ingestion_and_metrics_api_bulk_with_nested_metadata() {
    let app = App::start().await;
    let writer = app.writer().await;
    let metadata = r#"{"cart":{"items":[{"sku":"A1","qty":2,"price":19.90},{"sku":"B2","attributes":{"size":null,"colours":["red",12345678901234567890]}}]},"note":"çay \u00e9 \ud83d\ude00"}"#;
    let event = |user: &str| {
        format!(
            r#"{{"event_name":"purchase","channel":"web","campaign_id":"c","user_id":"{user}","timestamp":1723475612,"tags":["x"],"metadata":{metadata}}}"#
        )
    };
    for body in [format!(r#"{{"events":[{},{}]}}"#, event("u1"), event("u2")), format!("[{},{}]", event("u3"), event("u4"))] {
        let (status, answer) = app.post("/events/bulk", body).await;
        assert_eq!((status, &answer["accepted_count"], &answer["rejected"]), (202, &json!(2), &json!(0)), "{answer}");
        assert_eq!(answer["event_ids"].as_array().unwrap().len(), 2);
    }
    app.drained().await;
    let rows = app.rows().await;
    assert_eq!(rows.iter().map(|row| row.metadata.as_deref()).collect::<Vec<_>>(), [Some(metadata); 4], "byte for byte");
    writer.stop().await;
}

#[tokio::test]
async fn event_analytics_service_an_answer_with_the_id_of_the_event() {
    let app = App::start().await;
    let body = r#"{"event_name":"page_view","user_id":"user-1","timestamp":"2025-11-29T21:15:00Z","channel":"mobile","metadata":{"page":"/home"}}"#;
    let (status, answer) = app.post("/events", body).await;
    assert_eq!((status, answer["event_id"].as_str().unwrap().len()), (202, 32));
    assert_eq!(app.post("/events", body).await.1["event_id"], answer["event_id"], "the same for the repeat");
}

#[tokio::test]
async fn event_ingestion_and_reporting_service_a_page_view() {
    let app = App::start().await;
    let body = r#"{"site_id":"site-abc-123","event_type":"page_view","path":"/pricing","user_id":"user-xyz-789","timestamp":"2025-11-12T19:30:01Z"}"#;
    for kind in [JSON, FORM] {
        let answer = app.send("/event", &[("content-type", kind)], body).await;
        assert_eq!((answer.status, &answer.body), (204, &Value::Null));
        assert!(answer.headers.contains_key("tidemark-position"));
    }
}

#[tokio::test]
async fn load_tools_one_body_again_and_again_is_accepted_each_time_and_folded() {
    let app = App::start().await;
    let writer = app.writer().await;
    let body = r#"{"event_name":"load","user_id":"u1","timestamp":1723475612}"#;
    let answers = futures::future::join_all((0..200).map(|_| app.post("/events", body))).await;
    let ids: BTreeSet<_> = answers.iter().map(|(status, answer)| (*status, answer["event_id"].to_string())).collect();
    assert_eq!(ids.len(), 1, "one status and one id: {ids:?}");
    assert_eq!(answers[0].0, 202);
    app.drained().await;
    assert_eq!(app.rows().await.len(), 1);
    writer.stop().await;
}

#[tokio::test]
async fn load_tools_where_ids_are_random_every_request_is_a_row() {
    let app = App::with_settings(&[("ingest.missing_event_id", "random")]).await;
    let writer = app.writer().await;
    let body = r#"{"event_name":"load","user_id":"u1","timestamp":1723475612}"#;
    let answers = futures::future::join_all((0..200).map(|_| app.post("/events", body))).await;
    let (_, bulk) = app.post("/events/bulk", format!("[{body},{body}]")).await;
    let mut told: BTreeSet<String> = answers.iter().map(|(_, answer)| answer["event_id"].as_str().unwrap().to_owned()).collect();
    told.extend(bulk["event_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    for _ in 0..2 {
        let view = r#"{"event_type":"page_view","site_id":"s","path":"/","timestamp":1723475612}"#;
        assert_eq!(app.send("/event", &[], view).await.status, 204);
        assert_eq!(app.post("/events", body.replacen('{', r#"{"event_id":"own","#, 1)).await.1["event_id"], "own");
    }
    app.drained().await;
    let rows = app.rows().await;
    let stored: BTreeSet<String> = rows.iter().filter(|row| row.event_name == "load").map(|row| row.event_id.clone().unwrap()).collect();
    assert_eq!((told.len(), rows.len()), (202, 202 + 2 + 1), "the views are two, and an id of one's own is folded as ever");
    told.insert("own".to_owned());
    assert_eq!(stored, told, "the ids of the answers are in the table");
    writer.stop().await;
}

#[tokio::test]
async fn cloud_events_in_three_forms_are_the_same_event() {
    let app = App::start().await;
    let event = r#"{"specversion":"1.0","id":"e-1","type":"com.shop.sold","source":"/shop","subject":"u é","time":"2025-11-12T19:30:01Z","data":{"price":1.50}}"#;
    let binary = [
        ("content-type", JSON),
        ("ce-specversion", "1.0"),
        ("ce-id", "e-1"),
        ("ce-type", "com.shop.sold"),
        ("ce-source", "/shop"),
        ("ce-subject", "u%20%C3%A9"),
        ("ce-time", "2025-11-12T19:30:01Z"),
    ];
    let writer = app.writer().await;
    for (headers, body, id) in [
        (&[("content-type", "application/cloudevents+json; charset=UTF-8")][..], event.to_owned(), "/event_id"),
        (&[("content-type", "application/cloudevents-batch+json")], format!("[{event}]"), "/event_ids/0"),
        (&binary, r#"{"price":1.50}"#.to_owned(), "/event_id"),
    ] {
        let answer = app.send("/events", headers, body).await;
        assert_eq!((answer.status, answer.body.pointer(id)), (202, Some(&json!("e-1"))), "{}", answer.body);
    }
    app.drained().await;
    let rows = app.rows().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].event_name.as_str(), rows[0].metadata.as_deref()), ("com.shop.sold", Some(r#"{"price":1.50}"#)));
    writer.stop().await;

    let broken = app.send("/events", &binary, "{\"price\":}").await;
    assert_eq!((broken.status, &broken.body["code"], &broken.body["column"]), (400, &json!("invalid_json"), &json!(10)));
    let behind = app.send("/events", &binary, r#"{}, "subject":"another""#).await;
    assert_eq!((behind.status, &behind.body["code"]), (400, &json!("invalid_json")), "the body is the data and nothing else");
    let old = app.send("/events", &[("content-type", JSON), ("ce-specversion", "0.3")], "{}").await;
    assert_eq!((old.status, &old.body["errors"][0]["pointer"]), (400, &json!("/specversion")));
}
