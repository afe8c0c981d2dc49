//! The look at the counts during a run: every 50 ms one question, and what a true answer can be after those before it.
//!
//! Two series are kept apart. A fresh answer has the rows that are not committed yet; one that is not fresh says so and is exactly the
//! committed table. In each series neither the cut nor the count ever goes back, and whenever one cut contains another, in any
//! series, its count is not lower and no event that was seen there is missing. No count is higher than what was sent.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::pause;

use super::{ledger::Ledger, requests::EventKey};

const EVERY: Duration = Duration::from_millis(50);
/// Of the answers in calm times so many in a hundred are fresh.
const FRESH_PERCENT: u64 = 80;
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_secs(15);
/// So many events are remembered and asked for, one more each time.
const MOST_WATCHED: usize = 60;
/// Of so many questions one asks for single events.
const ASK_FOR_EVENTS: u64 = 10;

const EVENTS: &str = "events by id";
const METRICS: &str = "counts of /metrics";
const SQL: &str = "counts of SQL";

/// What is asked when.
fn kind(turn: u64) -> &'static str {
    match turn {
        _ if turn.is_multiple_of(ASK_FOR_EVENTS) => EVENTS,
        _ if turn.is_multiple_of(2) => METRICS,
        _ => SQL,
    }
}

/// Shard -> sequence up to which an answer has everything.
type AsOf = BTreeMap<u16, u64>;

/// A count, and the cut that it was counted in.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counted {
    as_of: AsOf,
    is_fresh: bool,
    count: u64,
}

/// What was seen so far, and what of it cannot be.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// The last answer of each series; `true` is the fresh one.
    last: BTreeMap<bool, Counted>,
    /// Events that were seen, with the first cut that had them.
    events: BTreeMap<EventKey, AsOf>,
    pub(crate) answers: u64,
    pub(crate) fresh_answers: u64,
    /// Answers while nothing was broken, and how many of them were fresh.
    pub(crate) calm: (u64, u64),
    pub(crate) unanswered: u64,
    /// How long each question took, by its kind.
    pub(crate) took: BTreeMap<&'static str, Vec<Duration>>,
    pub(crate) complaints: Vec<String>,
}

impl Sightings {
    /// Judges a count; `sent` different events had been sent when it was known.
    fn counted(&mut self, now: Counted, sent: u64) {
        self.answers += 1;
        self.fresh_answers += u64::from(now.is_fresh);
        if now.count > sent {
            self.complain(format!("{now:?} overshoots: {sent} events were sent"));
        }
        if let Some(last) = self.last.get(&now.is_fresh)
            && !contains(&now.as_of, &last.as_of)
        {
            self.complain(format!("{now:?} goes back behind {last:?}"));
        }
        let contained = self.last.values().filter(|last| contains(&now.as_of, &last.as_of));
        if let Some(last) = contained.max_by_key(|last| last.count).filter(|last| last.count > now.count) {
            self.complain(format!("{now:?} dips below {last:?}"));
        }
        self.last.insert(now.is_fresh, now);
    }

    /// Judges which of the watched events and `candidate` an answer has.
    fn found(&mut self, as_of: &AsOf, found: &HashSet<EventKey>, candidate: EventKey) {
        let gone = |(key, seen): &(&EventKey, &AsOf)| contains(as_of, seen) && !found.contains(*key);
        let gone: Vec<String> = self.events.iter().filter(gone).map(|(key, seen)| format!("{key}, seen at {seen:?}")).collect();
        gone.into_iter().for_each(|gone| self.complain(format!("{gone}, has disappeared at {as_of:?}")));
        if found.contains(&candidate) && self.events.len() < MOST_WATCHED {
            self.events.entry(candidate).or_insert_with(|| as_of.clone());
        }
    }

    /// Judges whether calm times were as fresh as they must be.
    fn judge_freshness(&mut self) {
        let (answers, fresh) = self.calm;
        if answers == 0 || fresh * 100 < answers * FRESH_PERCENT {
            self.complain(format!("{fresh} of {answers} answers in calm times were fresh"));
        }
    }

    fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }
}

/// Whether `this` has everything that `other` has.
fn contains(this: &AsOf, other: &AsOf) -> bool {
    other.iter().all(|(shard, sequence)| this.get(shard).copied().unwrap_or_default() >= *sequence)
}

/// Asks a query server.
pub(crate) struct Watcher<'a> {
    pub(crate) client: &'a reqwest::Client,
    pub(crate) url: &'a str,
    pub(crate) ledger: &'a Ledger,
}

