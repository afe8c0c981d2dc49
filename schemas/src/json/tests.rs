use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn read(text: &str) -> Result<&str, (usize, usize)> {
    let mut reader = Reader::new(text);
    let value = reader.value().and_then(|value| reader.end().map(|()| value));
    value.map_err(|broken| line_and_column(text.as_bytes(), broken.at))
}

#[test]
fn a_value_comes_as_it_was_sent_without_the_space_around_it() {
    for value in ["null", "true", "-0.0e+10", "1e999", r#""a\"\ud800é""#, "[]", "{}", r#"{ "a" : [1, {"b":null}] }"#, "[[[[]]],0]"] {
        assert_eq!(read(&format!(" \t\r\n{value}\n ")), Ok(value));
    }
}

#[test]
fn what_breaks_the_grammar_is_told_with_line_and_column() {
    for (text, place) in [
        ("", (1, 1)),
        ("[1,\n 2,\n é]", (3, 2)),
        ("{\"é\" 1}", (1, 6)),
        ("{\"a\":1,}", (1, 8)),
        ("[1}", (1, 3)),
        ("01", (1, 2)),
        ("-", (1, 2)),
        ("1.e1", (1, 3)),
        ("NaN", (1, 1)),
        ("nul", (1, 1)),
        ("\"a\nb\"", (1, 3)),
        ("\"\\x\"", (1, 2)),
        ("\"\\u12g4\"", (1, 2)),
        ("\"open", (1, 6)),
        ("{} {}", (1, 4)),
        ("\u{feff}{}", (1, 1)),
    ] {
        assert_eq!(read(text), Err(place), "{text:?}");
    }
}

#[test]
fn depth_is_no_limit_and_no_recursion() {
    let deep = format!("{}1{}", "[{\"a\":".repeat(100_000), "}]".repeat(100_000));
    assert!(read(&deep) == Ok(deep.as_str()));
}

#[test]
fn a_string_is_the_text_that_its_escapes_stand_for() {
    assert!(matches!(text(r#""plain é""#), Ok(Cow::Borrowed("plain é"))));
    assert_eq!(text(r#""\n\u00e9\ud83d\ude00\/""#), Ok(Cow::Owned("\né😀/".to_owned())));
    assert_eq!([text(r#""a\ud800""#), text(r#""\udc00\ud800""#)], [Err(NoText::LoneSurrogate), Err(NoText::LoneSurrogate)]);
    assert_eq!(text(r#""a\u0000b""#), Err(NoText::Nul));
}

#[test]
fn a_byte_that_is_not_utf_8_is_told_with_its_place() {
    let bytes = b"{\"a\":\n\"\xff\"}";
    assert_eq!(line_and_column(bytes, text_of(bytes).unwrap_err().at), (2, 2));
}

/// Texts that are nearly JSON.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00", "0", "1", "-", ".", "e", "+", "true", "false", "null", " ", "\n", "é", "\"a\"",
        "\"a\":", "\u{1}", "\\\"", "aaaaaaaa", "\u{7f}",
    ]);
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn nested() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::vec((".{0,9}", inner), 0..6).prop_map(|members| serde_json::Map::from_iter(members).into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_takes_what_serde_json_takes_and_nothing_else(text in nearly_json()) {
        prop_assert_eq!(read(&text).is_ok(), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{:?}", text);
    }

    #[test]
    fn every_json_text_comes_back_as_it_was(value in nested()) {
        for text in [value.to_string(), format!("{value:#}")] {
            prop_assert_eq!(read(&text), Ok(text.as_str()));
        }
    }
}
