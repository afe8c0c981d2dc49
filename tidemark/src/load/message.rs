//! The requests of one connection: bytes that are prepared before the run, with places for what differs from one to the next.
//!
//! Request `n` of a connection has the same bytes whenever it may be sent again, so a repeat is the same number again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Map, Value, json};
use service::clock::Clock;
use uuid::Builder;

use super::{connection::Target, ledger::REPEATED_AMONG};
use crate::demo::generator::Generator;

/// Microseconds since 1970 have so many digits until the year 2286.
const TIME_DIGITS: usize = 16;
const NUMBER_DIGITS: usize = 12;
const UUID_LENGTH: usize = 36;
/// The events of a generator lie in so long.
const DAY: Duration = Duration::from_hours(24);

/// What events look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Body {
    /// One event, about 200 bytes; only its id and its time differ.
    Constant,
    /// Events like those of `tidemark demo`, about 300 bytes, of the 24 hours before the run, or as `--span` says.
    Realistic,
}

/// The ids of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Ids {
    /// A counter after the name of the run.
    Numbered,
    /// Random ones, which no table can compress.
    Uuid,
    /// No `event_id`: the server derives one, and the time of each event is its own.
    None,
    /// The same id and time in every request, as hey and wrk send them: one event, however often it comes.
    Same,
}

/// What all connections have in common.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The name of the run, which is the `site_id` of its events.
    pub(super) run: String,
    /// When it was prepared; without a span no event is much younger.
    pub(super) began: DateTime<Utc>,
    pub(super) body: Body,
    pub(super) ids: Ids,
    /// Events in a request; 1 sends it without a list around it.
    pub(super) batch: u64,
    pub(super) connections: u64,
    /// Of the realistic events.
    pub(super) seed: u64,
    /// How many different realistic events all connections have together, at least one request each.
    pub(super) variety: u64,
    /// How long before they are sent events happen at most; without it, in the 24 hours before the run.
    pub(super) span: Option<Duration>,
    /// Whether requests are sent again.
    pub(super) has_repeats: bool,
}

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Messages {
    plan: Plan,
    connection: u64,
    prepared: Vec<Prepared>,
    live: Option<Live>,
}

/// The times of events that happen while they are sent. A repeat has those of the first time.
#[derive(Debug)]
struct Live {
    clock: Clock,
    /// What a day becomes.
    scale: f64,
    /// Of each request that may be sent again, its number and when it was sent, in microseconds since 1970; empty when none is.
    sent_us: Vec<(u64, u64)>,
}

impl Live {
    fn over(span: Duration, has_repeats: bool) -> Self {
        let never = (u64::MAX, 0);
        let sent_us = if has_repeats { vec![never; REPEATED_AMONG as usize] } else { Vec::new() };
        Self { clock: Clock::system(), scale: span.as_secs_f64() / DAY.as_secs_f64(), sent_us }
    }

    /// When a request was sent first.
    fn sent_us(&mut self, number: u64) -> u64 {
        let now_us = self.clock.now().timestamp_micros().unsigned_abs();
        let Some(sent) = self.sent_us.get_mut((number % REPEATED_AMONG) as usize) else { return now_us };
        if sent.0 != number {
            *sent = (number, now_us);
        }
        sent.1
    }
}

/// A request with places for what changes.
#[derive(Debug)]
struct Prepared {
    bytes: Vec<u8>,
    events: Vec<Places>,
}

/// Where an event has its time and its id.
#[derive(Clone, Copy, Debug)]
struct Places {
    time_at: usize,
    id_at: Option<usize>,
    /// The time of the first event that is made from this one.
    first_us: u64,
}

