//! Tallies that are kept for the next question, within the memory of `query.cache`.

use std::{collections::BTreeSet, sync::Arc};

use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use schemas::EventDate;

use super::{shape::Shape, tally::Tally};
use crate::error::Error;

/// A guess, for the cache to know how many it may have to hold.
const TALLY_BYTES: usize = 16 << 10;
/// A path and its place in a set.
const PATH_BYTES: usize = 128;

/// What a tally is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// One file.
    File {
        path: Arc<str>,
        shape: Arc<Shape>,
        /// Both ends included; all times when the whole file is asked for.
        range_us: (i64, i64),
        /// Whether the file has all events of its day, so that its groups are closed.
        is_alone: bool,
    },
    /// Whole files of some days, of which these are the first and the last.
    Days { shape: Arc<Shape>, days: Option<(EventDate, EventDate)> },
}

/// The files of a tally of days. Of a single file its key tells.
pub(super) type Files = Arc<BTreeSet<Arc<str>>>;

/// A tally that is kept.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) tally: Arc<Tally>,
    pub(super) files: Files,
}

/// Tallies that together take at most so many bytes.
pub(super) struct KeptTallies(Cache<Of, Kept, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<Of, Kept> for Bytes {
    fn weight(&self, _: &Of, kept: &Kept) -> u64 {
        (kept.tally.bytes() + kept.files.len() * PATH_BYTES) as u64
    }
}

impl KeptTallies {
    pub(super) fn new(most_bytes: u64) -> Self {
        let items = usize::try_from(most_bytes).unwrap_or(usize::MAX) / TALLY_BYTES;
        // One shard: of several each would have its part of the bytes, and never keep what does not fit into that.
        let options = OptionsBuilder::new().estimated_items_capacity(items).weight_capacity(most_bytes).shards(1).build();
        let options = options.expect("both capacities are given");
        Self(Cache::with_options(options, Bytes, DefaultHashBuilder::default(), DefaultLifecycle::default()))
    }

    pub(super) fn get(&self, of: &Of) -> Option<Kept> {
        self.0.get(of)
    }

    /// Keeps a tally in the place of an older one.
    pub(super) fn keep(&self, of: Of, tally: &Arc<Tally>, files: &Files) {
        self.0.insert(of, Kept { tally: Arc::clone(tally), files: Arc::clone(files) });
    }

    /// The tally of a file, made when there is none, once even when many ask at the same time.
    pub(super) async fn or_made(&self, of: &Of, make: impl AsyncFnOnce() -> Result<Tally, Error>) -> Result<Arc<Tally>, Error> {
        let made = async { Ok::<_, Error>(Kept { tally: Arc::new(make().await?), files: Files::default() }) };
        Ok(self.0.get_or_insert_async(of, made).await?.tally)
    }
}