impl Watcher<'_> {
    /// Looks until `is_over`; then everything that was acknowledged must be there at once. Tells how often it was answered in calm times.
    pub(crate) async fn run(&self, is_calm: impl Fn() -> bool, is_over: impl Fn() -> bool, calm_answers: &Cell<u64>) -> Sightings {
        let mut sightings = Sightings::default();
        for turn in 0_u64.. {
            if is_over() {
                break;
            }
            let (was_calm, answers, fresh) = (is_calm(), sightings.answers, sightings.fresh_answers);
            let asked = Instant::now();
            let timed = async { (self.ask(turn, &mut sightings).await.is_some(), asked.elapsed()) };
            let ((is_answered, took), ()) = futures::join!(timed, pause(EVERY));
            sightings.unanswered += u64::from(!is_answered);
            sightings.took.entry(kind(turn)).or_default().push(took);
            if was_calm && is_calm() {
                sightings.calm.0 += sightings.answers - answers;
                sightings.calm.1 += sightings.fresh_answers - fresh;
                calm_answers.set(sightings.calm.0);
            }
        }
        sightings.judge_freshness();
        if let Err(complaint) = self.last_word().await {
            sightings.complain(complaint);
        }
        sightings
    }

    /// With nothing broken and nothing under way, the position of the last 2xx is in a fresh answer.
    async fn last_word(&self) -> Result<(), String> {
        let positions = self.ledger.latest_positions().ok_or("nothing was acknowledged in the whole run")?;
        let url = format!("{}/metrics?from=0&to=4000000000&uniques=approx&at_least={positions}", self.url);
        let answer = self.client.get(url).timeout(LAST_WORD).send().await.map_err(|error| format!("no last word: {error}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("no last word: {error}"))?;
        let is_fresh = serde_json::from_str::<Value>(&text).is_ok_and(|answer| answer["fresh"] == true);
        if status == 200 && is_fresh { Ok(()) } else { Err(format!("at the quiet end, at_least={positions}: {status} {text}")) }
    }

    async fn ask(&self, turn: u64, sightings: &mut Sightings) -> Option<()> {
        match kind(turn) {
            EVENTS => self.look_for_events(sightings).await,
            METRICS => self.count_by_metrics(sightings).await,
            _ => self.count_by_sql(sightings).await,
        }
    }

    async fn count_by_metrics(&self, sightings: &mut Sightings) -> Option<()> {
        let url = format!("{}/metrics?from=0&to=4000000000&uniques=approx", self.url);
        let answer: Value = self.client.get(url).send().await.ok()?.error_for_status().ok()?.json().await.ok()?;
        let as_of = answer["as_of"].as_object()?.iter().map(|(shard, sequence)| Some((shard.parse().ok()?, sequence.as_u64()?)));
        let counted =
            Counted { as_of: as_of.collect::<Option<_>>()?, is_fresh: answer["fresh"].as_bool()?, count: answer["total_events"].as_u64()? };
        sightings.counted(counted, self.ledger.counts().events);
        Some(())
    }

    async fn count_by_sql(&self, sightings: &mut Sightings) -> Option<()> {
        let (as_of, is_fresh, lines) = self.sql("SELECT count(*) FROM events").await?;
        let count = lines.lines().nth(1)?.parse().ok()?;
        sightings.counted(Counted { as_of, is_fresh, count }, self.ledger.counts().events);
        Some(())
    }

    async fn look_for_events(&self, sightings: &mut Sightings) -> Option<()> {
        let Some(candidate) = self.ledger.latest_acknowledged() else { return Some(()) };
        let ids: Vec<String> = sightings.events.keys().chain([&candidate]).map(|key| format!("'{key}'")).collect();
        let (as_of, _, lines) = self.sql(&format!("SELECT event_id FROM events WHERE event_id IN ({})", ids.join(","))).await?;
        let found = lines.lines().skip(1).map(|id| id.parse().ok()).collect::<Option<HashSet<EventKey>>>()?;
        sightings.found(&as_of, &found, candidate);
        Some(())
    }

    async fn sql(&self, statement: &str) -> Option<(AsOf, bool, String)> {
        let request = self.client.post(format!("{}/sql?format=csv", self.url)).body(statement.to_owned());
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        let pairs = header("tidemark-as-of")?;
        let pair = |text: &str| text.split_once(':').and_then(|(shard, sequence)| Some((shard.parse().ok()?, sequence.parse().ok()?)));
        let as_of = pairs.split(',').filter(|text| !text.is_empty()).map(pair).collect::<Option<_>>()?;
        let is_fresh = header("tidemark-fresh")? == "true";
        Some((as_of, is_fresh, answer.text().await.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(sequence: u64, is_fresh: bool, count: u64) -> Counted {
        Counted { as_of: [(0, sequence)].into(), is_fresh, count }
    }

    fn complaints(answers: &[Counted]) -> Vec<String> {
        let mut sightings = Sightings::default();
        answers.iter().for_each(|answer| sightings.counted(answer.clone(), 100));
        sightings.complaints
    }

    #[test]
    fn counts_that_rise_are_true() {
        assert!(complaints(&[counted(1, false, 10), counted(3, true, 12), counted(2, false, 11), counted(3, true, 12)]).is_empty());
    }

    #[test]
    fn a_dip_is_seen() {
        assert!(complaints(&[counted(1, true, 10), counted(2, true, 9)])[0].contains("dips"));
        assert!(complaints(&[counted(1, false, 10), counted(2, true, 9)])[0].contains("dips"), "also from one series to the other");
    }

    #[test]
    fn calm_times_that_are_not_fresh_are_seen() {
        let complaints = |calm| {
            let mut sightings = Sightings { calm, ..Sightings::default() };
            sightings.judge_freshness();
            sightings.complaints.len()
        };
        assert_eq!((complaints((10, 8)), complaints((10, 7)), complaints((0, 0))), (0, 1, 1));
    }

    #[test]
    fn a_cut_that_goes_back_is_seen() {
        assert!(complaints(&[counted(2, true, 10), counted(1, true, 9)])[0].contains("goes back"));
    }

    #[test]
    fn more_than_was_sent_is_seen() {
        assert!(complaints(&[counted(1, true, 101)])[0].contains("overshoots"));
    }

    #[test]
    fn an_event_that_disappears_is_seen() {
        let (mut sightings, key) = (Sightings::default(), EventKey::new(1, 0));
        sightings.found(&[(0, 5)].into(), &HashSet::from([key]), key);
        sightings.found(&[(0, 4)].into(), &HashSet::new(), key);
        assert!(sightings.complaints.is_empty(), "an older cut need not have it");
        sightings.found(&[(0, 6)].into(), &HashSet::new(), key);
        assert!(sightings.complaints[0].contains("e1.0") && sightings.complaints[0].contains("disappeared"));
    }
}
