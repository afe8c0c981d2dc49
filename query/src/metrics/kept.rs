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
    /// Whole days, these and those between them.
    Days { shape: Arc<Shape>, first: EventDate, last: EventDate },
}

/// The files of a tally of days, each with its day. Of a single file its key tells.
pub(super) type Files = Arc<BTreeSet<(EventDate, Arc<str>)>>;

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
    pub(super) fn keep(&self, of: Of, kept: Kept) {
        self.0.insert(of, kept);
    }

    /// The memory that is in use.
    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    /// Keeps at most so many bytes from now on.
    pub(super) fn keep_at_most(&self, bytes: u64) {
        if self.0.capacity() != bytes {
            self.0.set_capacity(bytes);
        }
    }

    /// The tally of a file, made when there is none, once even when many ask at the same time.
    pub(super) async fn or_made(&self, of: &Of, make: impl AsyncFnOnce() -> Result<Tally, Error>) -> Result<Arc<Tally>, Error> {
        let made = async { Ok::<_, Error>(Kept { tally: Arc::new(make().await?), files: Files::default() }) };
        Ok(self.0.get_or_insert_async(of, made).await?.tally)
    }
}
