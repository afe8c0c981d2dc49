//! What a file is, by its first bytes and then by its name.

use serde::de::IgnoredAny;

use super::{Format, source::PARQUET};
use crate::members::Members;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Ends of names that decide where the content leaves a choice.
const COMPRESSED: [&str; 3] = [".gz", ".zst", ".zstd"];

/// Recognises a file of this name by the beginning of its content.
pub(super) fn recognise(name: &str, head: &[u8]) -> Format {
    let text = without_mark(head).trim_ascii_start();
    match text.first() {
        _ if head.starts_with(PARQUET) => Format::Parquet,
        Some(b'[') => Format::Json,
        Some(b'{') if is_named(name, &[".ndjson", ".jsonl"]) || is_event(first_line(text)) => Format::Ndjson,
        Some(b'{') => Format::Json,
        None => Format::Ndjson,
        Some(_) if is_named(name, &[".ndjson", ".jsonl", ".json"]) => Format::Ndjson,
        Some(_) => Format::Csv,
    }
}

/// The text without a byte order mark.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

fn is_named(name: &str, ends: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    let plain = COMPRESSED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    ends.iter().any(|end| plain.ends_with(end))
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or(text)
}

/// Whether a line is one whole JSON object that does not hold a list of events.
fn is_event(line: &[u8]) -> bool {
    let is_list = |value: &str| serde_json::from_str::<Vec<IgnoredAny>>(value).is_ok();
    match serde_json::from_slice::<Members>(line) {
        Ok(Members(members)) => !members.iter().any(|(name, value)| name == "events" && is_list(value.get())),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_content_says_and_its_name_only_where_that_leaves_a_choice() {
        for (name, head, format) in [
            ("a", "{\"event_name\":\"a\"}\n{\"event_name\":\"b\"}", Format::Ndjson),
            ("a", "\u{feff} {\"event_name\":\"a\"}", Format::Ndjson),
            ("a.ndjson", "{\"events\":[]}", Format::Ndjson),
            ("a.jsonl.gz", "{ broken", Format::Ndjson),
            ("a.csv", "{\"events\":[{}]}", Format::Json),
            ("a", "{\n  \"event_name\": 7\n}", Format::Json),
            ("a", " [\n", Format::Json),
            ("a.csv", "PAR1....", Format::Parquet),
            ("a", "event_name,user_id\n", Format::Csv),
            ("a.json", "oops", Format::Ndjson),
            ("a", "", Format::Ndjson),
        ] {
            assert_eq!(recognise(name, head.as_bytes()), format, "{name} {head}");
        }
    }
}
