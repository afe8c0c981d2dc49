//! What the load sends: every request is a function of the seed and its number, so a repeat needs no memory.
//!
//! One request in ten is an earlier one again: one of the last few, which may still be under way, or any one of the run. The events of one
//! request in five have no id, so that all their fields say what is a repeat.

use std::{fmt, fmt::Write as _, str::FromStr};

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Requests that are earlier ones again, of a hundred: at once, and any time later.
const AT_ONCE_PERCENT: u32 = 5;
const LATER_PERCENT: u32 = 5;
/// How far back "at once" reaches.
const AT_ONCE_REACH: u64 = 8;
/// The mean number of events of a request, from the shares in [`Shape::draw`].
const EVENTS_PER_REQUEST: f64 = 0.2 * 42.0 + 0.8;
const NAMES: [&str; 5] = ["product_view", "add_to_cart", "purchase", "search", "page_view"];
const HOUR_MS: i64 = 3_600_000;

/// Which event: its metadata say it as a number, and its id, if it has one, as `e<request>.<index>`, or `f<number>` when it did not come
/// through the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EventKey(u64);

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Through the door.
    Request { origin: u64, index: u32 },
    /// Past it.
    Foreign { number: u64 },
}

impl EventKey {
    const FOREIGN: u64 = 1 << 62;
    const INDEX_BITS: u32 = 10;

    /// The event at `index` of a request.
    pub(crate) const fn new(request: u64, index: u32) -> Self {
        Self(request << Self::INDEX_BITS | index as u64)
    }

    /// An event that was published past the door.
    pub(crate) const fn foreign(number: u64) -> Self {
        Self(Self::FOREIGN | number)
    }

    /// Where it came from.
    pub(crate) const fn source(self) -> Source {
        match self.0 & Self::FOREIGN {
            0 => Source::Request { origin: self.0 >> Self::INDEX_BITS, index: (self.0 & ((1 << Self::INDEX_BITS) - 1)) as u32 },
            _ => Source::Foreign { number: self.0 & !Self::FOREIGN },
        }
    }

    /// What its metadata hold under `n`.
    pub(crate) const fn counter(self) -> u64 {
        self.0
    }

    /// The event with this metadata; none when there is no number in them.
    pub(crate) fn of_metadata(metadata: &str) -> Option<Self> {
        metadata.trim_matches(|character: char| !character.is_ascii_digit()).parse().ok().map(Self)
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            Source::Request { origin, index } => write!(f, "e{origin}.{index}"),
            Source::Foreign { number } => write!(f, "f{number}"),
        }
    }
}

impl FromStr for EventKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is no event of this run");
        let key = match text.split_at_checked(1).ok_or_else(unknown)? {
            ("e", rest) => rest.split_once('.').and_then(|(request, index)| Some(Self::new(request.parse().ok()?, index.parse().ok()?))),
            ("f", rest) => rest.parse().ok().map(Self::foreign),
            _ => None,
        };
        key.filter(|key| key.to_string() == text).ok_or_else(unknown)
    }
}

/// How a request comes to the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Bulk,
    Event,
    PageView,
}

impl Route {
    /// Where it is posted.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Bulk => "/events/bulk",
            Self::Event => "/events",
            Self::PageView => "/event",
        }
    }
}

/// One request; its content is that of `origin`, which is an earlier request when this one repeats it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) origin: u64,
    pub(crate) route: Route,
    pub(crate) events: u32,
    /// Whether its events have ids of their own.
    pub(crate) has_ids: bool,
}

/// All requests of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    seed: u64,
    started_ms: i64,
    interval_us: u64,
}

impl Requests {
    /// For so many events in a second, the first of them at `started_ms` since 1970.
    pub(crate) fn new(seed: u64, started_ms: i64, events_per_second: u32) -> Self {
        let interval_us = EVENTS_PER_REQUEST * 1e6 / f64::from(events_per_second);
        Self { seed, started_ms, interval_us: interval_us as u64 }
    }

    /// When a request is due, in microseconds after the start.
    pub(crate) const fn due_us(&self, number: u64) -> u64 {
        number * self.interval_us
    }

    pub(crate) fn request(&self, number: u64) -> Request {
        let origin = self.origin(number);
        let Shape { route, events, has_ids } = Shape::draw(&mut self.random(origin));
        Request { number, origin, route, events, has_ids }
    }

