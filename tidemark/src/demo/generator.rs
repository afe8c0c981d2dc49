//! Realistic events from a seed: zipf-distributed names, paths and users over a day with a busy evening.
//!
//! Event `n` of a seed is always the same, whoever makes it and in whatever order.

use chrono::{DateTime, Utc};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use rand_distr::{Distribution, Zipf};
use serde_json::{Map, Value, json};

const DAY_S: f64 = 86_400.0;
const NAMES: [&str; 20] = [
    "page_view",
    "product_view",
    "search",
    "add_to_cart",
    "click",
    "scroll",
    "login",
    "checkout_start",
    "purchase",
    "signup",
    "logout",
    "remove_from_cart",
    "wishlist_add",
    "share",
    "review",
    "coupon_apply",
    "video_play",
    "download",
    "refund",
    "error",
];
const CHANNELS: [&str; 5] = ["web", "mobile_app", "email", "partner", "api"];
const CAMPAIGNS: [&str; 4] = ["cmp_spring", "cmp_retarget", "cmp_brand", "cmp_newsletter"];
const TAGS: [&str; 6] = ["electronics", "homepage", "flash_sale", "new", "returning", "beta"];
const CURRENCIES: [&str; 3] = ["EUR", "USD", "TRY"];
const USERS: f64 = 1_000_000.0;
const PATHS: f64 = 1_000.0;

/// The events of one run.
pub(crate) struct Generator {
    seed: u64,
    events: u64,
    start: DateTime<Utc>,
    names: Zipf<f64>,
    paths: Zipf<f64>,
    users: Zipf<f64>,
}

impl Generator {
    /// `events` events of the 24 hours before `end`.
    pub(crate) fn new(seed: u64, events: u64, end: DateTime<Utc>) -> Self {
        let zipf = |items: f64, exponent: f64| Zipf::new(items, exponent).expect("the parameters are positive");
        let start = end - chrono::TimeDelta::days(1);
        Self { seed, events, start, names: zipf(NAMES.len() as f64, 1.1), paths: zipf(PATHS, 1.0), users: zipf(USERS, 0.8) }
    }

    /// The events `first..first + count`, as many of them as there are.
    pub(crate) fn batch(&self, first: u64, count: u64) -> Vec<Value> {
        (first..(first + count).min(self.events)).map(|number| self.event(number)).collect()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "zipf draws are small, positive and whole")]
    fn event(&self, number: u64) -> Value {
        let mut random = SmallRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let name = NAMES[self.names.sample(&mut random) as usize - 1];
        let tags = TAGS.choose_multiple(&mut random, 2).collect::<Vec<_>>();
        let campaign = random.random_bool(0.3).then(|| CAMPAIGNS.choose(&mut random)).flatten();
        json!({
            "event_id": format!("demo-{}-{}-{number}", self.seed, self.start.timestamp()),
            "event_name": name,
            "user_id": format!("user_{}", self.users.sample(&mut random) as u64),
            "timestamp": (self.start + offset(&mut random)).timestamp_millis(),
            "channel": CHANNELS.choose(&mut random),
            "campaign_id": campaign,
            "site_id": "demo-shop",
            "path": format!("/products/{}", self.paths.sample(&mut random) as u64),
            "tags": tags,
            "metadata": metadata(&mut random),
        })
    }
}

/// A moment of the day: half of the events are even, half gather around its last third.
fn offset(random: &mut SmallRng) -> chrono::TimeDelta {
    let even = random.random_range(0.0..DAY_S);
    let evening = (0..4).map(|_| random.random_range(0.0..DAY_S / 4.0)).sum::<f64>() * 0.66 + DAY_S / 3.0;
    let seconds = if random.random_bool(0.5) { even } else { evening };
    #[expect(clippy::cast_possible_truncation, reason = "a day has 86.4 million milliseconds")]
    chrono::TimeDelta::milliseconds((seconds * 1000.0) as i64)
}

/// Two to four keys.
fn metadata(random: &mut SmallRng) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("product_id".into(), json!(format!("prod-{}", random.random_range(1..5000))));
    metadata.insert("price".into(), json!(f64::from(random.random_range(100..100_000)) / 100.0));
    if random.random_bool(0.7) {
        metadata.insert("currency".into(), json!(CURRENCIES.choose(random)));
    }
    if random.random_bool(0.5) {
        metadata.insert("referrer".into(), json!({"source": "search", "position": random.random_range(1..20)}));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_events_in_any_order_and_all_within_its_day() {
        let end = DateTime::from_timestamp(1_763_717_400, 0).unwrap();
        let generator = Generator::new(7, 1000, end);
        let all = generator.batch(0, 5000);
        assert_eq!(all.len(), 1000);
        assert_eq!(Generator::new(7, 1000, end).batch(500, 10), all[500..510]);
        assert_ne!(Generator::new(8, 1000, end).batch(500, 10), all[500..510]);
        let day = end.timestamp_millis() - 86_400_000..=end.timestamp_millis();
        assert!(all.iter().all(|event| day.contains(&event["timestamp"].as_i64().unwrap())));
    }
}