impl Plan {
    /// # Errors
    /// A span for events that would not be different by it, or longer than the generator's day.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Some(span) = self.span else { return Ok(()) };
        anyhow::ensure!(span <= DAY, "`--span` is at most 24h");
        anyhow::ensure!(
            self.body == Body::Realistic && self.ids != Ids::Same,
            "`--span` is for `--body realistic` and any `--ids` but `same`: other events differ by their times alone, or not at all"
        );
        Ok(())
    }

    /// Where requests go when the address has no path.
    pub(super) const fn path(&self) -> &'static str {
        if self.batch == 1 { "/events" } else { "/events/bulk" }
    }

    fn id_length(&self) -> Option<usize> {
        match self.ids {
            Ids::Numbered | Ids::Same => Some(self.run.len() + 1 + NUMBER_DIGITS),
            Ids::Uuid => Some(UUID_LENGTH),
            Ids::None => None,
        }
    }

    /// Writes an id of [`id_length`](Self::id_length) bytes.
    fn write_id(&self, number: u64, place: &mut [u8]) {
        if self.ids == Ids::Uuid {
            let bytes = SmallRng::seed_from_u64(number ^ self.began.timestamp_micros().unsigned_abs().rotate_left(40)).random();
            Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(place);
            return;
        }
        let (name, digits) = place.split_at_mut(self.run.len());
        name.copy_from_slice(self.run.as_bytes());
        digits[0] = b'-';
        write_digits(number, &mut digits[1..]);
    }

    /// The event `number` without its time and id, and its time.
    fn event(&self, generator: &Generator, number: u64) -> (Map<String, Value>, u64) {
        let mut event = match self.body {
            Body::Realistic => generator.batch(number, 1).pop().expect("it makes events without end"),
            Body::Constant => json!({
                "event_name": "load", "user_id": "user_1", "channel": "web", "path": "/load", "tags": ["load"],
                "timestamp": self.began.timestamp_millis(), "metadata": {"product_id": "prod-1", "price": 19.9},
            }),
        };
        event["site_id"] = json!(self.run);
        let Value::Object(mut event) = event else { unreachable!("an event is an object") };
        let time = event.remove("timestamp").and_then(|time| time.as_u64()).unwrap_or_default() * 1000;
        event.remove("event_id");
        (event, time)
    }
}

impl Messages {
    /// Prepares those of a connection, numbered from 0.
    pub(super) fn prepare(plan: &Plan, connection: u64, target: &Target) -> Self {
        let generator = Generator::new(plan.seed, u64::MAX, plan.began);
        let count = match plan.body {
            Body::Constant => 1,
            Body::Realistic => plan.variety.div_ceil(plan.batch * plan.connections).max(1),
        };
        let prepared = (0..count).map(|number| {
            let first = (connection * count + number) * plan.batch;
            let events = (first..first + plan.batch).map(|number| plan.event(&generator, number));
            Prepared::new(plan, target, events)
        });
        Self {
            plan: plan.clone(),
            connection,
            prepared: prepared.collect(),
            live: plan.span.map(|span| Live::over(span, plan.has_repeats)),
        }
    }

    /// Request `number` of this connection.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder is less than the length of a list, an age less than a day")]
    pub(super) fn request(&mut self, number: u64) -> &[u8] {
        let number = if self.plan.ids == Ids::Same { 0 } else { number };
        let count = self.prepared.len() as u64;
        let Prepared { bytes, events } = &mut self.prepared[(number % count) as usize];
        let first = (number * self.plan.connections + self.connection) * self.plan.batch;
        let began_us = self.plan.began.timestamp_micros().unsigned_abs();
        let live = self.live.as_mut().map(|live| (live.sent_us(number), live.scale));
        for (event, Places { time_at, id_at, first_us }) in (first..).zip(&*events) {
            let (event, later) = match (self.plan.ids, self.plan.body) {
                (Ids::Same, _) => (0, 0),
                (_, Body::Constant) => (event, event),
                (_, Body::Realistic) => (event, number / count),
            };
            let time_us = match live {
                Some((sent_us, scale)) => sent_us - (began_us.saturating_sub(*first_us) as f64 * scale) as u64,
                None => first_us + later,
            };
            write_digits(time_us, &mut bytes[*time_at..][..TIME_DIGITS]);
            if let Some((at, length)) = id_at.zip(self.plan.id_length()) {
                self.plan.write_id(event, &mut bytes[at..][..length]);
            }
        }
        bytes
    }
}