    /// The JSON to send.
    pub(crate) fn body(&self, request: &Request) -> String {
        let mut random = self.random(request.origin);
        // The same draw as in `request`.
        Shape::draw(&mut random);
        let mut event = |index| self.event(EventKey::new(request.origin, index), request, &mut random);
        if request.route != Route::Bulk {
            return event(0);
        }
        let mut body = String::from(r#"{"events":["#);
        for index in 0..request.events {
            let separator = if index > 0 { "," } else { "" };
            write!(body, "{separator}{}", event(index)).expect("a text takes any length");
        }
        body + "]}"
    }

    fn event(&self, key: EventKey, request: &Request, random: &mut SmallRng) -> String {
        let id = if request.has_ids { format!(r#""event_id":"{key}","#) } else { String::new() };
        let (counter, user) = (key.counter(), random.random_range(0..1000));
        let timestamp = self.timestamp_ms(request.origin, random);
        if request.route == Route::PageView {
            let timestamp = if random.random() { format!(r#","timestamp":{timestamp}"#) } else { String::new() };
            return format!(
                r#"{{{id}"event_type":"page_view","site_id":"chaos","path":"/{user}","user_id":"u{user}","metadata":{{"n":{counter}}}{timestamp}}}"#
            );
        }
        let name = NAMES[random.random_range(0..NAMES.len())];
        format!(r#"{{{id}"event_name":"{name}","user_id":"u{user}","timestamp":{timestamp},"channel":"web","metadata":{{"n":{counter}}}}}"#)
    }

    /// Mostly now; some hours late, a few some days late.
    fn timestamp_ms(&self, origin: u64, random: &mut SmallRng) -> i64 {
        let due_ms = i64::try_from(self.due_us(origin) / 1000).expect("a run is shorter than 2^63 ms");
        let late_ms = match random.random_range(0..100) {
            0..85 => 0,
            85..95 => random.random_range(0..6 * HOUR_MS),
            _ => random.random_range(0..72 * HOUR_MS),
        };
        self.started_ms + due_ms - late_ms
    }

    fn origin(&self, number: u64) -> u64 {
        let mut random = self.random(!number);
        match random.random_range(0..100) {
            draw if number > 0 && draw < AT_ONCE_PERCENT => self.origin(number - random.random_range(1..=AT_ONCE_REACH.min(number))),
            draw if number > 0 && draw < AT_ONCE_PERCENT + LATER_PERCENT => self.origin(random.random_range(0..number)),
            _ => number,
        }
    }

    fn random(&self, salt: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

struct Shape {
    route: Route,
    events: u32,
    has_ids: bool,
}

impl Shape {
    fn draw(random: &mut SmallRng) -> Self {
        let has_ids = random.random_bool(0.8);
        let (route, events) = match random.random_range(0..100) {
            0..20 => (Route::Bulk, random.random_range(20..=64)),
            20..80 => (Route::Event, 1),
            _ => (Route::PageView, 1),
        };
        Self { route, events, has_ids }
    }
}

#[test]
fn an_event_is_found_again_by_its_id() {
    for key in [EventKey::new(0, 0), EventKey::new(123_456, 63), EventKey::foreign(7)] {
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(EventKey::of_metadata(&format!(r#"{{"n":{}}}"#, key.counter())), Some(key));
    }
    assert!("e1".parse::<EventKey>().is_err() && "x1.1".parse::<EventKey>().is_err() && "e01.1".parse::<EventKey>().is_err());
}

#[test]
fn a_repeat_is_its_origin_byte_for_byte() {
    let requests = Requests::new(1, 1_795_000_000_000, 5000);
    let all: Vec<Request> = (0..20_000).map(|number| requests.request(number)).collect();
    let repeats: Vec<&Request> = all.iter().filter(|request| request.origin != request.number).collect();
    assert!((1800..2200).contains(&repeats.len()), "one in ten: {}", repeats.len());
    for repeat in repeats {
        let origin = requests.request(repeat.origin);
        assert_eq!(origin.origin, origin.number, "an origin repeats nothing");
        assert_eq!(requests.body(repeat), requests.body(&origin));
    }
    let events: u32 = all.iter().map(|request| request.events).sum();
    let rate = f64::from(events) / (requests.due_us(20_000) as f64 / 1e6);
    assert!((4500.0..5500.0).contains(&rate), "{rate} events in a second");
}
