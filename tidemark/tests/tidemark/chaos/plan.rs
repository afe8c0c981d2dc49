//! What is to happen in a run, all of it drawn from the seed: where the table lies, which processes there are, and the decks of faults.
//!
//! Each deck breaks one part of the system; its faults come one after the other in a random order, with pauses, and the decks go on
//! side by side, so that faults meet. Every deck is played at least once, then again until the time is over.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use testkit::Outcome;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Decks are played again until so much time is over.
    pub(crate) length: Duration,
    pub(crate) setting: Setting,
    pub(crate) events_per_second: u32,
    /// The longest that one fault lasts.
    longest: Duration,
    /// Whether it is measured how soon everything works again after a kill: where no other fault comes in between.
    pub(crate) is_timed: bool,
    pub(crate) decks: Vec<Deck>,
}

/// Where a run takes place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// On S3 behind a proxy, else in a local folder.
    pub(crate) is_on_s3: bool,
    /// All roles in one process, else three.
    pub(crate) is_together: bool,
    pub(crate) shards: u16,
    /// The journal, which must hold all of the run, so that all of it can be judged.
    pub(crate) journal_gib: u64,
}

impl Setting {
    fn drawn(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        Self { is_on_s3: random.random_bool(0.7), is_together: random.random_bool(0.3), shards: random.random_range(1..=2), journal_gib: 1 }
    }
}

/// Faults of one part.
#[derive(Clone, Debug)]
pub(crate) struct Deck(Vec<Fault>);

/// A role that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Ingest,
    Pipeline,
    Query,
}

/// A link that can be cut and stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    IngestToNats,
    PipelineToNats,
    PipelineToStore,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL of nats-server, and a restart.
    KillNats,
    /// SIGKILL, and a restart.
    Kill(Part),
    /// The pipeline ends itself at a point in its code, and is started again.
    DieAt(&'static str),
    /// Connections end, and no new ones.
    Cut(Link),
    /// Nothing arrives, and nobody is told.
    Stall(Link),
    /// The store plays this trick on the next commits.
    Commit(Outcome),
    /// The store is away for everybody.
    StoreDown,
    /// The store is slow and fails one request in twenty.
    StoreSlow,
    /// A second pipeline works while the first is stopped; then the first wakes up.
    Fence,
    /// SIGTERM of all roles, and a restart.
    TerminateAll,
}

/// A fault when it is its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    pub(crate) lasts: Duration,
}

/// The points of a commit, in the order in which a batch meets them, and those of a merge of files.
const POINTS: [&str; 8] = [
    "before-files",
    "quarantine-written",
    "quarantine-committed",
    "events-written",
    "events-committed",
    BEFORE_RELEASE,
    "merge-written",
    "merge-committed",
];
/// The one that is met only when something may leave the journal.
pub(crate) const BEFORE_RELEASE: &str = "before-release";

const LOST: Outcome = Outcome::LoseReply;
const SLICE_COMMITS: [Outcome; 5] = [LOST, answer(500, true), answer(503, false), answer(409, false), answer(412, true)];
const ALL_COMMITS: [Outcome; 9] = [
    LOST,
    answer(500, false),
    answer(500, true),
    answer(503, false),
    answer(503, true),
    answer(409, false),
    answer(409, true),
    answer(412, false),
    answer(412, true),
];

const fn answer(status: u16, is_executed: bool) -> Outcome {
    Outcome::Answer { status, is_executed }
}

impl Plan {
    /// Every deck once, with short faults: some twenty seconds.
    pub(crate) fn slice(seed: u64, setting: Setting) -> Self {
        Self { decks: decks(setting, &SLICE_COMMITS), ..Self::new(seed, setting, Duration::from_millis(2500)) }
    }

    /// Every process killed once and the pipeline once at each point of a commit, one after the other.
    pub(crate) fn crashes(seed: u64, setting: Setting) -> Self {
        let kills = [Fault::Kill(Part::Ingest), Fault::Kill(Part::Pipeline), Fault::Kill(Part::Query), Fault::KillNats];
        let deck = Deck(kills.into_iter().chain(POINTS.map(Fault::DieAt)).collect());
        Self { decks: vec![deck], events_per_second: 2000, is_timed: true, ..Self::new(seed, setting, Duration::from_millis(2500)) }
    }

    /// A [`slice`](Self::slice) somewhere, as the seed says.
    pub(crate) fn short(seed: u64) -> Self {
        Self::slice(seed, Setting::drawn(seed))
    }

