//! Whatever is accepted comes back as it was sent.

use proptest::{prelude::*, sample::select};

use crate::oracle;

/// JSON text of any value, also of those that no field takes.
fn value() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "null",
        "1e999",
        "-0",
        "12345678901234567890123",
        "[]",
        "{}",
        "\"\"",
        r#""\ud800""#,
        r#""\u0000""#,
        r#"{"a":1,"a":2}"#,
        "true",
        r#"{ "\u0061" : [ 1.10 , {"b":"\ud83d\ude00"} ] }"#,
        "[[[[[[[[[[]]]]]]]]]]",
    ]);
    let nested = any::<i64>().prop_map(serde_json::Value::from).prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            ".{0,12}".prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            proptest::collection::vec((".{0,9}", inner), 0..5).prop_map(|members| serde_json::Map::from_iter(members).into()),
        ]
    });
    prop_oneof![1 => odd.prop_map(str::to_owned), 3 => nested.prop_map(|value| value.to_string())]
}

/// JSON text of a value that its field takes.
fn right(field: &'static str) -> BoxedStrategy<String> {
    let text = |pattern: &'static str| pattern.prop_map(|text: String| serde_json::Value::from(text).to_string());
    match field {
        "timestamp" => prop_oneof![
            (1..=1_763_717_400_i64).prop_map(|seconds| seconds.to_string()),
            (1.0..1_763_717_400.0).prop_map(|seconds: f64| seconds.to_string()),
            (-1_000_000_000..1_763_717_400_i64).prop_map(|seconds| format!(
                "\"{}\"",
                chrono::DateTime::from_timestamp(seconds, 7000).expect("the range lies in the years that chrono knows").to_rfc3339()
            )),
        ]
        .boxed(),
        "tags" => proptest::collection::vec(text(".{1,12}"), 0..6).prop_map(|tags| format!("[{}]", tags.join(", "))).boxed(),
        "metadata" => proptest::collection::btree_map("[a-zA-Z é/~]{0,6}", value(), 0..5)
            .prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                format!("{{ {} }}", members.join(" ,\n"))
            })
            .boxed(),
        _ => text(".{1,16}").boxed(),
    }
}

fn event() -> impl Strategy<Value = String> {
    let keys = ["timestamp", "event_id", "user_id", "channel", "campaign_id", "site_id", "path", "tags", "metadata"];
    let member = |key: &'static str| prop_oneof![3 => right(key), 1 => value()].prop_map(move |value| format!("\"{key}\":{value}"));
    let members = proptest::sample::subsequence(keys.to_vec(), 0..=keys.len())
        .prop_flat_map(move |keys| keys.into_iter().map(member).collect::<Vec<_>>())
        .prop_shuffle();
    let name = prop_oneof![Just("event_name"), Just("event_type"), Just(r"event\u005fname"), Just("evnt_name")];
    (name, right("event_name"), members).prop_map(|(key, name, members)| {
        let name = format!("\"{key}\":{name}");
        format!("{{{}}}", members.into_iter().chain([name]).collect::<Vec<_>>().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_is_accepted_comes_back_from_its_block_as_it_was_sent(events in proptest::collection::vec(event(), 1..5), form in 0..4) {
        let list = events.join(",\n ");
        let body = match form {
            0 => events[0].clone(),
            1 => format!("[{list}]"),
            2 => format!("{{\"events\":[{list}]}}"),
            _ => events.join("\r\n"),
        };
        oracle::check(body.as_bytes());
    }
}

#[test]
fn the_round_trip_sees_events() {
    let event = r#"{"event_name":"a","timestamp":1723400000,"tags":["é"],"metadata":{"b":1e999}}"#;
    assert_eq!(oracle::check(event.as_bytes()), 1);
    assert_eq!(oracle::check(format!("{{\"events\":[{event},7,{event}]}}").as_bytes()), 2);
    assert_eq!(oracle::check(format!("{event}\nrubbish\n{event}").as_bytes()), 2);
}

#[test]
fn every_seed_of_the_fuzzer_is_accepted_as_it_is() {
    let seeds = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/door")).unwrap();
    let accepted: Vec<(String, usize)> = seeds
        .map(|seed| seed.unwrap())
        .map(|seed| (seed.file_name().into_string().unwrap(), oracle::check(&std::fs::read(seed.path()).unwrap())))
        .collect();
    assert!(accepted.len() >= 10 && accepted.iter().all(|(_, events)| *events > 0), "{accepted:?}");
}
