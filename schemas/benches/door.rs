//! What the door costs for each event, step by step: `cargo bench -p schemas`.
//!
//! The events are those of the speed tests: about 300 B of JSON, zipf-like names, nested metadata, from a fixed seed. Each line is the
//! best of many rounds on one core and includes the steps above it.

use std::{
    fmt::Write,
    hint::black_box,
    time::{Duration, Instant},
};

use schemas::{
    Block, BlockBuilder, Event, IdentityRule, RawEvent, Rules, Timestamp,
    raw::{Body, Dialect},
};

const EVENTS: usize = 1_000;
const ROUNDS: usize = 100;
const NOW: Timestamp = Timestamp(1_763_717_400_000_000);
const NAMES: [&str; 5] = ["page_view", "product_view", "search", "add_to_cart", "click"];
const CHANNELS: [&str; 5] = ["web", "mobile_app", "email", "partner", "api"];

/// xorshift64: seeded, and no dependency.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_of(&mut self, names: &[&'static str]) -> &'static str {
        names[self.below(names.len() as u64) as usize]
    }
}

fn event(random: &mut Random) -> String {
    let mut json = String::new();
    write!(
        json,
        r#"{{"event_name":"{}","user_id":"user_{}","timestamp":{},"channel":"{}","campaign_id":"cmp_spring","site_id":"demo-shop","path":"/products/{}","tags":["electronics","flash_sale"],"metadata":{{"product_id":"prod-{}","price":{}.{:02},"currency":"EUR","referrer":{{"source":"search","position":{}}}}}}}"#,
        random.one_of(&NAMES),
        random.below(1_000_000),
        1_763_700_000_000 + random.below(10_000_000),
        random.one_of(&CHANNELS),
        random.below(1_000),
        random.below(5_000),
        random.below(1_000),
        random.below(100),
        random.below(20),
    )
    .expect("a string takes everything");
    json
}

fn each(body: &[u8], mut take: impl FnMut(RawEvent<'_>)) {
    match Body::of_json(body, Dialect::Tidemark).expect("the generator writes JSON") {
        Body::One(event) => take(*event),
        Body::Many(events) => {
            events.for_each(usize::MAX, false, |item| take(item.expect("an array has no lines"))).expect("the generator writes JSON");
        }
    }
}

fn each_valid(body: &[u8], mut take: impl FnMut(Event<'_>)) {
    let rules = Rules::default();
    each(body, |raw| take(Event::validate(raw, &rules, NOW).expect("the generator writes valid events")));
}

fn report(what: &str, mut round: impl FnMut()) {
    let best = (0..ROUNDS).map(|_| timed(&mut round)).min().unwrap_or_default();
    let ns = best.as_nanos() as f64 / EVENTS as f64;
    println!("{what:22} {ns:>6.0} ns/event {:>9.0} events/s", 1e9 / ns);
}

fn timed(round: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    round();
    start.elapsed()
}

fn main() {
    drop(black_box(vec![1_u8; 16 << 20])); // so that the allocator keeps what later rounds free
    let mut random = Random(7);
    let events: Vec<String> = (0..EVENTS).map(|_| event(&mut random)).collect();
    let bulk = format!("[{}]", events.join(","));
    let bodies: Vec<&[u8]> = vec![bulk.as_bytes()];
    println!("bulk: {EVENTS} events in one request, {} B each", bulk.len() / EVENTS);
    steps(&bodies);
    let bodies: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
    println!("single: one event in each request");
    steps(&bodies);
}

fn steps(bodies: &[&[u8]]) {
    let rule = IdentityRule::default();
    let fill = || {
        let mut block = BlockBuilder::default();
        bodies.iter().for_each(|body| each_valid(body, |event| block.push(&event, rule.of(&event))));
        block
    };
    report("parse", || bodies.iter().for_each(|body| each(body, |raw| drop(black_box(raw)))));
    report("  and validate", || bodies.iter().for_each(|body| each_valid(body, |event| drop(black_box(event)))));
    report("  and identify", || {
        bodies.iter().for_each(|body| each_valid(body, |event| _ = black_box(rule.of(&event))));
    });
    report("  and fill columns", || drop(black_box(fill())));
    report("  and encode", || drop(black_box(fill().finish())));
    let block = fill().finish().into_bytes();
    report("decode", || drop(black_box(Block::decode(&block))));
}
