use super::*;

const NOW: Timestamp = Timestamp(1_763_717_400_000_000);

fn judge<'a>(json: &'a str, rules: &Rules) -> Result<Event<'a>, Vec<(String, Code)>> {
    let raw = RawEvent::read(json.as_bytes()).expect("the test sends JSON");
    Event::validate(raw, rules, NOW).map_err(|found| found.into_iter().map(|one| (one.pointer, one.code)).collect())
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
fn a_misspelt_field_is_suggested() {
    let message = |json: &str, rules: &Rules| {
        let raw = RawEvent::read(json.as_bytes()).unwrap();
        Event::validate(raw, rules, NOW).unwrap_err().remove(0).message
    };
    let json = r#"{"evnt_name":"a","user_id":"u","timestamp":1723400000}"#;
    assert_eq!(message(json, &Rules::default()), "`event_name` (or `event_type`) is required; did you mean it by `evnt_name`?");
    let strict = Rules { reject_unknown_fields: true, ..Rules::default() };
    assert_eq!(message(json, &strict), "no event has a field `evnt_name`; did you mean `event_name`?");
    let far = r#"{"event_name":"a","user_id":"u","timestamp":1723400000,"price":1}"#;
    assert!(message(far, &strict).contains("the fields are timestamp, event_id"));
}

#[test]
fn a_value_that_no_field_can_take_refuses_its_event_and_says_where() {
    let with = |member: &str| format!(r#"{{"event_name":"a","user_id":"u",{member}}}"#);
    for (member, pointer, code) in [
        ("\"timestamp\":1e999", "/timestamp", Code::TimestampOutOfRange),
        ("\"timestamp\":9223372036854775808", "/timestamp", Code::TimestampOutOfRange),
        ("\"timestamp\":[]", "/timestamp", Code::WrongType),
        (r#""timestamp":1723400000,"channel":"\ud800""#, "/channel", Code::InvalidText),
        (r#""timestamp":1723400000,"path":"a\u0000b""#, "/path", Code::InvalidText),
        (r#""timestamp":1723400000,"tags":["a","\udc00"]"#, "/tags/1", Code::InvalidText),
        (r#""timestamp":1723400000,"metadata":{"a":{"b":1,"b":2}}"#, "/metadata/a/b", Code::RepeatedField),
        (r#""timestamp":1723400000,"metadata":{},"metadata":{}"#, "/metadata", Code::RepeatedField),
        (r#""timestamp":1723400000,"metadata":"{}""#, "/metadata", Code::WrongType),
    ] {
        assert_eq!(refused(&with(member)), [(pointer.to_owned(), code)], "{member}");
    }
    let deep = format!("\"timestamp\":1723400000,\"metadata\":{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(refused(&with(&deep))[0].1, Code::TooDeep);
    assert_eq!(
        refused(&with(&format!("\"timestamp\":1723400000,\"path\":\"{}\"", "x".repeat(10_000_000)))),
        [("/path".into(), Code::TooLong)]
    );
}

#[test]
fn metadata_is_kept_byte_for_byte() {
    for metadata in [
        r#"{"z":1,"a":1.10,"big":123456789012345678901234567890,"huge":1e999,"tiny":-0.0e-0}"#,
        r#"{"\u0061":"\u00e9\/\ud83d\ude00","é":"\"","":{"":[[],{},null,true]}}"#,
        "{ \"spaced\" :\n[ 1 ,\t2 ] }",
    ] {
        let json = format!(r#"{{"event_name":"a","user_id":"u","timestamp":1723400000,"metadata": {metadata} }}"#);
        assert_eq!(judge(&json, &Rules::default()).unwrap().metadata, Some(metadata));
    }
}

fn cloud_event(json: &str) -> Result<Event<'_>, Vec<(String, Code)>> {
    let raw = RawEvent::of_cloud_event(json, None).expect("the test sends JSON");
    Event::validate(raw, &Rules::default(), NOW).map_err(|found| found.into_iter().map(|one| (one.pointer, one.code)).collect())
}

#[test]
fn a_cloud_event_is_read_by_its_attributes() {
    let event = cloud_event(
        r#"{"specversion":"1.0","id":"e1","type":"com.example.sold","source":"/shop","subject":"u1","time":"2024-08-11T18:13:20Z",
            "datacontenttype":"application/json","dataschema":"x:y","traceparent":"00-1","event_name":"other","data":{"price":1.50}}"#,
    )
    .unwrap();
    assert_eq!((event.event_id.as_deref(), event.event_name.as_ref()), (Some("e1"), "com.example.sold"));
    assert_eq!((event.channel.as_deref(), event.user_id.as_deref()), (Some("/shop"), Some("u1")));
    assert_eq!((event.timestamp, event.metadata), (Timestamp(1_723_400_000_000_000), Some(r#"{"price":1.50}"#)));
}

#[test]
fn what_a_cloud_event_lacks_is_told_by_the_names_of_its_attributes() {
    let places = [
        ("/specversion", Code::MissingField),
        ("/id", Code::MissingField),
        ("/source", Code::MissingField),
        ("/data_base64", Code::WrongType),
        ("/time", Code::MissingField),
        ("/type", Code::MissingField),
        ("/subject", Code::MissingField),
        ("/data", Code::WrongType),
    ];
    let places = places.map(|(pointer, code)| (pointer.to_owned(), code));
    assert_eq!(cloud_event(r#"{"data_base64":"AA==","data":[1]}"#).unwrap_err(), places);
    let version = cloud_event(r#"{"specversion":1.0,"id":"1","type":"t","source":"s","subject":"u","time":"2024-08-11T18:13:20Z"}"#);
    assert_eq!(version.unwrap_err(), [("/specversion".to_owned(), Code::NotAllowed)]);
    let source = cloud_event(r#"{"specversion":"1.0","id":"1","type":"t","source":"","subject":"u","time":"2024-08-11T18:13:20Z"}"#);
    assert_eq!(source.unwrap_err(), [("/source".to_owned(), Code::TooShort)]);
}
