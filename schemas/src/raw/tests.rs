use super::*;

fn items(body: &str, limit: usize) -> Result<Vec<Option<Code>>, Unreadable> {
    match Body::of_json(body.as_bytes(), Dialect::Tidemark)? {
        Body::One(_) => Ok(vec![None]),
        Body::Many(events) => {
            let mut items = Vec::new();
            events.for_each(limit, false, |item| items.push(item.err().map(|violation| violation.code)))?;
            Ok(items)
        }
    }
}

fn syntax(body: &[u8]) -> (Option<usize>, usize, usize) {
    let read = match Body::of_json(body, Dialect::Tidemark) {
        Ok(Body::One(_)) => panic!("it is an event"),
        Ok(Body::Many(events)) => events.for_each(100, false, drop).map(drop),
        Err(unreadable) => Err(unreadable),
    };
    match read {
        Err(Unreadable::Syntax(syntax)) => (syntax.index, syntax.line, syntax.column),
        other => panic!("not a broken text: {other:?}"),
    }
}

#[test]
fn a_body_is_one_event_a_list_a_wrapper_or_lines() {
    for (body, events) in [
        (r#"{"event_name":"a"}"#, 1),
        ("\u{feff} {\"event_name\":\"a\"}\n", 1),
        (r#"[{"event_name":"a"},7,{}]"#, 3),
        (r#"{"sent":1,"events":[{},{}],"by":{}}"#, 2),
        (r#"{"\u0065vents":[{},{}]}"#, 2),
        ("{\"event_name\":\"a\"}\n\n{\"event_name\":\"b\"}\r\n \n{}\n", 3),
        ("\u{feff}{}\n{}", 2),
        ("[]", 0),
        ("{\"events\":[]}", 0),
    ] {
        assert_eq!(items(body, 10), Ok(vec![None; events]), "{body}");
    }
    assert_eq!(items("{}\nrubbish\n{}", 10), Ok(vec![None, Some(Code::InvalidJson), None]), "a broken line is an item that says so");
}

#[test]
fn more_events_than_allowed_are_not_read() {
    for body in ["[{},{},{}]", "[{},{},{},rubbish", "{}\n{}\n{}", "{\"events\":[{},{},{}]}"] {
        assert_eq!(items(body, 3).is_ok(), !body.contains("rubbish"), "{body}");
        assert_eq!(items(body, 2), Err(Unreadable::TooMany { limit: 2 }), "{body}");
    }
}

#[test]
fn broken_json_is_told_with_item_line_and_column() {
    for (body, place) in [
        ("", (None, 1, 1)),
        ("{", (None, 1, 2)),
        ("{} {}", (None, 1, 4)),
        ("{'a':1}", (None, 1, 2)),
        ("{\n\"timestamp\": NaN}", (None, 2, 14)),
        ("[{},\n{]", (Some(1), 2, 2)),
        ("[{},]", (Some(1), 1, 5)),
        ("[{}] x", (Some(1), 1, 6)),
        ("{\"events\":[{},{}}", (Some(2), 1, 17)),
        ("{\"events\":[{}]", (Some(1), 1, 15)),
    ] {
        assert_eq!(syntax(body.as_bytes()), place, "{body}");
    }
    assert_eq!(syntax(b"[{\"a\":\"\xc3\x28\"}]"), (None, 1, 8), "bad UTF-8");
}

#[test]
fn a_broken_line_is_told_with_its_line_in_the_body() {
    let Body::Many(events) = Body::of_lines(b"{}\n\n{\"a\":\xff}\nx\n") else { panic!("lines are many") };
    let mut messages = Vec::new();
    events.for_each(10, false, |item| messages.extend(item.err().map(|violation| violation.message))).unwrap();
    assert_eq!(
        messages,
        ["not valid JSON: a byte that is not UTF-8 at line 3 column 6", "not valid JSON: expected a value at line 4 column 1"]
    );
}

#[test]
fn events_must_be_one_list() {
    for (body, pointer, code) in [
        (r#"{"events":{}}"#, "/events", Code::WrongType),
        (r#"{"events":[{}],"events":[{}]}"#, "/events", Code::RepeatedField),
        ("7", "", Code::NotAnEvent),
        ("null", "", Code::NotAnEvent),
    ] {
        let Err(Unreadable::Wrapper(violation)) = items(body, 10) else { panic!("{body} was read") };
        assert_eq!((violation.pointer.as_str(), violation.code), (pointer, code), "{body}");
    }
}

#[test]
fn what_stands_beside_events_is_refused_where_unknown_fields_are() {
    let beside = |body: &str| {
        let Ok(Body::Many(events)) = Body::of_json(body.as_bytes(), Dialect::Tidemark) else { panic!("{body} is a wrapper") };
        events.for_each(10, true, drop).map_err(|unreadable| unreadable.to_string())
    };
    assert_eq!(beside(r#"{"events":[{},{}]}"#), Ok(2));
    assert!(beside(r#"{"events":[{}],"batch":1}"#).unwrap_err().contains("`batch`"));
    assert!(beside(r#"{"user_id":"u","events":[{}]}"#).unwrap_err().contains("`user_id`"));
}

#[test]
fn a_key_may_be_written_with_escapes() {
    let event = RawEvent::read(br#"{"event\u005fname":"a","\ud800":1}"#).unwrap();
    assert_eq!(event.get(Field::EventName), Some("\"a\""));
    assert_eq!(event.unknown, ["\\ud800"]);
}

#[test]
fn unknown_keys_are_remembered_only_for_messages() {
    let keys: Vec<String> = (0..1000).map(|key| format!("\"k{key}\":{{}}")).collect();
    assert_eq!(RawEvent::read(format!("{{{}}}", keys.join(",")).as_bytes()).unwrap().unknown.len(), UNKNOWN_KEPT);
}