    /// Everything, for so long. Nothing is due to leave the journal at a time that is known here, so that point is left to [`crashes`](Self::crashes).
    pub(crate) fn long(seed: u64, length: Duration) -> Self {
        let setting = Setting::drawn(seed);
        let mut decks = decks(setting, &ALL_COMMITS);
        let pipeline = decks.iter_mut().find(|deck| deck.0.contains(&Fault::Fence)).expect("one deck breaks the pipeline");
        pipeline.0.extend(POINTS.into_iter().filter(|point| *point != BEFORE_RELEASE).map(Fault::DieAt));
        Self { length, decks, ..Self::new(seed, setting, Duration::from_secs(12)) }
    }

    /// Nothing breaks for so long: commits, merges, deletions and questions meet only each other.
    pub(crate) fn calm(seed: u64, is_on_s3: bool, length: Duration, events_per_second: u32) -> Self {
        /// More than an event takes in the journal.
        const EVENT_BYTES: u64 = 500;
        let journal_bytes = length.as_secs() * u64::from(events_per_second) * EVENT_BYTES;
        let setting = Setting { is_on_s3, is_together: false, shards: 1, journal_gib: 1 + (journal_bytes >> 30) };
        Self { length, events_per_second, ..Self::new(seed, setting, Duration::ZERO) }
    }

    /// Whether nothing is to break.
    pub(crate) fn is_calm(&self) -> bool {
        self.decks.is_empty()
    }

    fn new(seed: u64, setting: Setting, longest: Duration) -> Self {
        Self { seed, length: Duration::ZERO, setting, events_per_second: 5000, longest, is_timed: false, decks: Vec::new() }
    }

    /// One game of a deck; `game` counts from 0.
    pub(crate) fn deal(&self, deck: usize, game: u64) -> Vec<Step> {
        let mut random = SmallRng::seed_from_u64(self.seed ^ ((deck as u64) << 32 | game).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let mut faults = self.decks[deck].0.clone();
        faults.shuffle(&mut random);
        faults.into_iter().map(|fault| self.step(fault, &mut random)).collect()
    }

    /// Whether the pipeline must have left files behind that no commit names.
    pub(crate) fn leaves_orphans(&self) -> bool {
        self.decks.iter().any(|deck| deck.0.contains(&Fault::DieAt("events-written")))
    }

    fn step(&self, fault: Fault, random: &mut SmallRng) -> Step {
        let milliseconds = |range: std::ops::Range<u64>, random: &mut SmallRng| Duration::from_millis(random.random_range(range));
        let pause = milliseconds(300..2500, random);
        let longest = u64::try_from(self.longest.as_millis()).expect("a fault lasts some seconds");
        let lasts = match fault {
            Fault::Kill(_) | Fault::DieAt(_) | Fault::KillNats | Fault::TerminateAll => milliseconds(0..1000, random),
            Fault::StoreDown => milliseconds(longest..2 * longest, random),
            // Shorter than a client waits, and longer.
            _ => milliseconds(500..longest, random),
        };
        Step { pause, fault, lasts }
    }
}

fn decks(setting: Setting, commits: &[Outcome]) -> Vec<Deck> {
    let to_nats = [Fault::Cut(Link::IngestToNats), Fault::Stall(Link::IngestToNats)];
    let mut pipeline = vec![Fault::Kill(Part::Pipeline), Fault::Kill(Part::Pipeline), Fault::Fence];
    let mut others = vec![Fault::KillNats, Fault::TerminateAll];
    if setting.is_together {
        others.extend(to_nats);
        return store(setting, commits).into_iter().chain([Deck(pipeline), Deck(others)]).collect();
    }
    pipeline.extend([Fault::Cut(Link::PipelineToNats), Fault::Stall(Link::PipelineToNats)]);
    others.push(Fault::Kill(Part::Query));
    let ingest = [Fault::Kill(Part::Ingest)].into_iter().chain(to_nats).collect();
    store(setting, commits).into_iter().chain([Deck(ingest), Deck(pipeline), Deck(others)]).collect()
}

fn store(setting: Setting, commits: &[Outcome]) -> Option<Deck> {
    let others = [Fault::Cut(Link::PipelineToStore), Fault::Stall(Link::PipelineToStore), Fault::StoreDown, Fault::StoreSlow];
    setting.is_on_s3.then(|| Deck(commits.iter().copied().map(Fault::Commit).chain(others).collect()))
}

#[test]
fn a_seed_says_everything_and_another_seed_something_else() {
    let steps = |seed| {
        let plan = Plan::long(seed, Duration::from_secs(60));
        (0..plan.decks.len()).map(|deck| format!("{:?}", plan.deal(deck, 0))).collect::<Vec<_>>()
    };
    assert_eq!(steps(1), steps(1));
    assert_ne!(steps(1), steps(2));
}