impl Prepared {
    fn new(plan: &Plan, target: &Target, events: impl Iterator<Item = (Map<String, Value>, u64)>) -> Self {
        let (mut body, mut places) = (Vec::new(), Vec::new());
        for (event, first_us) in events {
            if !places.is_empty() {
                body.push(b',');
            }
            body.extend(br#"{"timestamp":"#);
            let time_at = body.len();
            body.extend([b'0'; TIME_DIGITS]);
            let id_at = plan.id_length().map(|length| {
                body.extend(br#","event_id":""#);
                let at = body.len();
                body.resize(at + length, b'0');
                body.push(b'"');
                at
            });
            body.push(b',');
            body.extend(&Value::Object(event).to_string().as_bytes()[1..]);
            places.push(Places { time_at, id_at, first_us });
        }
        let (before, after) = if plan.batch == 1 { (&b""[..], &b""[..]) } else { (&b"{\"events\":["[..], &b"]}"[..]) };
        let length = before.len() + body.len() + after.len();
        let head = [&target.head, format!("content-length: {length}\r\n\r\n").as_bytes(), before].concat();
        for Places { time_at, id_at, .. } in &mut places {
            *time_at += head.len();
            *id_at = id_at.map(|at| at + head.len());
        }
        Self { bytes: [&head, &body, after].concat(), events: places }
    }
}

/// Writes a number with zeros before it; of one that is too long, the last digits.
fn write_digits(mut number: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::HeaderMap;

    use super::*;

    async fn messages(body: Body, ids: Ids, batch: u64, connection: u64) -> Messages {
        messages_over(None, body, ids, batch, connection).await
    }

    async fn messages_over(span: Option<Duration>, body: Body, ids: Ids, batch: u64, connection: u64) -> Messages {
        let began = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let plan = Plan { run: "load-7".into(), began, body, ids, batch, connections: 2, seed: 1, variety: 500, span, has_repeats: true };
        let target = Target::find("http://127.0.0.1:80", plan.path(), &HeaderMap::new()).await.unwrap();
        Messages::prepare(&plan, connection, &target)
    }

    /// The events of a request, which must be as long as its head says.
    fn events(request: &[u8]) -> Vec<Value> {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        let is_bulk = body.get("events").is_some();
        assert!(head.starts_with(if is_bulk { "POST /events/bulk HTTP/1.1\r\n" } else { "POST /events HTTP/1.1\r\n" }), "{head}");
        if is_bulk { body["events"].as_array().unwrap().clone() } else { vec![body] }
    }

    #[tokio::test]
    async fn every_event_of_a_run_is_another_one_and_a_repeat_is_the_same() {
        for (body, ids, batch) in [
            (Body::Constant, Ids::Numbered, 1),
            (Body::Constant, Ids::None, 1),
            (Body::Constant, Ids::Uuid, 7),
            (Body::Realistic, Ids::Numbered, 100),
            (Body::Realistic, Ids::Uuid, 1),
            (Body::Realistic, Ids::None, 3),
        ] {
            let (mut all, mut ids_seen) = (HashSet::new(), HashSet::new());
            for connection in 0..2 {
                let mut messages = messages(body, ids, batch, connection).await;
                for number in 0..600 {
                    let request = messages.request(number).to_vec();
                    let events = events(&request);
                    assert_eq!(events.len() as u64, batch);
                    assert!(events.iter().all(|event| event["site_id"] == "load-7"));
                    ids_seen.extend(events.iter().filter_map(|event| Some(event["event_id"].as_str()?.to_owned())));
                    all.extend(events.iter().map(Value::to_string));
                    messages.request(number + 1);
                    assert_eq!(messages.request(number), request, "a repeat");
                }
            }
            assert_eq!(all.len() as u64, 1_200 * batch, "{body:?} {ids:?}");
            assert_eq!(ids_seen.len(), if ids == Ids::None { 0 } else { all.len() }, "{body:?} {ids:?}");
        }
    }

    #[tokio::test]
    async fn the_same_id_is_the_same_request_on_every_connection() {
        let first = messages(Body::Constant, Ids::Same, 1, 0).await.request(0).to_vec();
        assert_eq!(messages(Body::Constant, Ids::Same, 1, 1).await.request(77), first);
        assert_eq!(events(&first)[0]["event_id"], "load-7-000000000000");
    }

    #[tokio::test]
    async fn times_are_of_the_last_day_and_in_microseconds() {
        let mut messages = messages(Body::Realistic, Ids::None, 1, 0).await;
        for number in 0..1_000 {
            let time = events(messages.request(number))[0]["timestamp"].as_u64().unwrap();
            assert!((1_794_913_600_000_000..=1_795_000_001_000_000).contains(&time), "{time}");
        }
    }

    #[tokio::test]
    async fn with_a_span_times_are_just_before_now_and_a_repeat_has_those_of_the_first_time() {
        let span = Duration::from_mins(5);
        let mut messages = messages_over(Some(span), Body::Realistic, Ids::None, 2, 0).await;
        let now_us = || Clock::system().now().timestamp_micros().unsigned_abs();
        let (began_us, mut ages, mut first) = (now_us(), Vec::new(), Vec::new());
        for number in 0..2 * REPEATED_AMONG {
            let request = messages.request(number).to_vec();
            for event in events(&request) {
                let time = event["timestamp"].as_u64().unwrap();
                assert!((began_us - 300_000_000..=now_us()).contains(&time), "{time}");
                ages.push(now_us() - time);
            }
            assert_eq!(messages.request(number), request, "a repeat");
            first.push(request);
            let oldest = number.saturating_sub(REPEATED_AMONG - 1);
            assert!(messages.request(oldest) == first[usize::try_from(oldest).unwrap()], "the oldest that may be repeated");
        }
        ages.sort_unstable();
        let minutes = |age: u64| age / 60_000_000;
        assert_eq!((minutes(ages[ages.len() / 100]), minutes(ages[ages.len() / 100 * 99])), (0, 4), "they fill the span");
    }
}
