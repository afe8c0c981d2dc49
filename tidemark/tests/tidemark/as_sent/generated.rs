//! Events as JSON text, each with the row that it must become.

use chrono::{DateTime, SecondsFormat};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Map, Value};

const TEXTS: [&str; 5] = ["event_id", "channel", "campaign_id", "site_id", "path"];
/// One of each kind that the door must refuse; the rest of the event is right.
const WRONG: [&str; 6] = [
    r#""path":"\ud800""#,
    r#""path":"\u0000""#,
    r#""metadata":{"a":1,"\u0061":2}"#,
    r#""metadata":{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#,
    r#""tags":[1]"#,
    r#""user_id":"again""#,
];
const CHARACTERS: [char; 20] =
    ['a', 'Z', '7', ' ', '"', '\\', '/', '\u{1}', '\t', '\n', '\r', '\u{1f}', '\u{7f}', 'é', 'ß', '漢', '\u{2028}', '\u{feff}', '😀', '🏳'];

/// An event as it is sent, and its row; none for one that must be refused.
pub(super) struct Sent {
    pub(super) json: String,
    pub(super) row: Option<Value>,
}

/// An event that differs from every one of another number.
pub(super) fn event(random: &mut SmallRng, number: usize) -> Sent {
    let mut members = Members { random, json: Vec::new(), row: Map::new() };
    let name = *["event_name", "event_type"].choose(members.random).expect("there are two");
    members.text(name, "event_name", number);
    members.text("user_id", "user_id", number);
    members.timestamp();
    if members.random.random_bool(0.1) {
        let wrong = WRONG.choose(members.random).expect("there are some");
        members.json.push((*wrong).to_owned());
        return Sent { json: members.json(), row: None };
    }
    for field in TEXTS {
        if members.random.random_bool(0.5) {
            members.text(field, field, number);
        }
    }
    members.tags();
    members.metadata();
    Sent { json: members.json(), row: Some(Value::Object(members.row)) }
}

struct Members<'a> {
    random: &'a mut SmallRng,
    json: Vec<String>,
    row: Map<String, Value>,
}

impl Members<'_> {
    fn add(&mut self, key: &str, json: &str, column: &str, value: Value) {
        self.json.push(format!("{}{}:{}{json}", quoted(self.random, key), space(self.random), space(self.random)));
        self.row.insert(column.to_owned(), value);
    }

    fn text(&mut self, key: &str, column: &str, number: usize) {
        let text = format!("{}{number}", text(self.random));
        let json = quoted(self.random, &text);
        self.add(key, &json, column, text.into());
    }

    fn timestamp(&mut self) {
        let seconds = self.random.random_range(1_500_000_000..1_790_000_000_i64);
        let us = self.random.random_range(0..1_000_000_i64);
        let exact = seconds * 1_000_000 + us;
        let (json, us) = match self.random.random_range(0..5) {
            0 => (seconds.to_string(), seconds * 1_000_000),
            1 => ((exact / 1000).to_string(), exact / 1000 * 1000),
            2 => (exact.to_string(), exact),
            3 => (format!("{seconds}.5"), seconds * 1_000_000 + 500_000),
            _ => (format!("\"{}\"", DateTime::from_timestamp_micros(exact).unwrap().to_rfc3339_opts(SecondsFormat::Micros, true)), exact),
        };
        self.add("timestamp", &json, "timestamp", us.into());
    }

    fn tags(&mut self) {
        if self.random.random_bool(0.5) {
            let tags: Vec<String> = (0..self.random.random_range(0..5)).map(|number| format!("{}{number}", text(self.random))).collect();
            let json: Vec<String> = tags.iter().map(|tag| quoted(self.random, tag)).collect();
            self.add("tags", &format!("[{}]", json.join(", ")), "tags", tags.into());
        }
    }

    fn metadata(&mut self) {
        if self.random.random_bool(0.8) {
            let json = object(self.random, 4);
            self.add("metadata", &json, "metadata", json.clone().into());
        } else if self.random.random_bool(0.5) {
            self.json.push(r#""metadata":null"#.to_owned());
        }
    }

    fn json(&self) -> String {
        format!("{{{}}}", self.json.join(" ,"))
    }
}

fn text(random: &mut SmallRng) -> String {
    (0..random.random_range(0..12)).map(|_| *CHARACTERS.choose(random).expect("there are some")).collect()
}

/// A text as JSON; each character as itself, where that is allowed, or as an escape.
fn quoted(random: &mut SmallRng, text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        if character < ' ' || matches!(character, '"' | '\\') || random.random_bool(0.1) {
            let units = &mut [0; 2];
            character.encode_utf16(units).iter().for_each(|unit| json += &format!("\\u{unit:04x}"));
        } else {
            json.push(character);
        }
    }
    json + "\""
}

fn space(random: &mut SmallRng) -> &'static str {
    ["", "", "", " ", "\n", "\t ", "\r\n"].choose(random).expect("there are some")
}

fn digits(random: &mut SmallRng, most: usize) -> String {
    (0..random.random_range(1..=most)).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect()
}

fn number(random: &mut SmallRng) -> String {
    let sign = ["", "-"].choose(random).expect("there are two");
    let whole = format!("{}{}", random.random_range(1..=9), digits(random, 39));
    match random.random_range(0..4) {
        0 => format!("{sign}{whole}"),
        1 => format!("{sign}0.{}", digits(random, 40)),
        2 => format!("{sign}{whole}.{}e-{}", digits(random, 40), random.random_range(0..200)),
        _ => format!("{sign}{}.{}E+0{}", random.random_range(0..10), digits(random, 30), random.random_range(0..200)),
    }
}

fn object(random: &mut SmallRng, depth: usize) -> String {
    let member = |number: usize, random: &mut SmallRng| {
        let key = format!("{}{number}", text(random));
        format!("{}{}{}:{}{}", space(random), quoted(random, &key), space(random), space(random), value(random, depth))
    };
    let members: Vec<String> = (0..random.random_range(0..5)).map(|number| member(number, random)).collect();
    format!("{{{}{}}}", members.join(","), space(random))
}

fn list(random: &mut SmallRng, depth: usize) -> String {
    let values: Vec<String> = (0..random.random_range(0..5)).map(|_| format!("{}{}", space(random), value(random, depth))).collect();
    format!("[{}{}]", values.join(","), space(random))
}

fn value(random: &mut SmallRng, depth: usize) -> String {
    match random.random_range(0..if depth == 0 { 4 } else { 6 }) {
        0 | 1 => number(random),
        2 => {
            let text = text(random);
            quoted(random, &text)
        }
        3 => (*["true", "false", "null"].choose(random).expect("there are three")).to_owned(),
        4 => object(random, depth - 1),
        _ => list(random, depth - 1),
    }
}
