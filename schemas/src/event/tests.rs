use super::*;
use crate::raw::{Body, read_any, read_document};

const NOW: Timestamp = Timestamp(1_763_717_400_000_000);

fn judge<'a>(json: &'a str, rules: &Rules) -> Result<Event<'a>, Vec<(String, Code)>> {
    let Body::One(raw) = read_document(json.as_bytes(), 10).expect("the test sends JSON") else { panic!("not one event") };
    Event::validate(*raw, rules, NOW).map_err(|found| found.into_iter().map(|one| (one.pointer, one.code)).collect())
}

fn refused(json: &str) -> Vec<(String, Code)> {
    judge(json, &Rules::default()).expect_err(json)
}

#[test]
fn every_field_of_the_contract_is_kept() {
    let json = r#"{"event_name":"product_view","user_id":"u1","timestamp":1723400000,"channel":"web","campaign_id":"c1","site_id":"s1",
        "path":"/p\u00e9","tags":["a","b"],"metadata":{"big":123456789012345678901234567890,"z":1,"a":[1.10]},"event_id":"e1"}"#;
    let event = judge(json, &Rules::default()).unwrap();
    assert_eq!(event.timestamp, Timestamp(1_723_400_000_000_000));
    assert_eq!(event.path.as_deref(), Some("/pé"));
    assert_eq!(event.tags, Some(vec!["a".into(), "b".into()]));
    assert_eq!(event.metadata, Some(r#"{"big":123456789012345678901234567890,"z":1,"a":[1.10]}"#), "byte for byte");
    assert_eq!(event.event_id.as_deref(), Some("e1"));
    assert!(event.is_timestamp_sent());
}

#[test]
fn event_type_is_another_name_of_event_name() {
    let rules = Rules::default().for_page_views();
    let event = judge(r#"{"event_type":"page_view","site_id":"s","path":"/"}"#, &rules).unwrap();
    assert_eq!(event.event_name, "page_view");
    assert!(!event.is_timestamp_sent());
    assert_eq!(
        refused(r#"{"event_type":"a","event_name":"b","user_id":"u","timestamp":1723400000}"#),
        [("/event_name".into(), Code::RepeatedField)]
    );
}

#[test]
fn a_sent_time_that_equals_the_arrival_is_still_known_as_sent() {
    let json = format!(r#"{{"event_name":"a","user_id":"u","timestamp":{}}}"#, NOW.0);
    let event = judge(&json, &Rules::default()).unwrap();
    assert_eq!((event.timestamp, event.received_at), (NOW, Timestamp(NOW.0 + 1)));
}

#[test]
fn everything_wrong_is_said_at_once_and_with_its_place() {
    let found = refused(r#"{"user_id":7,"timestamp":-1,"tags":["ok",3,""],"metadata":[1],"channel":true}"#);
    let expected = [
        ("/timestamp", Code::TimestampOutOfRange),
        ("/event_name", Code::MissingField),
        ("/user_id", Code::WrongType),
        ("/channel", Code::WrongType),
        ("/tags/1", Code::WrongType),
        ("/tags/2", Code::TooShort),
        ("/metadata", Code::WrongType),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code)));
}

#[test]
fn limits_hold_to_the_byte() {
    let with = |field: &str, value: String| format!(r#"{{"event_name":"a","user_id":"u","timestamp":1723400000,"{field}":{value}}}"#);
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    for (field, max) in [("event_id", 128), ("channel", 64), ("campaign_id", 64), ("site_id", 128), ("path", 2048)] {
        assert!(judge(&with(field, text(max)), &Rules::default()).is_ok(), "{field}");
        assert_eq!(refused(&with(field, text(max + 1))), [(format!("/{field}"), Code::TooLong)]);
    }
    let tags = |count: usize| format!("[{}]", vec!["\"t\""; count].join(","));
    assert!(judge(&with("tags", tags(MAX_TAGS)), &Rules::default()).is_ok());
    for count in [MAX_TAGS + 1, 1000] {
        assert_eq!(refused(&with("tags", tags(count))), [("/tags".into(), Code::TooMany)]);
    }
}

#[test]
fn the_future_is_refused_beyond_the_skew() {
    let at = |us: i64| format!(r#"{{"event_name":"a","user_id":"u","timestamp":{us}}}"#);
    assert!(judge(&at(NOW.0 + 300_000_000), &Rules::default()).is_ok());
    assert_eq!(refused(&at(NOW.0 + 300_000_001)), [("/timestamp".into(), Code::TimestampInFuture)]);
}

#[test]
fn settings_refuse_unknown_fields_and_other_channels() {
    let rules = Rules { reject_unknown_fields: true, channels: HashSet::from(["web".to_owned()]), ..Rules::default() };
    let json = r#"{"event_name":"a","user_id":"u","timestamp":1723400000,"evnt":1,"channel":"app"}"#;
    assert_eq!(judge(json, &rules).unwrap_err(), [("/evnt".into(), Code::UnknownField), ("/channel".into(), Code::NotAllowed)]);
    assert!(judge(json, &Rules::default()).is_ok());
}

#[test]
fn null_is_absent() {
    let json = r#"{"event_name":"a","user_id":"u","timestamp":1723400000,"channel":null,"tags":null,"metadata":null,"event_id":null}"#;
    let event = judge(json, &Rules::default()).unwrap();
    assert_eq!((event.channel, event.tags, event.metadata, event.event_id), (None, None, None, None));
}

#[test]
fn a_body_is_one_event_a_list_a_wrapper_or_lines() {
    let shape = |text: &str| match read_any(text.as_bytes(), 2).expect(text) {
        Body::One(_) => (1, 1),
        Body::Many(items, count) => (items.len(), count),
    };
    assert_eq!(shape(r#"{"event_name":"a"}"#), (1, 1));
    assert_eq!(shape(r#"[{"event_name":"a"},7,{}]"#), (2, 3), "two kept, three counted");
    assert_eq!(shape(r#"{"events":[{},{}]}"#), (2, 2));
    assert_eq!(shape("{\"event_name\":\"a\"}\n\n{\"event_name\":\"b\"}\r\n{}\n"), (2, 3));
    assert_eq!(shape("{}\nrubbish"), (2, 2), "a broken line is an item that says so");
    assert_eq!(shape("[]"), (0, 0));
    for broken in ["", "{", "{} {}", "[{},]", "\u{feff}{}", "{\"timestamp\":1e999}", "{'a':1}"] {
        assert_eq!(read_any(broken.as_bytes(), 2).expect_err(broken).code, Code::InvalidJson);
    }
}
